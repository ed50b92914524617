"""Taking pictures in: decoded, upright, RGB, not too large; what cannot be used is rejected with its reason."""

import hashlib
import logging
import re
import struct
import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from reason_edit.files import atomic_path, file_sha256
from smartedit.config.synthesis import PicturesConfig
from smartedit.synthesis.records import PictureRow, Rejection
from smartedit.tools.annotations import AnnotatedPicture

logger = logging.getLogger(__name__)

LONGEST_ID = 120
"""A longer id is cut: files of a run are named after ids, with something before and behind."""

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is to be turned."""

BITS = np.array([byte.bit_count() for byte in range(256)], dtype=np.uint8)
"""How many bits of a byte are set."""

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
        Rows in the order of the file names, and rejections "broken", "animated", "too small", "too large", "duplicate",
        "not annotated", "annotated at another size", "orientation unclear" and "unusable name".

    Raises:
        PictureFolderError: There is no such folder, or no picture file in it.
    """
    files = picture_files(folder)
    rows: list[PictureRow] = []
    rejections: list[Rejection] = []
    looks, hashes, ids = Looks(), dict[str, str](), set[str]()
    namesakes = Counter(path.name for path in files)
    for path in files:
        name = path.relative_to(folder).as_posix()
        if config.limit is not None and len(rows) >= config.limit:
            break
        try:
            _need_text(name)
            annotation = _annotation(name, annotated, alone=namesakes[path.name] == 1)
            sha256 = _content_hash(path)
            if sha256 in hashes:
                raise Refused(reason="duplicate", detail=f"the same bytes as {hashes[sha256]}")
            upright = read_upright(path, config)
            image = upright.image
            if annotation is not None:
                _need_fit(annotation, upright)
            digest, thumbnail = difference_hash(image), _thumbnail(image)
            twin = looks.find(digest, thumbnail, config.duplicate_distance)
            if twin is not None:
                raise Refused(reason="duplicate", detail=f"looks like {rows[twin].original}")
        except Refused as refusal:
            rejections.append(_rejection(name, refusal))
            continue
        picture_id = picture_id_of(name, ids)
        ids.add(picture_id.lower())
        with atomic_path(root / f"pictures/{picture_id}.png") as temporary:
            image.save(temporary, compress_level=3)
        hashes[sha256] = name
        looks.add(digest, thumbnail)
        rows.append(
            PictureRow(
                picture_id=picture_id,
                path=f"pictures/{picture_id}.png",
                original=name,
                original_sha256=sha256,
                original_width=upright.stored[0],
                original_height=upright.stored[1],
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


def picture_id_of(name: str, taken: Collection[str] = ()) -> str:
    """An id from a path below the folder: letters, digits, `-` and `_`, and a short hash where that loses something.

    Args:
        name: The path.
        taken: Ids of other pictures, in lower case: `cat.jpg` and `cat.png`, or `Cat.jpg`, are two pictures.
    """
    stem = name.rpartition(".")[0]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem)[:LONGEST_ID]
    if plain == stem and plain.lower() not in taken:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _need_text(name: str) -> None:
    """Refuse a name that no table can hold."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise Refused(reason="unusable name", detail="the file's name is not UTF-8") from error


def _content_hash(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise Refused(reason="broken", detail=f"cannot be read: {error.strerror}") from error


def _annotation(name: str, annotated: Mapping[str, AnnotatedPicture] | None, *, alone: bool) -> AnnotatedPicture | None:
    if annotated is None:
        return None
    found = annotated.get(name)
    if found is None and "/" in name:
        found = annotated.get(name.rpartition("/")[2])
        if found is not None and not alone:
            detail = "the annotation file names it without its folder, and another folder has a file of that name"
            raise Refused(reason="not annotated", detail=detail)
    if found is None:
        raise Refused(reason="not annotated", detail="the annotation file does not name it")
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Upright:
    """A picture as one sees it.

    Attributes:
        image: RGB, upright and not too large.
        stored: Size of the stored pixels, before any turning and scaling.
        shown: Size after turning, before any scaling.
        orientation: The EXIF orientation, 1 where there is none: 2 to 4 keep the size, 5 to 8 swap its sides.
    """

    image: Image.Image
    stored: tuple[int, int]
    shown: tuple[int, int]
    orientation: int


def _need_fit(annotation: AnnotatedPicture, upright: Upright) -> None:
    """Refuse annotations that were made on other pixels than those that are taken in."""
    size = (annotation.width, annotation.height)
    if size != upright.shown:
        detail = f"annotations are for {size[0]} x {size[1]}, the picture has {upright.shown[0]} x {upright.shown[1]}"
        turned = " once it is upright" if upright.shown != upright.stored else ""
        raise Refused(reason="annotated at another size", detail=detail + turned)
    if upright.orientation != 1 and upright.shown == upright.stored:
        detail = (
            f"EXIF orientation {upright.orientation} turns it, and its size does not say which way it was annotated"
        )
        raise Refused(reason="orientation unclear", detail=detail)


def read_upright(path: Path, config: PicturesConfig) -> Upright:
    """A picture as RGB, upright and not too large.

    Raises:
        Refused: It is broken, animated, too small or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                # Decoding at a fraction of the size, further down, changes what the file says of itself.
                stored, said = file.size, file.getexif().get(ORIENTATION)
                orientation = said if isinstance(said, int) and 1 <= said <= 8 else 1
                shown = stored if orientation < 5 else stored[::-1]
                return Upright(image=_upright(file, config), stored=stored, shown=shown, orientation=orientation)
    except Image.DecompressionBombError as error:
        raise Refused(reason="too large", detail=str(error)[:200]) from error
    except (OSError, UnidentifiedImageError, SyntaxError, struct.error, ValueError, TypeError, EOFError) as error:
        raise Refused(reason="broken", detail=f"{type(error).__name__}: {error}"[:200]) from error


def _upright(file: Image.Image, config: PicturesConfig) -> Image.Image:
    megapixels = file.width * file.height / 1e6
    if megapixels > config.max_megapixels:
        raise Refused(reason="too large", detail=f"{megapixels:.0f} megapixels, more than {config.max_megapixels:.0f}")
    # A phone's JPEG may carry a second picture behind the first (MPO); that is no animation.
    if file.format != "MPO" and getattr(file, "n_frames", 1) > 1:
        raise Refused(reason="animated", detail=f"{getattr(file, 'n_frames', 1)} frames")
    if min(file.size) < config.min_side:
        raise Refused(reason="too small", detail=f"{file.width} x {file.height}, less than {config.min_side} a side")
    if file.format in ("JPEG", "MPO"):
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


class Looks:
    """What the pictures so far look like, to be searched for a further one's like."""

    def __init__(self) -> None:
        self._hashes = np.zeros((64, 8), dtype=np.uint8)
        self._thumbnails: list[NDArray[np.uint8]] = []

    def add(self, digest: str, thumbnail: NDArray[np.uint8]) -> None:
        """Remember a picture."""
        count = len(self._thumbnails)
        if count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._hashes[count] = _hash_bytes(digest)
        self._thumbnails.append(thumbnail)

    def find(self, digest: str, thumbnail: NDArray[np.uint8], distance: int) -> int | None:
        """The first picture that looks the same, by the order in which they were added; None where none does."""
        known = self._hashes[: len(self._thumbnails)]
        apart = BITS[known ^ _hash_bytes(digest)].sum(axis=1)
        for index in np.flatnonzero(apart <= distance):
            # Plain pictures share hashes by chance: the thumbnails have to agree as well.
            difference = np.abs(thumbnail.astype(np.int16) - self._thumbnails[index].astype(np.int16))
            if difference.mean() < 2.0 and np.quantile(difference, 0.99) < 24:
                return int(index)
        return None


def _hash_bytes(digest: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(digest), dtype=np.uint8)


def _rejection(name: str, refusal: Refused) -> Rejection:
    key = name.encode("utf-8", "backslashreplace").decode()
    return Rejection(
        key=key, candidate_id=None, category=None, stage="intake", reason=refusal.reason, detail=refusal.detail
    )
