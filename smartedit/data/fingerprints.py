"""What a picture is recognized by: a digest of its pixels, and hashes that survive small changes.

Two hashes of 128 bits are the signs of low frequencies (a cosine transform, as in pHash): of the brightness, which
survives compression and resizing, and of the edges of any colour, which survive recolouring too. Mirroring a picture
turns the sign of every frequency that is odd across, so the mirrored hash needs no second look at the picture.
"""

import hashlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

BITS = 128
VERSION = "3"
"""Changes with the meaning of the hashes and with how pictures are read, so that only the like are compared."""
SIDE, CELLS = 128, 32
CROP = 0.05
BOXES = (
    (0.0, 0.0, 1.0, 1.0),
    (CROP / 2, CROP / 2, 1 - CROP / 2, 1 - CROP / 2),
    *((x, y, x + 1 - CROP, y + 1 - CROP) for x, y in itertools.product((0.0, CROP), (0.0, CROP))),
)
"""A picture's views, in shares of its sides: whole, its middle, and its corners."""
PLAIN = 2.0
"""Standard deviation of the brightness, of 255, below which a picture has no content to be recognized by."""


def _frequencies() -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The lowest frequencies but the mean, down and across, so that early bits bear the coarsest features."""
    down, across = np.mgrid[0:CELLS, 0:CELLS]
    order = np.lexsort((across.ravel(), down.ravel(), (down**2 + across**2).ravel()))[1 : BITS + 1]
    return down.ravel()[order], across.ravel()[order]


DOWN, ACROSS = _frequencies()
MIRROR: NDArray[np.uint64] = np.packbits(ACROSS % 2 == 1, bitorder="little").view(np.uint64)
"""The bits that mirroring turns, as two words: `hash ^ MIRROR` is the hash of the mirrored picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What a picture is recognized by.

    Attributes:
        pixels: SHA-256 of its size and its RGB pixels.
        luma: Hash of the brightness, 16 bytes.
        edges: Hash of the edges, 16 bytes.
        middle_luma: Hash of the brightness of the middle, cut by 5 % of both sides: what crops of the picture are like.
        middle_edges: Hash of the edges of the middle.
        is_plain: Whether the picture is of one shade, so that its hashes mean nothing.
    """

    pixels: bytes
    luma: bytes
    edges: bytes
    middle_luma: bytes
    middle_edges: bytes
    is_plain: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """The hashes of a picture as others may have cut it, uint64 [V, 2] each: whole, and five crops."""

    luma: NDArray[np.uint64]
    edges: NDArray[np.uint64]


def fingerprint(picture: "Image.Image") -> Fingerprint:
    """The fingerprint of a picture of any size."""
    picture = picture.convert("RGB")
    digest = hashlib.sha256(f"{picture.width}x{picture.height}:".encode())
    digest.update(picture.tobytes())
    luma, edges, is_plain = _hashes(picture, (0, 0, picture.width, picture.height))
    middle_luma, middle_edges, _ = _hashes(picture, _part(picture, *BOXES[1]))
    return Fingerprint(
        pixels=digest.digest(),
        luma=luma.tobytes(),
        edges=edges.tobytes(),
        middle_luma=middle_luma.tobytes(),
        middle_edges=middle_edges.tobytes(),
        is_plain=is_plain,
    )


def views(picture: "Image.Image") -> Views:
    """The hashes of the whole picture, of its middle, and of its corners, each cut by 5 % of both sides."""
    picture = picture.convert("RGB")
    found = [_hashes(picture, _part(picture, *box)) for box in BOXES]
    return Views(luma=np.stack([luma for luma, _, _ in found]), edges=np.stack([edges for _, edges, _ in found]))


def _part(picture: "Image.Image", x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
    """A box in shares of a picture's sides as a box in pixels."""
    return x0 * picture.width, y0 * picture.height, x1 * picture.width, y1 * picture.height


def planes(picture: "Image.Image", box: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """Brightness and edges of a part of an RGB picture in cells, [2, 32, 32]; brightness in [0, 255]."""
    from PIL import Image

    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX, box=box, reducing_gap=3.0)
    pixels = np.asarray(small, dtype=np.float32)
    luma = pixels @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    colors = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # numpy is slow at the maximum of three neighbours
    across = np.abs(np.diff(colors, axis=2, append=colors[:, :, -1:])).max(axis=0)
    down = np.abs(np.diff(colors, axis=1, append=colors[:, -1:])).max(axis=0)
    step = SIDE // CELLS
    both = np.stack([luma, np.sqrt(across + down)]).reshape(2, CELLS, step, CELLS, step)
    return np.asarray(both.mean(axis=(2, 4)), dtype=np.float32)


def _hashes(
    picture: "Image.Image", box: tuple[float, float, float, float]
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], bool]:
    """Both hashes of a part of an RGB picture, and whether it is plain."""
    luma, edges = planes(picture, box)
    return _signs(luma), _signs(edges), bool(luma.std() < PLAIN)


def _signs(plane: NDArray[np.float32]) -> NDArray[np.uint64]:
    """The signs of the low frequencies of a plane, packed into two words."""
    from scipy.fft import dctn

    return np.packbits(dctn(plane)[DOWN, ACROSS] > 0, bitorder="little").view(np.uint64)
