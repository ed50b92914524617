"""Loads Reason-Edit from any form it is kept in, and reads its pictures and masks."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from reason_edit.hub_layout import is_hub_folder, read_hub_folder
from reason_edit.index import read_index
from reason_edit.problems import DatasetError, Problem, ProblemKind
from reason_edit.released_layout import read_released
from reason_edit.schema import PAPER_CATEGORIES, Category, EditSample

MASK_THRESHOLD = 128
"""Mask values from here on are foreground; the released masks are JPEG files and hold every value between."""


class ImageError(ValueError):
    """A picture cannot be decoded; the message names the file and the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """What was found at a path: the samples that can be paired, and everything that is wrong."""

    samples: list[EditSample]
    problems: list[Problem]
    left_out: int = 0
    """How many samples lie in categories that the paper does not count."""


def find_reason_edit(path: Path | str, categories: Collection[Category] = PAPER_CATEGORIES) -> Dataset:
    """Find the samples at a path, with the problems of its structure; opens no picture.

    Args:
        path: The authors' folder, a Parquet index, or a Hugging Face `datasets` folder.
        categories: Which categories to keep.

    Returns:
        The samples of `categories`, ordered by category and stem as the released files are.
    """
    path = Path(path)
    if not path.exists():
        problem = Problem(
            kind=ProblemKind.MISSING_FOLDER,
            where=str(path),
            message="there is no such file or folder",
            remedy="give the folder that holds 1-Left-Right ... 6-Reasoning, or a Parquet index",
            structural=True,
        )
        return Dataset(samples=[], problems=[problem])
    samples, problems = _reader(path)(path)
    kept = [s for s in samples if s.category in categories]
    return Dataset(samples=kept, problems=problems, left_out=len(samples) - len(kept))


def _reader(path: Path) -> Callable[[Path], tuple[list[EditSample], list[Problem]]]:
    if path.is_file():
        return read_index
    return read_hub_folder if is_hub_folder(path) else read_released


def load_reason_edit(path: Path | str, categories: Collection[Category] = PAPER_CATEGORIES) -> list[EditSample]:
    """Load the samples of a Reason-Edit data set.

    Args:
        path: The authors' folder, a Parquet index, or a Hugging Face `datasets` folder.
        categories: Which categories to keep.

    Returns:
        The samples, ordered by category and stem as the released files are.

    Raises:
        DatasetError: Pictures, masks and lines cannot be paired; names every file and the remedy.
    """
    found = find_reason_edit(path, categories)
    structural = [p for p in found.problems if p.structural]
    if structural:
        raise DatasetError(path, structural)
    if not found.samples:
        names = ", ".join(categories)
        problem = Problem(
            kind=ProblemKind.NO_IMAGES,
            where=str(path),
            message=f"no sample of {names}",
            remedy="check the path and the categories asked for",
            structural=True,
        )
        raise DatasetError(path, [problem])
    return found.samples


def open_image(path: Path | str) -> Image.Image:
    """Decode a picture as it is stored, in its own mode.

    Raises:
        ImageError: The file is missing, truncated or no picture.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError as error:
        raise ImageError(f"{path}: there is no such picture") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path}: cannot be decoded ({error}); replace it by a whole picture file") from error


def read_image(path: Path | str) -> Image.Image:
    """Read a picture for editing: upright by its EXIF tag, 8-bit RGB; transparency is dropped, 16 bits scaled to 8.

    Raises:
        ImageError: The file is missing, truncated or no picture.
    """
    return to_rgb(ImageOps.exif_transpose(open_image(path)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB; 16-bit and float pictures are scaled by their mode's range, where Pillow would clip."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float64)
        scale = 255.0 / 65535.0 if values.max(initial=0.0) > 255.0 else 1.0
        return Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def read_mask(path: Path | str, threshold: int = MASK_THRESHOLD) -> npt.NDArray[np.bool_]:
    """Read a foreground mask.

    Args:
        path: The mask picture, white where the edit belongs.
        threshold: Gray values from here on are foreground.

    Returns:
        bool [H, W], True where the edit belongs.

    Raises:
        ImageError: The file is missing, truncated or no picture.
    """
    return np.asarray(open_image(path).convert("L")) >= threshold
