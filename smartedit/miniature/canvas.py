"""A square picture that is being painted, and the COCO-Stuff names of the surfaces on it."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from smartedit.miniature.pen import Color

STUFF: dict[str, tuple[int, str]] = {
    "wall-other": (173, "a wall"),
    "wall-brick": (171, "a brick wall"),
    "wall-tile": (176, "a tiled wall"),
    "wall-wood": (177, "a wooden wall"),
    "window-other": (181, "a window"),
    "sky-other": (157, "the sky"),
    "clouds": (106, "the clouds"),
    "sea": (155, "the sea"),
    "hill": (127, "a green hill"),
    "mountain": (135, "a snowy mountain"),
    "fence": (113, "a wooden fence"),
    "tree": (169, "the trees"),
    "table": (165, "a wooden table"),
    "cloth": (104, "a checkered tablecloth"),
    "floor-wood": (118, "a wooden floor"),
    "floor-tile": (117, "a tiled floor"),
    "carpet": (101, "a carpet"),
    "grass": (124, "the grass"),
    "sand": (154, "the sand"),
    "snow": (159, "the snow"),
    "mirror-stuff": (133, "the mirror"),
}
"""COCO-Stuff name -> its id in labels.txt, and how a target label calls the bare surface."""


@dataclass(kw_only=True, slots=True)
class Canvas:
    """A square picture that is being painted, with the COCO-Stuff id of each pixel."""

    rgb: NDArray[np.uint8]
    stuff: NDArray[np.uint8]
    rng: np.random.Generator
    horizon: int
    color: Color
    side: int = field(init=False)

    def __post_init__(self) -> None:
        self.side = self.rgb.shape[0]

    def polygon(self, points: list[tuple[float, float]], color: Color, stuff: str | None = None) -> None:
        """Fill a polygon given in fractions of the side."""
        corners = np.round(np.asarray(points) * self.side * 16).astype(np.int32)
        cv2.fillPoly(self.rgb, [corners], color, shift=4)
        if stuff is not None:
            cv2.fillPoly(self.stuff, [corners], STUFF[stuff][0], shift=4)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color, stuff: str | None = None) -> None:
        """Fill a rectangle given in fractions of the side."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color, stuff)

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color, stuff: str | None = None) -> None:
        """Fill an ellipse given in fractions of the side."""
        angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        self.polygon(list(zip(x + rx * np.cos(angle), y + ry * np.sin(angle), strict=True)), color, stuff)

    def gradient(self, top: float, bottom: float, first: Color, last: Color, stuff: str) -> None:
        """Fill a band from color to color."""
        y0, y1 = round(top * self.side), round(bottom * self.side)
        t = np.linspace(0, 1, max(y1 - y0, 1))[:, None]
        band = np.asarray(first) * (1 - t) + np.asarray(last) * t
        self.rgb[y0:y1] = np.round(band)[: y1 - y0, None, :].astype(np.uint8)
        self.stuff[y0:y1] = STUFF[stuff][0]

    @property
    def line(self) -> float:
        """The horizon as a fraction."""
        return self.horizon / self.side
