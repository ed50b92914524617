"""Draws a scene at any size, with anti-aliasing, and says exactly which pixels belong to which thing."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from smartedit.miniature.backdrops import paint_backdrop
from smartedit.miniature.canvas import STUFF
from smartedit.miniature.kinds import COLORS, KINDS
from smartedit.miniature.pen import Pen, shade
from smartedit.miniature.scenes import Backdrop, Mirror, Scene, Thing

WORKING_SIDE = 512
"""Shapes are filled at about this side, at two to four times the picture's own, and averaged down."""

GLASS = np.array([205, 226, 236], np.float32)
"""The color that the mirror's glass adds to what it shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """What one thing adds to the picture, inside a window.

    Attributes:
        top: First row.
        left: First column.
        rgb: Colors times coverage, float32 h x w x 3 in [0, 255].
        alpha: Coverage in [0, 1], float32 h x w.
    """

    top: int
    left: int
    rgb: NDArray[np.float32]
    alpha: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A drawn scene.

    Attributes:
        image: uint8 size x size x 3.
        coverage: How much of each pixel each thing of the scene covers visibly, float32 n x size x size in [0, 1].
        footprints: Where each thing or its shadow changes the picture at all, bool n x size x size.
        stuff: COCO-Stuff id (labels.txt) of what is behind the things, uint8 size x size.
    """

    image: NDArray[np.uint8]
    coverage: NDArray[np.float32]
    footprints: NDArray[np.bool_]
    stuff: NDArray[np.uint8]

    def mask(self, index: int) -> NDArray[np.bool_]:
        """The pixels that a thing covers at least by half."""
        return np.asarray(self.coverage[index] >= 0.5)


def draw(scene: Scene, size: int) -> Drawing:
    """Draw a scene.

    Args:
        scene: What to draw.
        size: Pixels of the square picture's side.

    Returns:
        The picture and the truth about its pixels. The order of `scene.things` is kept.
    """
    empty_picture, empty_stuff = _backdrop(scene.backdrop, size)
    picture, stuff = empty_picture.copy(), empty_stuff.copy()
    glass = np.zeros((size, size), np.float32)
    if scene.mirror is not None:
        glass = _draw_mirror(picture, stuff, scene.mirror, size)
    order = sorted(range(len(scene.things)), key=lambda k: (not scene.things[k].in_mirror, scene.things[k].y, k))
    footprints = np.zeros((len(scene.things), size, size), bool)
    for k in order:
        _draw_shadow(picture, footprints[k], scene.things[k], glass, size)
    coverage = np.zeros((len(scene.things), size, size), np.float32)
    for k in order:
        layer = thing_layer(scene.things[k], size)
        _compose(picture, coverage, k, layer, glass if scene.things[k].in_mirror else None)
        window = footprints[
            k, layer.top : layer.top + layer.alpha.shape[0], layer.left : layer.left + layer.alpha.shape[1]
        ]
        inside = layer.alpha if not scene.things[k].in_mirror else layer.alpha * glass[_window(layer)]
        window |= inside > 0
    hidden = coverage.copy()
    for position, k in enumerate(order):
        for nearer in order[position + 1 :]:
            footprints[k] &= hidden[nearer] < 1
    if scene.mirror is not None:
        _draw_glare(picture, scene.mirror, glass, size)
    return Drawing(
        image=np.round(picture).clip(0, 255).astype(np.uint8), coverage=coverage, footprints=footprints, stuff=stuff
    )


def _oversampling(size: int) -> int:
    return min(max(2, -(-WORKING_SIDE // size)), 4)


def _shrink(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)


def _share(coverage: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    """Coverage in [0, 1] after averaging down."""
    return _shrink(coverage, size) / np.float32(255)


@lru_cache(maxsize=64)
def _backdrop(backdrop: Backdrop, size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    factor = _oversampling(size)
    rgb, stuff = paint_backdrop(backdrop, size * factor)
    return _shrink(rgb, (size, size)), np.ascontiguousarray(stuff[factor // 2 :: factor, factor // 2 :: factor])


def _window(layer: Layer) -> tuple[slice, slice]:
    height, width = layer.alpha.shape
    return slice(layer.top, layer.top + height), slice(layer.left, layer.left + width)


@lru_cache(maxsize=64)
def thing_layer(thing: Thing, size: int) -> Layer:
    """The layer of one thing, clipped to the picture; kept, since source and target share all things but one."""
    factor = _oversampling(size)
    scale = thing.size * size * factor
    margin = 0.06 * thing.size * size + 2
    left, right = (
        int((thing.x - thing.size * 0.52) * size - margin),
        int((thing.x + thing.size * 0.52) * size + margin) + 1,
    )
    top, bottom = int((thing.y - thing.size) * size - margin), int(thing.y * size + margin) + 1
    height, width = (bottom - top) * factor, (right - left) * factor
    pen = Pen(
        rgb=np.zeros((height, width, 3), np.uint8),
        coverage=np.zeros((height, width), np.uint8),
        scale=scale,
        origin=((thing.x * size - left) * factor - 0.5, (thing.y * size - top) * factor - 0.5),
        flip=thing.flip,
    )
    color = COLORS[thing.color]
    KINDS[thing.kind].draw(pen, color)
    _light(pen)
    _outline(pen, max(0.55 * factor, 0.016 * scale), shade(color, 0.3))
    pen.rgb[pen.coverage == 0] = 0
    rgb, alpha = (
        _shrink(pen.rgb, (right - left, bottom - top)),
        _share(pen.coverage, (right - left, bottom - top)),
    )
    y0, x0, y1, x1 = (
        max(0, -top),
        max(0, -left),
        height // factor - max(0, bottom - size),
        width // factor - max(0, right - size),
    )
    return Layer(top=top + y0, left=left + x0, rgb=rgb[y0:y1, x0:x1], alpha=alpha[y0:y1, x0:x1])


def _light(pen: Pen) -> None:
    """Light from the upper left: the lower right of a thing is darker."""
    height, width = pen.coverage.shape
    slope = (
        np.linspace(1.06, 0.9, height, dtype=np.float32)[:, None]
        + np.linspace(0.04, -0.06, width, dtype=np.float32)[None, :]
    )
    pen.rgb[:] = np.minimum(pen.rgb * slope[:, :, None], 255).astype(np.uint8)


def _outline(pen: Pen, width: float, color: tuple[int, int, int]) -> None:
    """A dark contour around everything that was painted."""
    reach = max(1, round(width))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    grown = cv2.dilate(pen.coverage, kernel)
    pen.rgb[(grown > 0) & (pen.coverage == 0)] = color
    pen.coverage[:] = grown


def _compose(
    picture: NDArray[np.float32],
    coverage: NDArray[np.float32],
    index: int,
    layer: Layer,
    glass: NDArray[np.float32] | None,
) -> None:
    """Lay a layer over the picture and take what it hides from the things behind it."""
    rows, columns = _window(layer)
    rgb, alpha = layer.rgb, layer.alpha
    if glass is not None:
        inside = glass[rows, columns]
        rgb = (rgb * 0.84 + GLASS * 0.16 * alpha[:, :, None]) * inside[:, :, None]
        alpha = alpha * inside
    picture[rows, columns] = picture[rows, columns] * (1 - alpha[:, :, None]) + rgb
    coverage[:, rows, columns] *= 1 - alpha
    coverage[index, rows, columns] = alpha


def _draw_shadow(
    picture: NDArray[np.float32], footprint: NDArray[np.bool_], thing: Thing, glass: NDArray[np.float32], size: int
) -> None:
    """A soft shadow on the ground below the thing."""
    strength = shadow_strength(thing, size)
    if thing.in_mirror:
        strength *= glass
    picture *= 1 - strength[:, :, None]
    footprint |= strength > 0


def shadow_strength(thing: Thing, size: int) -> NDArray[np.float32]:
    """How much light the thing takes from each pixel around its foot, float32 size x size in [0, 0.42]."""
    across, along = KINDS[thing.kind].width * thing.size * 0.56 * size, thing.size * 0.09 * size
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5
    distance = ((column - thing.x * size - 0.06 * across) / across) ** 2 + (
        (row - (thing.y - 0.01 * thing.size) * size) / along
    ) ** 2
    return np.asarray(np.clip(1 - distance, 0, None) * 0.42, np.float32)


def _mirror_shape(mirror: Mirror, side: int, grow: float) -> NDArray[np.uint8]:
    """The glass, or with `grow` the frame around it, as a filled shape at the working size."""
    shape = np.zeros((side, side), np.uint8)
    pen = Pen(rgb=np.zeros((side, side, 3), np.uint8), coverage=shape, scale=side, origin=(0, side))
    x0, x1, top, bottom = mirror.x0 - grow, mirror.x1 + grow, 1 - mirror.y0 + grow, 1 - mirror.y1 - grow
    if mirror.arched:
        rise = 0.12
        angle = np.linspace(0, np.pi, 40)
        arch = zip((x0 + x1) / 2 + (x1 - x0) / 2 * np.cos(angle), top - rise + rise * np.sin(angle), strict=True)
        pen.fill([(x0, bottom), (x1, bottom), *((float(x), float(y)) for x, y in arch)], (0, 0, 0))
    else:
        pen.box(x0, bottom, x1, top, (0, 0, 0), 0.03)
    return shape


def _draw_mirror(
    picture: NDArray[np.float32], stuff: NDArray[np.uint8], mirror: Mirror, size: int
) -> NDArray[np.float32]:
    """Draw the frame and, in the glass, the room seen the other way round; returns the coverage of the glass."""
    side = size * _oversampling(size)
    glass = _share(_mirror_shape(mirror, side, 0), (size, size))
    frame = _share(_mirror_shape(mirror, side, 0.028), (size, size))
    rim = _share(_mirror_shape(mirror, side, 0.036), (size, size))
    color = np.asarray(COLORS[mirror.frame], np.float32)
    reflected = picture[:, ::-1] * 0.66 + GLASS * 0.34
    for alpha, tone in ((rim, color * 0.42), (frame, color), (glass, reflected)):
        picture[:] = picture * (1 - alpha[:, :, None]) + tone * alpha[:, :, None]
    stuff[rim >= 0.5] = STUFF["mirror-stuff"][0]
    return glass


def _draw_glare(picture: NDArray[np.float32], mirror: Mirror, glass: NDArray[np.float32], size: int) -> None:
    """Two pale streaks across the upper corner of the glass."""
    row, column = np.mgrid[0:size, 0:size].astype(np.float32) / size
    across = (column - mirror.x0) + (row - mirror.y0)
    streaks = ((np.abs(across - 0.16) < 0.025) | (np.abs(across - 0.235) < 0.012)).astype(np.float32)
    alpha = (cv2.GaussianBlur(streaks, (3, 3), 0) * glass * 0.3)[:, :, None]
    picture[:] = picture * (1 - alpha) + 255 * alpha
