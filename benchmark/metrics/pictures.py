"""Picture and mask files brought into a protocol's frame: one size, 8-bit RGB, a background weight and a box."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from benchmark.protocols import Protocol
from reason_edit.loading import to_rgb

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Box = tuple[int, int, int, int]


class PictureError(ValueError):
    """A picture file cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureFile:
    """The bytes of a file and their hash, read once.

    Attributes:
        path: Where they come from, for messages.
        content: The bytes.
        sha256: Hex SHA-256 of the bytes.
    """

    path: Path
    content: bytes
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFrame:
    """The source picture and its mask in the protocol's frame.

    Attributes:
        image: uint8, H x W x 3.
        weights: float32, H x W, in [0, 1]; how much of each pixel is background.
        box: The foreground's box (x0, y0, x1, y1), the end excluded; None where the mask is empty.
    """

    image: UInt8
    weights: Float32
    box: Box | None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]


def read_file(path: Path) -> PictureFile:
    """The bytes of a picture file.

    Raises:
        PictureError: The file is missing or unreadable.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PictureError(f"{path}: cannot be read ({error.strerror or error})") from error
    return PictureFile(path=path, content=content, sha256=hashlib.sha256(content).hexdigest())


def decode_rgb(file: PictureFile, upright: bool) -> Image.Image:
    """A picture as 8-bit RGB.

    Args:
        file: The file.
        upright: Whether to follow the rotation tag and scale 16-bit pixels to 8; if False, the stored pixels through
            Pillow's plain conversion, as the authors' script reads them.

    Returns:
        An RGB picture; an alpha channel is dropped, not blended.

    Raises:
        PictureError: The bytes are no whole picture.
    """
    image = _decoded(file)
    if not upright:
        return image.convert("RGB")
    return to_rgb(ImageOps.exif_transpose(image))


def _decoded(file: PictureFile) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(file.content))
        image.load()
    except UnidentifiedImageError as error:
        raise PictureError(f"{file.path}: cannot be decoded (no picture format is recognised)") from error
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"{file.path}: cannot be decoded ({error})") from error
    return image


def source_frame(image: PictureFile, mask: PictureFile, protocol: Protocol) -> SourceFrame:
    """Bring a source picture and its mask into the protocol's frame.

    Args:
        image: The source picture.
        mask: The foreground mask; any size, any mode.
        protocol: Says size, decoding, threshold and box.

    Returns:
        Picture, background weights and box.

    Raises:
        PictureError: One of the files is no whole picture.
    """
    picture = decode_rgb(image, protocol.upright)
    side = protocol.resolution
    size = picture.size if side is None else (side, side)
    grey = _decoded(mask)
    if protocol.upright:
        grey = ImageOps.exif_transpose(grey)
    values = np.asarray(grey.convert("L").resize(size, Image.Resampling.NEAREST))
    if protocol.mask_threshold is None:
        weights, foreground = np.float32(1) - values.astype(np.float32) / np.float32(255), values > 0
    else:
        foreground = values >= protocol.mask_threshold
        weights = (~foreground).astype(np.float32)
    pixels = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    return SourceFrame(image=pixels, weights=weights, box=_box(foreground, protocol.whole_box))


def edited_frame(edited: PictureFile, size: tuple[int, int], protocol: Protocol) -> UInt8:
    """An edited picture brought to the source's frame.

    Args:
        edited: The edited picture, of any size.
        size: (width, height) of the frame.
        protocol: Says how it is decoded.

    Returns:
        uint8, H x W x 3.

    Raises:
        PictureError: The file is no whole picture.
    """
    return np.asarray(decode_rgb(edited, protocol.upright).resize(size, Image.Resampling.BICUBIC))


def _box(foreground: npt.NDArray[np.bool_], whole: bool) -> Box | None:
    """The box of a foreground; without `whole`, its last row and column are lost (as in the authors' script)."""
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    if rows.size == 0:
        return None
    end = 1 if whole else 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + end, int(rows[-1]) + end
