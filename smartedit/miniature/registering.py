"""Brings an edited picture and its source together: one size, a small shift taken back, and one blur for both."""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from smartedit.miniature.candidates import SIDE, Floats, shrink

Mask = NDArray[np.bool_]

SIGMAS = (0.0, 0.4, 0.7, 1.0, 1.4, 1.9, 2.5, 3.2)
"""Blurs that are tried, in pixels of the frame."""


def framed(picture: NDArray[np.uint8]) -> Floats:
    """A picture in the frame, in [0, 1]."""
    return np.asarray(shrink(picture) / 255, np.float32)


def blurred(picture: Floats, sigma: float) -> Floats:
    """The picture under Gaussian blur; sigma in pixels of the frame."""
    if sigma == 0:
        return picture
    return np.asarray(gaussian_filter(picture, sigma, axes=(0, 1), mode="nearest", truncate=3), np.float32)


def moved(picture: Floats, right: float, down: float) -> Floats:
    """The picture shifted by any part of a pixel; the border is repeated."""
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    shifted = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(shifted, np.float32)


def register(picture: Floats, source: Floats, outside: Mask) -> tuple[Floats, tuple[float, float], float]:
    """Take back a small shift of the whole picture, and find the blur that makes the source most like it."""
    steps = np.arange(-1.5, 1.51, 0.5)
    soft, inner = blurred(source, 0.7), outside[3:-3, 3:-3]

    def miss(a: Floats, b: Floats) -> float:
        return float(((a - b)[3:-3, 3:-3][inner] ** 2).sum())

    shifts = [(float(x), float(y)) for x in steps for y in steps]
    losses = [miss(moved(soft, *shift), picture) for shift in shifts]
    right, down = shifts[int(np.argmin(losses))]
    # The picture stays as it is unless a shift explains much: a wrong background must not be moved into place.
    if min(losses) > 0.8 * losses[shifts.index((0.0, 0.0))]:
        right, down = 0.0, 0.0
    picture = moved(picture, -right, -down) if (right, down) != (0.0, 0.0) else picture
    sigma = min(SIGMAS, key=lambda s: miss(blurred(source, s), picture))
    return picture, (right, down), sigma
