"""Filling a hole from the picture itself: by the piece of it that continues the surroundings best, else by diffusion.

The first way is a simple form of filling by patch offsets (He and Sun 2012): one offset a hole, or one a strip of it,
chosen by how well the ring around the hole agrees with the ring around the piece. It keeps boards, tiles and horizons
whole, which smooth inpainting cannot.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from smartedit.tools.patch_offsets import AGREES, RING, Offset, best_offset, ring_around, window_of
from smartedit.tools.protocols import Mask, ToolError

STRIPS = 7
"""A hole that no single piece fits is filled in so many strips."""


def fill_from_surroundings(
    image: NDArray[np.uint8], hole: Mask, avoid: Mask | None = None, radius: int = 4
) -> NDArray[np.uint8]:
    """A picture with a hole filled.

    Args:
        image: uint8 `H x W x 3`.
        hole: bool `H x W`.
        avoid: bool `H x W`, other things, which must not be copied into the hole.
        radius: Neighbourhood of OpenCV's inpainting where no piece agrees, pixels.

    Returns:
        uint8 `H x W x 3`, unchanged outside the hole.

    Raises:
        ToolError: Nothing is left to fill from.
    """
    if hole.all():
        raise ToolError("the region covers the whole picture")
    if not hole.any():
        return image
    taboo = hole if avoid is None else hole | avoid
    result, left = _filled_from_pieces(image, hole, taboo)
    if left.any():
        result, left = _filled_by_strips(result, left, taboo)
    if left.any():
        result[left] = _as_pixels(_diffused(result, left, radius))[left]
    return result


def _filled_from_pieces(
    image: NDArray[np.uint8], hole: Mask, taboo: Mask, agrees: float = AGREES
) -> tuple[NDArray[np.uint8], Mask]:
    """The picture with a hole filled by one piece, and what is left to fill: nothing or all of it."""
    offset = best_offset(image, hole, taboo, agrees)
    result = image.copy()
    if offset is None:
        return result, hole
    result[hole] = _as_pixels(_copied(image, hole, taboo, offset))
    return result, np.zeros_like(hole)


def _filled_by_strips(image: NDArray[np.uint8], hole: Mask, taboo: Mask) -> tuple[NDArray[np.uint8], Mask]:
    """A hole that no single piece fits, filled strip by strip from the top; a strip also has to meet the one above.

    Walls, horizons and floors lie one above the other, so strips find their pieces where the whole does not.
    """
    rows = np.flatnonzero(hole.any(axis=1))
    height = max(6, round((rows[-1] - rows[0] + 1) / STRIPS))
    result, left, closed = image, hole.copy(), taboo.copy()
    for top in range(int(rows[0]), int(rows[-1]) + 1, height):
        strip = np.zeros_like(hole)
        strip[top : top + height] = hole[top : top + height]
        if not strip.any():
            continue
        result, missed = _filled_from_pieces(result, strip, closed, AGREES / 2)
        if not missed.any():
            left &= ~strip
            closed &= ~strip
    return result, left


def _as_pixels(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _copied(image: NDArray[np.uint8], hole: Mask, taboo: Mask, offset: Offset) -> NDArray[np.float32]:
    """The hole's pixels from the piece at the offset, its tone bent so that it meets the ring."""
    ring = ring_around(hole, taboo)
    window = window_of(hole | ring)
    height, width = hole.shape
    rows = np.clip(np.arange(window[0].start, window[0].stop) + offset[0], 0, height - 1)
    columns = np.clip(np.arange(window[1].start, window[1].stop) + offset[1], 0, width - 1)
    piece = image[np.ix_(rows, columns)].astype(np.float32)
    at_ring = ring[window].astype(np.float32)
    difference = np.clip(image[window].astype(np.float32) - piece, -24, 24) * at_ring[..., None]
    sigma = max(2.0, RING * max(hole.shape))
    # Outside the window both are zero.
    weight, tone = (
        cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) for values in (at_ring, difference)
    )
    tone /= np.maximum(weight, 1e-4)[..., None]
    piece += tone * np.minimum(1, weight * 8)[..., None]
    return piece[hole[window]]


def _diffused(image: NDArray[np.uint8], hole: Mask, radius: int) -> NDArray[np.float32]:
    """A smooth continuation by OpenCV, with the grain of the pixels around the hole."""
    smooth = cv2.inpaint(image, hole.astype(np.uint8), radius, cv2.INPAINT_TELEA).astype(np.float32)
    # Telea leaves streaks in wide holes; they go with a blur that grows towards the middle.
    depth = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5)
    sigma = max(1.0, float(depth.max()) / 3)
    mellow = cv2.GaussianBlur(smooth, (0, 0), sigma)
    weight = np.clip(depth / (2 * sigma), 0, 1)[..., None]
    return np.asarray(smooth + (mellow - smooth) * weight + _grain(image, hole), dtype=np.float32)


def _grain(image: NDArray[np.uint8], hole: Mask) -> NDArray[np.float32]:
    """The fine texture beside a hole, mirrored into it at the nearest edge."""
    fine = image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 1.5).astype(np.float32)
    # Only fine noise is worth continuing: an outline next to the hole must not be doubled inside it.
    fine = np.clip(fine, -6, 6)
    _, labels = cv2.distanceTransformWithLabels(hole.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    rows, columns = np.nonzero(~hole)
    nearest_row, nearest_column = np.zeros(labels.max() + 1, np.intp), np.zeros(labels.max() + 1, np.intp)
    nearest_row[labels[rows, columns]], nearest_column[labels[rows, columns]] = rows, columns
    at_row, at_column = np.indices(hole.shape)
    height, width = hole.shape
    mirror_row = np.clip(2 * nearest_row[labels] - at_row, 0, height - 1)
    mirror_column = np.clip(2 * nearest_column[labels] - at_column, 0, width - 1)
    grain: NDArray[np.float32] = fine[mirror_row, mirror_column]
    grain[hole[mirror_row, mirror_column]] = 0
    return grain
