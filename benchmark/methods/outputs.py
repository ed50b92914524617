"""Pictures that were edited elsewhere, by id (`<category>/<stem>.png`) or in the authors' own output folders."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from benchmark.methods.specs import MethodError, MethodSpec, SampleError, Setting, TagsOption
from reason_edit.loading import ImageError, open_image, read_image
from reason_edit.released_layout import category_of
from reason_edit.schema import Category, EditSample
from smartedit.editing import EditResult

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}
AUTHORS_FILE = re.compile(r"(\d+)_T[\d.]+_I[\d.]+")
SCORED_IMAGE_GUIDANCE = "I1.5"
SMALLEST_SHARE = 0.25
ASPECT_TOLERANCE = 0.02


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OutputsOptions:
    """Settings of `outputs`."""

    folder: Path
    """The folder with the edited pictures."""
    any_size: bool = False
    """Take pictures of any size; else a shape that is neither the source's nor a square is refused."""
    tags: TagsOption = ()
    """How the pictures came to be, for example `compositing`; without tags they compete with editors."""


class Outputs:
    """Hands out pictures made elsewhere, paired by id and never by position in a sorted list."""

    def __init__(self, options: OutputsOptions, samples: Sequence[EditSample]) -> None:
        """Find the picture of every sample.

        Raises:
            MethodError: The folder is missing, or holds files of no sample, or two for one; names all of them.
        """
        if not options.folder.is_dir():
            raise MethodError(f"{options.folder}: there is no such folder; give --outputs a folder of edited pictures")
        self._options = options
        self._files = find_outputs(options.folder, samples)

    def make(self, sample: EditSample) -> EditResult:
        """The picture of a sample.

        Raises:
            SampleError: There is none, it is broken, or its shape is no edit's of this picture.
        """
        path = self._files.get(sample.sample_id)
        if path is None:
            raise SampleError(
                f"{self._options.folder}: no picture for {sample.sample_id}; save it as {sample.sample_id}.png"
            )
        try:
            image = read_image(path)
            if not self._options.any_size:
                _check_size(path, image, open_image(sample.image))
        except ImageError as error:
            raise SampleError(str(error)) from error
        return EditResult(image=image)


def find_outputs(folder: Path, samples: Sequence[EditSample]) -> Mapping[str, Path]:
    """Pair the pictures of a folder with samples.

    Args:
        folder: `<category>/<stem>.png` (the category in our spelling or the released folder's), or anywhere below it
            the authors' `..._metrics_N` folders, whose `0001_T7.5_I1.5.png` is the first sample of its category in
            lexicographic order.
        samples: All samples of the run.

    Returns:
        Path by sample id; a sample without a picture has no entry.

    Raises:
        MethodError: A file belongs to no sample, or two belong to one; names all of them.
    """
    by_category: dict[Category, list[EditSample]] = defaultdict(list)
    for sample in samples:
        by_category[sample.category].append(sample)
    authors = sorted(p for p in folder.rglob("*_metrics_*") if p.is_dir())
    found = _authors_files(authors, by_category) if authors else _files_by_id(folder, by_category)
    pairs, extra = found
    faults = [
        f"{path.relative_to(folder)}: belongs to no sample; move it away or name it <category>/<stem>.png"
        for path in extra
    ]
    for sample_id, paths in pairs.items():
        if len(paths) > 1:
            names = ", ".join(str(p.relative_to(folder)) for p in paths)
            faults.append(f"{names}: {len(paths)} pictures for {sample_id}; keep one")
    if faults:
        raise MethodError(
            "\n".join([f"{folder}: {len(faults)} files cannot be paired with samples", *(f"  {f}" for f in faults)])
        )
    return {sample_id: paths[0] for sample_id, paths in pairs.items()}


Found = tuple[dict[str, list[Path]], list[Path]]


def _files_by_id(folder: Path, by_category: Mapping[Category, Sequence[EditSample]]) -> Found:
    pairs: dict[str, list[Path]] = defaultdict(list)
    extra: list[Path] = []
    for path in _pictures(folder):
        parts = path.relative_to(folder).parts
        category = category_of(parts[0]) if len(parts) == 2 else None
        if category is not None and category not in by_category:
            continue
        stems = {s.stem: s.sample_id for s in by_category.get(category, ())} if category is not None else {}
        if path.stem in stems:
            pairs[stems[path.stem]].append(path)
        else:
            extra.append(path)
    return pairs, extra


def _authors_files(folders: Sequence[Path], by_category: Mapping[Category, Sequence[EditSample]]) -> Found:
    pairs: dict[str, list[Path]] = defaultdict(list)
    extra: list[Path] = []
    for folder in folders:
        category = category_of(folder.name.rpartition("_metrics_")[0])
        if category is not None and category not in by_category:
            continue
        ordered = sorted(by_category.get(category, ()), key=lambda s: s.image.name) if category is not None else []
        for path in _pictures(folder):
            match = AUTHORS_FILE.fullmatch(path.stem)
            if match and not path.stem.endswith(SCORED_IMAGE_GUIDANCE) and len(list(folder.glob(f"{match[1]}_*"))) > 1:
                continue
            place = int(match[1]) if match else 0
            if 1 <= place <= len(ordered):
                pairs[ordered[place - 1].sample_id].append(path)
            else:
                extra.append(path)
    return pairs, extra


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in PICTURES and not p.name.startswith(".")
    )


def _check_size(path: Path, image: Image.Image, source: Image.Image) -> None:
    """Refuse a picture whose shape or smallness says that it is not the edit of this source."""
    width, height = image.size
    shapes = [source.width / source.height, source.height / source.width, 1.0]
    if not any(
        abs(width / height / shape - 1) <= ASPECT_TOLERANCE or abs(width - height * shape) <= 1 for shape in shapes
    ):
        raise SampleError(
            f"{path}: {width} x {height}, neither the source's shape ({source.width} x {source.height}) nor square; "
            "save it at the source's shape, or take it as it is with --set LABEL.any_size=true"
        )
    if max(width, height) < SMALLEST_SHARE * max(source.size):
        raise SampleError(
            f"{path}: {width} x {height}, less than a quarter of the source ({source.width} x {source.height}); "
            "save it at full size, or take it as it is with --set LABEL.any_size=true"
        )


def _describe(options: OutputsOptions) -> Mapping[str, Any]:
    from benchmark.methods.weights import folder_sha256

    # Past the cache of hashes, which is for weights: these files may change while a process lives.
    digest = folder_sha256.__wrapped__(options.folder, ("*",)) if options.folder.is_dir() else None
    return {"files_sha256": digest}


def _build(options: OutputsOptions, setting: Setting) -> Outputs:
    return Outputs(options, setting.samples)


OUTPUTS = MethodSpec(
    name="outputs",
    summary="Pictures edited elsewhere: --outputs DIR with <category>/<stem>.png, or the authors' output folders.",
    tags=(),
    options=OutputsOptions,
    build=_build,
    describe=_describe,
)
