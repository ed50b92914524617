"""A pen that fills polygons, ellipses and strokes given in a thing's own unit frame."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Points = Sequence[tuple[float, float]]

SHIFT = 4
"""Fractional bits of the coordinates that OpenCV is given."""


def shade(color: Color, factor: float) -> Color:
    """A darker (factor < 1) or lighter (factor > 1) version of a color."""
    if factor <= 1:
        return tuple(round(c * factor) for c in color)  # type: ignore[return-value]
    return tuple(round(c + (255 - c) * (factor - 1)) for c in color)  # type: ignore[return-value]


def oval(cx: float, cy: float, rx: float, ry: float, turn: float = 0.0, count: int = 40) -> list[tuple[float, float]]:
    """Points of an ellipse, turned counter-clockwise by `turn` degrees."""
    return arc(cx, cy, rx, ry, 0, 360, turn, count)


def arc(
    cx: float, cy: float, rx: float, ry: float, start: float, end: float, turn: float = 0.0, count: int = 40
) -> list[tuple[float, float]]:
    """Points along a part of an ellipse, angles in degrees, counter-clockwise from the right."""
    angle = np.radians(np.linspace(start, end, count))
    x, y = rx * np.cos(angle), ry * np.sin(angle)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return list(zip((cx + cos * x - sin * y).tolist(), (cy + sin * x + cos * y).tolist(), strict=True))


def smooth(points: Points, closed: bool = True, per_segment: int = 8) -> list[tuple[float, float]]:
    """A Catmull-Rom curve through the points."""
    corner = np.asarray(points, dtype=np.float64)
    count = len(corner)
    index = np.arange(count if closed else count - 1)
    take = (lambda k: corner[k % count]) if closed else (lambda k: corner[np.clip(k, 0, count - 1)])
    before, first, second, after = (take(index + k)[:, None] for k in (-1, 0, 1, 2))
    t = np.linspace(0, 1, per_segment, endpoint=False)[None, :, None]
    curve = 0.5 * (
        2 * first
        + (second - before) * t
        + (2 * before - 5 * first + 4 * second - after) * t**2
        + (3 * first - before - 3 * second + after) * t**3
    )
    flat = [(x, y) for x, y in curve.reshape(-1, 2).tolist()]
    return flat if closed else [*flat, points[-1]]


@dataclass(kw_only=True, slots=True)
class Pen:
    """Draws into one layer; the frame has x to the right in [-0.5, 0.5] and y up in [0, 1] from where the thing stands.

    Attributes:
        rgb: The layer's colors, uint8 H x W x 3.
        coverage: Where the layer was painted, uint8 H x W, 0 or 255.
        scale: Pixels of one unit.
        origin: Column and row of the frame's (0, 0).
        flip: Whether x is mirrored.
    """

    rgb: NDArray[np.uint8]
    coverage: NDArray[np.uint8]
    scale: float
    origin: tuple[float, float]
    flip: bool = False

    def pixels(self, points: Points) -> NDArray[np.int32]:
        """Fixed-point pixel coordinates of points of the frame."""
        p = np.asarray(points, dtype=np.float64)
        x = self.origin[0] + (-p[:, 0] if self.flip else p[:, 0]) * self.scale
        y = self.origin[1] - p[:, 1] * self.scale
        return np.round(np.stack([x, y], axis=1) * (1 << SHIFT)).astype(np.int32)

    def fill(self, points: Points, color: Color) -> None:
        """Fill a polygon."""
        corners = self.pixels(points)
        cv2.fillPoly(self.rgb, [corners], color, shift=SHIFT)
        cv2.fillPoly(self.coverage, [corners], 255, shift=SHIFT)

    def oval(self, cx: float, cy: float, rx: float, ry: float, color: Color, turn: float = 0.0) -> None:
        """Fill an ellipse."""
        self.fill(oval(cx, cy, rx, ry, turn), color)

    def line(self, points: Points, width: float, color: Color) -> None:
        """Stroke an open line with round ends, `width` in units."""
        corners = self.pixels(points)
        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.rgb, [corners], False, color, thickness, shift=SHIFT)
        cv2.polylines(self.coverage, [corners], False, 255, thickness, shift=SHIFT)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color, corner: float = 0.0) -> None:
        """Fill a rectangle with rounded corners."""
        if corner <= 0:
            self.fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)
            return
        r = min(corner, (x1 - x0) / 2, (y1 - y0) / 2)
        outline = [
            *arc(x1 - r, y1 - r, r, r, 0, 90, count=8),
            *arc(x0 + r, y1 - r, r, r, 90, 180, count=8),
            *arc(x0 + r, y0 + r, r, r, 180, 270, count=8),
            *arc(x1 - r, y0 + r, r, r, 270, 360, count=8),
        ]
        self.fill(outline, color)
