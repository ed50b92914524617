"""Filling a hole from the picture itself: by the piece of it that continues the surroundings best, else by diffusion.

The first way is a simple form of filling by patch offsets (He and Sun 2012): one offset a hole, or one a strip of it,
chosen by how well the ring around the hole agrees with the ring around the piece. It keeps boards, tiles and horizons
whole, which smooth inpainting cannot.
"""

from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from smartedit.tools.protocols import Mask, ToolError

SEARCH_SIDE = 320
"""Offsets are searched for on a picture of at most this longer side."""

RING = 0.05
"""Width of the ring that has to agree, share of the longer side."""

STRIPS = 7
"""A hole that no single piece fits is filled in so many strips."""

AGREES = 22.0
"""Root mean square difference of the rings up to which a piece is taken, 8-bit levels."""


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
    result[hole] = _as_pixels(_copied(image, hole, taboo, offset))[hole]
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


def best_offset(image: NDArray[np.uint8], hole: Mask, taboo: Mask, agrees: float = AGREES) -> tuple[int, int] | None:
    """Where to copy from: rows and columns to add to a hole's pixel; None where no piece agrees well enough.

    Args:
        image: uint8 `H x W x 3`.
        hole: What is to be filled.
        taboo: What must not be copied, the hole included.
        agrees: Root mean square difference of the rings up to which a piece is taken, 8-bit levels.
    """
    scale = min(1.0, SEARCH_SIDE / max(hole.shape))
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small_hole = np.asarray(cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
    small_taboo = np.asarray(cv2.resize(taboo.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
    found = _search(small, small_hole, small_taboo, agrees)
    if found is None or scale == 1:
        return found
    return _refined(image, hole, taboo, round(found[0] / scale), round(found[1] / scale), reach=round(1 / scale))


def _ring(hole: Mask, taboo: Mask) -> Mask:
    width = max(3, round(RING * max(hole.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    return np.asarray((cv2.dilate(hole.astype(np.uint8), disc) > 0) & ~taboo)


def _search(image: NDArray[np.uint8], hole: Mask, taboo: Mask, agrees: float) -> tuple[int, int] | None:
    """The best offset by masked template matching over the whole picture."""
    ring = _ring(hole, taboo)
    if ring.sum() < 12:
        return None
    window = _window(hole | ring)
    template, weights = image[window], ring[window].astype(np.float32)
    if template.shape[:2] == hole.shape:
        return None
    differences = cv2.matchTemplate(
        image.astype(np.float32), template.astype(np.float32), cv2.TM_SQDIFF, mask=np.dstack([weights] * 3)
    )
    # A place is out of the question where the piece would hold a taboo pixel.
    clashes = cv2.matchTemplate(taboo.astype(np.float32), hole[window].astype(np.float32), cv2.TM_CCORR)
    # Textures change with height (perspective, the horizon) sooner than sideways.
    rise = np.abs(np.arange(differences.shape[0]) - window[0].start)[:, None] / hole.shape[0]
    differences = differences + (40 * rise) ** 2 * 3 * weights.sum()
    differences = np.where((clashes > 0.5) | ~np.isfinite(differences), np.inf, np.maximum(differences, 0))
    if not np.isfinite(differences).any():
        return None
    row, column = np.unravel_index(int(np.argmin(differences)), differences.shape)
    error = float(np.sqrt(differences[row, column] / (3 * weights.sum())))
    height, width = template.shape[:2]
    piece = image[row : row + height, column : column + width][hole[window]]
    # A ring can agree by chance with one around a mountain or a window: the piece must be as calm as the ring is.
    if error > agrees or piece.std(axis=0).mean() > 6 + 1.4 * image[ring].std(axis=0).mean():
        return None
    return int(row) - window[0].start, int(column) - window[1].start


def _refined(
    image: NDArray[np.uint8], hole: Mask, taboo: Mask, rows: int, columns: int, reach: int
) -> tuple[int, int] | None:
    """The best offset near one that was found on a smaller picture."""
    ring = _ring(hole, taboo)
    ring_at, hole_at = np.argwhere(ring), np.argwhere(hole)
    ring_at = ring_at[:: max(1, len(ring_at) // 4000)]
    hole_at = hole_at[:: max(1, len(hole_at) // 4000)]
    before = image[ring_at[:, 0], ring_at[:, 1]].astype(np.float32)
    best: tuple[float, tuple[int, int]] | None = None
    # Nearest first, so that among equally good offsets the one that was found stays.
    steps = sorted(product(range(-reach, reach + 1), repeat=2), key=lambda step: abs(step[0]) + abs(step[1]))
    for down, right in steps:
        offset = np.array([rows + down, columns + right])
        at, filled = ring_at + offset, hole_at + offset
        bounds = np.array(hole.shape)
        if (at < 0).any() or (at >= bounds).any() or (filled < 0).any() or (filled >= bounds).any():
            continue
        if taboo[filled[:, 0], filled[:, 1]].mean() > 0.002:
            continue
        error = float(((image[at[:, 0], at[:, 1]].astype(np.float32) - before) ** 2).mean())
        if best is None or error < best[0]:
            best = (error, (int(offset[0]), int(offset[1])))
    return None if best is None else best[1]


def _copied(image: NDArray[np.uint8], hole: Mask, taboo: Mask, offset: tuple[int, int]) -> NDArray[np.float32]:
    """The piece at the offset, its tone bent so that it meets the ring."""
    height, width = hole.shape
    rows, columns = np.indices(hole.shape)
    source_rows = np.clip(rows + offset[0], 0, height - 1)
    source_columns = np.clip(columns + offset[1], 0, width - 1)
    piece = image[source_rows, source_columns].astype(np.float32)
    ring = _ring(hole, taboo)
    difference = np.where(ring[..., None], np.clip(image.astype(np.float32) - piece, -24, 24), 0)
    sigma = max(2.0, RING * max(hole.shape))
    weight = cv2.GaussianBlur(ring.astype(np.float32), (0, 0), sigma)[..., None]
    tone = cv2.GaussianBlur(difference, (0, 0), sigma) / np.maximum(weight, 1e-4)
    return np.asarray(piece + tone * np.minimum(1, weight * 8), dtype=np.float32)


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


def _window(mask: Mask) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
