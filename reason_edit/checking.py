"""Looks at every file of a data set and lists all that is wrong, not only the first thing."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from reason_edit.files import file_sha256
from reason_edit.loading import MASK_THRESHOLD, Dataset, ImageError, find_reason_edit, open_image
from reason_edit.problems import Problem, ProblemKind
from reason_edit.schema import EditSample

SMALLEST_SIDE = 16
LARGEST_SIDE = 4096
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def check_reason_edit(path: Path | str, on_progress: Callable[[int, int], None] | None = None) -> Dataset:
    """Check a data set: its structure, then every picture and mask.

    Args:
        path: The authors' folder, a Parquet index, or a Hugging Face `datasets` folder.
        on_progress: Called with the number of samples looked at and their total.

    Returns:
        The samples that can be paired, and every problem found.
    """
    found = find_reason_edit(path)
    problems = list(found.problems)
    hashes: dict[str, list[str]] = defaultdict(list)
    root = Path(path)
    with ThreadPoolExecutor() as pool:
        for number, (sample, (wrong, digest)) in enumerate(
            zip(found.samples, pool.map(lambda s: _check_sample(s, root), found.samples), strict=True), start=1
        ):
            problems += wrong
            if digest is not None:
                hashes[digest].append(sample.sample_id)
            if on_progress is not None:
                on_progress(number, len(found.samples))
    problems += _repeated(found.samples, hashes)
    return Dataset(samples=found.samples, problems=problems, left_out=found.left_out)


def dataset_fingerprint(samples: Iterable[EditSample]) -> str:
    """A hash of the ids, texts and files of a data set, the same wherever it lies and however it is indexed."""
    digest = hashlib.sha256()
    for sample in sorted(samples, key=lambda s: s.sample_id):
        parts = (sample.sample_id, sample.instruction, sample.target_label)
        files = (file_sha256(sample.image), file_sha256(sample.mask))
        digest.update("\x1f".join((*parts, *files)).encode() + b"\x1e")
    return digest.hexdigest()


def _check_sample(sample: EditSample, root: Path) -> tuple[list[Problem], str | None]:
    """The problems of one sample's files, and a hash of its pixels."""
    image, problems = _check_file(sample.image, _name(sample.image, root, sample), is_mask=False)
    where = _name(sample.mask, root, sample)
    mask, mask_problems = _check_file(sample.mask, where, is_mask=True) if sample.mask.is_file() else (None, [])
    problems += mask_problems
    digest = None
    if image is not None:
        digest = hashlib.sha256(repr(image.size).encode() + image.convert("RGB").tobytes()).hexdigest()
    if mask is not None:
        problems += _check_mask(mask, where)
    if image is not None and mask is not None and mask.size not in (image.size, ImageOps.exif_transpose(image).size):
        problems.append(
            Problem(
                kind=ProblemKind.SIZE_DIFFERS,
                where=where,
                message=f"the mask is {_size(mask)}, the picture {_size(image)}",
                remedy="draw the mask at the picture's size; scoring resizes both and may shift the edge",
            )
        )
    return problems, digest


def _check_file(path: Path, where: str, *, is_mask: bool) -> tuple[Image.Image | None, list[Problem]]:
    try:
        image = open_image(path)
    except ImageError as error:
        message = str(error).removeprefix(f"{path}: ").partition(";")[0]
        remedy = "replace it by a whole picture file"
        return None, [Problem(kind=ProblemKind.BROKEN_IMAGE, where=where, message=message, remedy=remedy)]
    problems = []
    expected = FORMATS.get(path.suffix.lower())
    if expected is not None and image.format != expected:
        problems.append(
            Problem(
                kind=ProblemKind.WRONG_FORMAT,
                where=where,
                message=f"a {image.format} file with the suffix {path.suffix}",
                remedy="rename it, or save it in the format that its name says",
            )
        )
    if not is_mask and image.mode != "RGB":
        problems.append(
            Problem(
                kind=ProblemKind.UNUSUAL_MODE,
                where=where,
                message=f"mode {image.mode}",
                remedy="save it as 8-bit RGB; it is read as RGB, without transparency, and 16 bits are scaled to 8",
            )
        )
    if min(image.size) < SMALLEST_SIDE or max(image.size) > LARGEST_SIDE:
        problems.append(
            Problem(
                kind=ProblemKind.EXTREME_SIZE,
                where=where,
                message=_size(image),
                remedy=f"{SMALLEST_SIDE} to {LARGEST_SIDE} pixels a side are sensible; check the file",
            )
        )
    return image, problems


def _check_mask(mask: Image.Image, where: str) -> list[Problem]:
    foreground = np.asarray(mask.convert("L")) >= MASK_THRESHOLD
    border = np.concatenate([foreground[0], foreground[-1], foreground[:, 0], foreground[:, -1]])
    share = float(foreground.mean())
    if not foreground.any():
        kind, message = ProblemKind.EMPTY_MASK, f"no value reaches {MASK_THRESHOLD}"
    elif foreground.all():
        kind, message = ProblemKind.FULL_MASK, "every pixel is foreground, so there is no background to measure"
    elif share > 0.5 and border.mean() > 0.9:
        kind, message = ProblemKind.INVERTED_MASK, f"{share:.0%} of it is white, its border with it"
    else:
        return []
    return [Problem(kind=kind, where=where, message=message, remedy="white marks the region to edit; draw it again")]


def _repeated(samples: list[EditSample], hashes: dict[str, list[str]]) -> list[Problem]:
    """Samples that are the same twice; one picture with two instructions is usual and no problem."""
    text = {s.sample_id: " ".join(s.instruction.lower().split()) for s in samples}
    problems = []
    for ids in hashes.values():
        by_text: dict[str, list[str]] = defaultdict(list)
        for sample_id in ids:
            by_text[text[sample_id]].append(sample_id)
        problems += [
            Problem(
                kind=ProblemKind.DUPLICATE,
                where=", ".join(same),
                message="the same picture with the same instruction",
                remedy="keep one of them; a sample that stands twice counts twice in every mean",
            )
            for same in by_text.values()
            if len(same) > 1
        ]
    return problems


def _name(path: Path, root: Path, sample: EditSample) -> str:
    """A file by its place in the data set, or by its sample where it was unpacked from a table."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else f"{sample.sample_id} ({path.name})"


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height}"
