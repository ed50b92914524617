"""Taking pictures in: decoded, upright, RGB, not too large; what cannot be used is rejected with its reason."""

import hashlib
import logging
import re
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from reason_edit.files import atomic_path, file_sha256
from smartedit.config.synthesis import PicturesConfig
from smartedit.synthesis.records import PictureRow, Rejection
from smartedit.tools.annotations import AnnotatedPicture

logger = logging.getLogger(__name__)

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})


class PictureFolderError(ValueError):
    """A folder of pictures cannot be used at all."""


class Refused(Exception):
    """Why one file is not taken in.

    Args:
        reason: One of a small set of words.
        detail: The measured values.
    """

    def __init__(self, *, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def take_in(
    folder: Path, root: Path, config: PicturesConfig, annotated: Mapping[str, AnnotatedPicture] | None
) -> tuple[list[PictureRow], list[Rejection]]:
    """Normalise the pictures of a folder.

    Args:
        folder: Searched with its subfolders.
        root: The run folder; pictures go to `pictures/`.
        config: Limits.
        annotated: Annotated pictures by file name; others are then rejected as "not annotated".

    Returns:
        Rows ordered by id, and rejections "broken", "animated", "too small", "too large", "duplicate", "not
        annotated" and "annotated at another size".

    Raises:
        PictureFolderError: There is no such folder, or no picture file in it.
    """
    files = picture_files(folder)
    rows: list[PictureRow] = []
    rejections: list[Rejection] = []
    seen: list[tuple[str, NDArray[np.uint8], int]] = []
    hashes: dict[str, str] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        if config.limit is not None and len(rows) >= config.limit:
            break
        try:
            annotation = _annotation(name, annotated)
            sha256 = file_sha256(path)
            if sha256 in hashes:
                raise Refused(reason="duplicate", detail=f"the same bytes as {hashes[sha256]}")
            image, stored = read_upright(path, config)
            if annotation is not None and (annotation.width, annotation.height) != stored:
                detail = f"annotations are for {annotation.width} x {annotation.height}, the file has {stored}"
                raise Refused(reason="annotated at another size", detail=detail)
            digest, thumbnail = difference_hash(image), _thumbnail(image)
            _refuse_duplicate(digest, thumbnail, seen, [r.original for r in rows], config)
        except Refused as refusal:
            rejections.append(_rejection(name, refusal))
            continue
        picture_id = picture_id_of(name)
        with atomic_path(root / f"pictures/{picture_id}.png") as temporary:
            image.save(temporary, compress_level=3)
        hashes[sha256] = name
        seen.append((digest, thumbnail, len(rows)))
        rows.append(
            PictureRow(
                picture_id=picture_id,
                path=f"pictures/{picture_id}.png",
                original=name,
                original_sha256=sha256,
                original_width=stored[0],
                original_height=stored[1],
                width=image.width,
                height=image.height,
                perceptual_hash=digest,
                license=(annotation.license if annotation else None) or config.license,
                url=annotation.url if annotation else None,
            )
        )
    logger.info("%d pictures taken in, %d rejected", len(rows), len(rejections))
    return rows, rejections


def picture_files(folder: Path) -> list[Path]:
    """The picture files of a folder and its subfolders, by name.

    Raises:
        PictureFolderError: There is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise PictureFolderError(f"{folder}: there is no such folder of pictures")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise PictureFolderError(f"{folder}: no picture in it; looked for {', '.join(sorted(SUFFIXES))}")
    return files


def picture_id_of(name: str) -> str:
    """An id from a path below the folder: letters, digits, `-` and `_`, and a short hash where that loses something."""
    stem = name.rpartition(".")[0]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)
    return plain if plain == stem else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _annotation(name: str, annotated: Mapping[str, AnnotatedPicture] | None) -> AnnotatedPicture | None:
    if annotated is None:
        return None
    found = annotated.get(name) or annotated.get(name.rpartition("/")[2])
    if found is None:
        raise Refused(reason="not annotated", detail="the annotation file does not name it")
    return found


def read_upright(path: Path, config: PicturesConfig) -> tuple[Image.Image, tuple[int, int]]:
    """A picture as RGB, upright and not too large, with the size of its stored pixels.

    Raises:
        Refused: It is broken, animated, too small or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                return _upright(file, config), (file.width, file.height)
    except (
        OSError,
        UnidentifiedImageError,
        SyntaxError,
        struct.error,
        ValueError,
        EOFError,
        Image.DecompressionBombError,
    ) as error:
        raise Refused(reason="broken", detail=f"{type(error).__name__}: {error}"[:200]) from error


def _upright(file: Image.Image, config: PicturesConfig) -> Image.Image:
    megapixels = file.width * file.height / 1e6
    if megapixels > config.max_megapixels:
        raise Refused(reason="too large", detail=f"{megapixels:.0f} megapixels, more than {config.max_megapixels:.0f}")
    if getattr(file, "n_frames", 1) > 1:
        raise Refused(reason="animated", detail=f"{getattr(file, 'n_frames', 1)} frames")
    if min(file.size) < config.min_side:
        raise Refused(reason="too small", detail=f"{file.width} x {file.height}, less than {config.min_side} a side")
    if file.format == "JPEG":
        file.draft("RGB", (config.max_side, config.max_side))
    image = ImageOps.exif_transpose(file)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
    if image.mode.startswith(("I", "F")):
        image = _from_deep(image)
    image = image.convert("RGB")
    scale = config.max_side / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    return image


def _from_deep(image: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits a pixel, stretched to 8."""
    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return Image.fromarray(scaled.astype(np.uint8))


def difference_hash(image: Image.Image) -> str:
    """A 64-bit hash of horizontal brightness steps on a 9 x 8 thumbnail, as 16 hex digits."""
    small = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    return np.packbits(small[:, 1:] > small[:, :-1]).tobytes().hex()


def hash_distance(first: str, second: str) -> int:
    """In how many bits two hashes differ."""
    return (int(first, 16) ^ int(second, 16)).bit_count()


def _thumbnail(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.resize((32, 32), Image.Resampling.BOX))


def _refuse_duplicate(
    digest: str,
    thumbnail: NDArray[np.uint8],
    seen: Sequence[tuple[str, NDArray[np.uint8], int]],
    names: Sequence[str],
    config: PicturesConfig,
) -> None:
    for other, other_thumbnail, index in seen:
        if hash_distance(digest, other) <= config.duplicate_distance:
            # Plain pictures share hashes by chance: the thumbnails have to agree as well.
            difference = np.abs(thumbnail.astype(np.int16) - other_thumbnail.astype(np.int16))
            if difference.mean() < 2.0 and np.quantile(difference, 0.99) < 24:
                raise Refused(reason="duplicate", detail=f"looks like {names[index]}")


def _rejection(name: str, refusal: Refused) -> Rejection:
    return Rejection(
        key=name, candidate_id=None, category=None, stage="intake", reason=refusal.reason, detail=refusal.detail
    )


def iter_shards(rows: Sequence[PictureRow], size: int) -> Iterator[Sequence[PictureRow]]:
    """Pictures in groups that are worked on together."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
