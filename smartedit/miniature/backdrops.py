"""Backdrops: which walls and grounds go together, and painting them."""

import numpy as np
from numpy.typing import NDArray

from smartedit.miniature.canvas import Canvas
from smartedit.miniature.grounds import GROUNDS
from smartedit.miniature.scenes import Backdrop
from smartedit.miniature.walls import WALL_COLORS, WALLS

PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "kitchen": (("tiles", "plain", "window", "brick"), ("table", "cloth", "tile floor")),
    "room": (("striped", "dotted", "window", "plain", "planks"), ("floor", "carpet", "table")),
    "meadow": (("hills", "fence"), ("grass",)),
    "beach": (("seaside",), ("sand",)),
    "winter": (("mountains",), ("snow",)),
}
"""Which walls and grounds go together."""


def paint_backdrop(backdrop: Backdrop, side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Paint wall and ground.

    Args:
        backdrop: What to paint.
        side: Pixels of the square.

    Returns:
        The picture, uint8 side x side x 3, and the id of each pixel in the COCO-Stuff labels.txt, uint8 side x side.
    """
    canvas = Canvas(
        rgb=np.zeros((side, side, 3), np.uint8),
        stuff=np.zeros((side, side), np.uint8),
        rng=np.random.Generator(np.random.Philox(backdrop.seed)),
        horizon=round(backdrop.horizon * side),
        color=WALL_COLORS[backdrop.tint % len(WALL_COLORS)],
    )
    WALLS[backdrop.wall](canvas)
    GROUNDS[backdrop.ground](canvas)
    return canvas.rgb, canvas.stuff
