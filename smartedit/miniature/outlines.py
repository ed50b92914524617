"""Masks as polygons that give back exactly the same pixels."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Loop = list[tuple[int, int]]


def coco_segmentation(mask: NDArray[np.bool_]) -> Any:
    """A COCO `segmentation` of the mask.

    Args:
        mask: bool H x W, not empty.

    Returns:
        Flat polygons along the pixels' edges, holes joined to their outline by a cut; or, where pycocotools would not
        turn these into the same pixels, compressed run lengths.
    """
    from pycocotools import mask as coco

    height, width = mask.shape
    polygons = [[float(v) for point in loop for v in point] for loop in _without_holes(pixel_edges(mask))]
    if all(len(polygon) >= 6 for polygon in polygons):
        merged = coco.merge(coco.frPyObjects(polygons, height, width))
        if np.array_equal(np.asarray(coco.decode(merged), bool), mask):
            return polygons
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [height, width], "counts": encoded["counts"].decode()}


def pixel_edges(mask: NDArray[np.bool_]) -> list[Loop]:
    """The closed paths along the edges between mask and background, through corners only.

    Outlines run clockwise in a picture whose y points down, holes the other way.
    """
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    corner: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for dy, dx, start, end in (
        (-1, 0, (0, 0), (1, 0)),
        (0, 1, (1, 0), (1, 1)),
        (1, 0, (1, 1), (0, 1)),
        (0, -1, (0, 1), (0, 0)),
    ):
        neighbour = padded[1 + dy : padded.shape[0] - 1 + dy, 1 + dx : padded.shape[1] - 1 + dx]
        rows, columns = np.nonzero(inside & ~neighbour)
        for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
            corner.setdefault((x + start[0], y + start[1]), []).append((x + end[0], y + end[1]))
    loops: list[Loop] = []
    while corner:
        loops.append(_walk(corner))
    return loops


def _walk(corner: dict[tuple[int, int], list[tuple[int, int]]]) -> Loop:
    """Follow edges from any corner until the path closes; takes them out of the table."""
    start = here = next(iter(corner))
    path: Loop = []
    heading = (0, 0)
    while True:
        ends = corner[here]
        # Where two pixels touch at a corner only, turn right: each of them keeps an outline of its own.
        right = (here[0] - heading[1], here[1] + heading[0])
        step = right if len(ends) > 1 and right in ends else ends[0]
        ends.remove(step)
        if not ends:
            del corner[here]
        direction = (step[0] - here[0], step[1] - here[1])
        if direction != heading:
            path.append(here)
        heading, here = direction, step
        if here == start:
            return path


def _signed_area(loop: Loop) -> float:
    x, y = np.asarray(loop, float).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _without_holes(loops: list[Loop]) -> list[Loop]:
    """The outlines, each hole joined to the outline around it by a cut there and back."""
    outlines = [loop for loop in loops if _signed_area(loop) > 0]
    for hole in (loop for loop in loops if _signed_area(loop) < 0):
        owner = next(k for k, outline in enumerate(outlines) if _surrounds(outline, hole))
        outlines[owner] = _joined(outlines[owner], hole)
    return outlines


def _surrounds(outline: Loop, hole: Loop) -> bool:
    return bool(cv2.pointPolygonTest(np.asarray(outline, np.float32), tuple(map(float, hole[0])), False) >= 0)


def _joined(outline: Loop, hole: Loop) -> Loop:
    """One path around both, by way of their two nearest corners."""
    a, b = np.asarray(outline, float), np.asarray(hole, float)
    distance = ((a[:, None] - b[None]) ** 2).sum(axis=2)
    i, j = (int(k) for k in np.unravel_index(int(distance.argmin()), distance.shape))
    return [*outline[: i + 1], *hole[j:], *hole[: j + 1], *outline[i:]]


def painted_polygons(mask: NDArray[np.bool_]) -> list[list[list[float]]] | None:
    """Polygons through pixel centres that OpenCV's fillPoly and polylines paint as exactly this mask.

    Returns:
        One polygon of [x, y] points for each part, or None where no such polygons were found.
    """
    contours, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    loops: dict[int, Loop] = {}
    for k, contour in enumerate(contours):
        if tree[0][k][3] < 0:
            loops[k] = [(int(x), int(y)) for x, y in contour[:, 0]]
    for k, contour in enumerate(contours):
        owner = int(tree[0][k][3])
        if owner >= 0:
            loops[owner] = _joined(loops[owner], [(int(x), int(y)) for x, y in contour[:, 0]])
    painted = np.zeros(mask.shape, np.uint8)
    for loop in loops.values():
        points = np.asarray(loop, np.int32)
        if len(loop) < 3:
            return None
        layer = np.zeros(mask.shape, np.uint8)
        cv2.polylines(layer, [points], True, 1, 1)
        cv2.fillPoly(layer, [points], 1)
        painted |= layer
    if not np.array_equal(painted.astype(bool), mask):
        return None
    return [[[float(x), float(y)] for x, y in loop] for loop in loops.values()]
