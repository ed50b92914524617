"""Where in a picture a hole's surroundings go on: the offset whose ring agrees best, found coarse to fine."""

import cv2
import numpy as np
from numpy.typing import NDArray

from smartedit.tools.protocols import Mask

WHOLE_SIDE = 160
"""A picture whose longer side is at most this is searched as it is, a larger one at half its size first."""

SEARCH_SIDE = 320
"""The first search is on a picture of at most this longer side."""

RING = 0.05
"""Width of the ring that has to agree, share of the longer side."""

AGREES = 22.0
"""Root mean square difference of the rings up to which a piece is taken, 8-bit levels."""

RISE = 40.0
"""Difference that a move by a whole picture's height counts for: textures change with height (perspective, the
horizon) sooner than sideways. 8-bit levels."""

Offset = tuple[int, int]


def best_offset(image: NDArray[np.uint8], hole: Mask, taboo: Mask, agrees: float = AGREES) -> Offset | None:
    """Where to copy from: rows and columns to add to a hole's pixel; None where no piece agrees well enough.

    Args:
        image: uint8 `H x W x 3`.
        hole: What is to be filled.
        taboo: What must not be copied, the hole included.
        agrees: Root mean square difference of the rings up to which a piece is taken, 8-bit levels.
    """
    longer = max(hole.shape)
    if longer <= WHOLE_SIDE:
        return _search(image, hole, taboo, agrees)
    scale = min(0.5, SEARCH_SIDE / longer)
    size = (max(1, round(hole.shape[1] * scale)), max(1, round(hole.shape[0] * scale)))
    small_hole, small_taboo = (
        np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0)
        for mask in (hole, taboo)
    )
    found = _search(cv2.resize(image, size, interpolation=cv2.INTER_AREA), small_hole, small_taboo, agrees, calm=False)
    if found is None:
        return None
    near = (round(found[0] / scale), round(found[1] / scale))
    return _search(image, hole, taboo, agrees, near=near, reach=round(1 / scale))


def ring_around(hole: Mask, taboo: Mask) -> Mask:
    """The pixels around a hole that have to agree, as wide as `RING` says; none of them taboo."""
    width = max(3, round(RING * max(hole.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    return np.asarray((cv2.dilate(hole.astype(np.uint8), disc) > 0) & ~taboo)


def window_of(mask: Mask) -> tuple[slice, slice]:
    """The smallest window that holds a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _search(
    image: NDArray[np.uint8],
    hole: Mask,
    taboo: Mask,
    agrees: float,
    *,
    near: Offset | None = None,
    reach: int = 0,
    calm: bool = True,
) -> Offset | None:
    """The best offset by masked template matching.

    Args:
        image: uint8 `H x W x 3`.
        hole: What is to be filled.
        taboo: What must not be copied.
        agrees: Limit of the root mean square difference.
        near: An offset to look around; None for everywhere.
        reach: How far around it, pixels.
        calm: Whether the piece has to be as calm as the ring.
    """
    ring = ring_around(hole, taboo)
    if ring.sum() < 12:
        return None
    window = window_of(hole | ring)
    # No offset can rise further and still agree.
    rise = int(agrees / RISE * hole.shape[0])
    rows = _reachable(window[0], hole.shape[0], *((0, rise) if near is None else (near[0], reach)))
    columns = _reachable(window[1], hole.shape[1], *((0, hole.shape[1]) if near is None else (near[1], reach)))
    if rows is None or columns is None:
        return None
    errors = _errors(image[rows, columns], image[window], ring[window])
    errors += (RISE * (np.arange(len(errors))[:, None] + rows.start - window[0].start) / hole.shape[0]) ** 2
    # A place is out of the question where the piece would hold a taboo pixel.
    clashes = cv2.matchTemplate(taboo[rows, columns].astype(np.uint8), hole[window].astype(np.uint8), cv2.TM_CCORR)
    errors[clashes > 0.5] = np.inf
    row, column = np.unravel_index(int(np.argmin(errors)), errors.shape)
    if not errors[row, column] <= agrees**2:
        return None
    top, left = int(row) + rows.start, int(column) + columns.start
    height, width = ring[window].shape
    piece = image[top : top + height, left : left + width][hole[window]]
    # A ring can agree by chance with one around a mountain or a window: the piece must be as calm as the ring is.
    if calm and piece.std(axis=0).mean() > 6 + 1.4 * image[ring].std(axis=0).mean():
        return None
    return top - window[0].start, left - window[1].start


def _reachable(window: slice, length: int, move: int, reach: int) -> slice | None:
    """The part of an axis that a window moved by `move`, give or take `reach`, can cover; None where it leaves it."""
    start, stop = max(0, window.start + move - reach), min(length, window.stop + move + reach)
    return slice(start, stop) if stop - start >= window.stop - window.start else None


def _errors(image: NDArray[np.uint8], template: NDArray[np.uint8], ring: Mask) -> NDArray[np.float32]:
    """Mean square differences of the ring's pixels at every place of the template.

    `cv2.matchTemplate` with a mask gives the same by six correlations; all colors share the mask, so that four do.
    """
    weights = ring.astype(np.float32)
    # Around the middle gray the sums stay small and their difference exact.
    values, wanted = image.astype(np.float32) - 128, (template.astype(np.float32) - 128) * weights[..., None]
    sums = cv2.matchTemplate((values**2).sum(axis=-1), weights, cv2.TM_CCORR)
    sums += float((wanted**2).sum()) - 2 * cv2.matchTemplate(values, wanted, cv2.TM_CCORR)
    return np.asarray(np.maximum(sums, 0) / (3 * weights.sum()), dtype=np.float32)
