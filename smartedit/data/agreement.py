"""How well two pictures agree once one is laid over the other: the second look at what hashes suspect."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smartedit.data.fingerprints import planes

if TYPE_CHECKING:
    from PIL import Image

AGREEMENT = 0.93
"""Correlation from which a suspected pair is a copy; measured in docs/measurements/audit.md."""
CERTAIN = 0.98
CROPS = (0.025, 0.05, 0.075, 0.1)
STEPS = 5
SIDE = 192


def agreement(picture: "Image.Image", other: "Image.Image") -> float:
    """The best correlation of brightness or edges over mirroring and crops of up to 10 % of one of the pictures.

    Args:
        picture: The picture that may have been cropped.
        other: The picture that may be a crop of it.

    Returns:
        A number in [-1, 1]; 1 for the same picture, whatever its size. Beyond 0.98 no better crop is looked for.
    """
    from PIL import Image

    found = _normed(planes(other.convert("RGB"), (0, 0, other.width, other.height)))
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=3.0)
    best = -1.0
    for box in _boxes():
        whole = planes(small, box)
        for turned in (whole, whole[..., ::-1]):
            best = max(best, float((_normed(turned) * found).sum(axis=(1, 2)).max()))
            if best >= CERTAIN:
                return best
    return best


def best_agreement(picture: "Image.Image", other: "Image.Image") -> float:
    """The agreement of two pictures, whichever of them may be the cropped one."""
    score = agreement(picture, other)
    return score if score >= AGREEMENT else max(score, agreement(other, picture))


def _boxes() -> list[tuple[float, float, float, float]]:
    boxes = [(0.0, 0.0, float(SIDE), float(SIDE))]
    for crop in CROPS:
        offsets = [crop * SIDE * i / (STEPS - 1) for i in range(STEPS)]
        size = (1 - crop) * SIDE
        boxes += [(x, y, x + size, y + size) for x in offsets for y in offsets]
    return boxes


def _normed(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Planes [2, H, W] with mean 0 and length 1 each."""
    centred = values - values.mean(axis=(1, 2), keepdims=True)
    lengths = np.sqrt((centred**2).sum(axis=(1, 2), keepdims=True))
    return np.asarray(centred / np.maximum(lengths, 1e-6), dtype=np.float32)
