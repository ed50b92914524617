"""Everything that could stand at a place: each kind in each color, both ways round, drawn as a judge would see it."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from smartedit.miniature.drawing import GLASS, shadow_strength, thing_layer
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.scenes import Thing

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]

SIDE = 64
"""Pixels of the square at which pictures are compared: what a 64 px editor can show of a larger source."""

FOOT = (48, 32)
"""Row and column of the frame where a candidate stands while it is drawn."""

PAD = 4
"""Pixels around a candidate into which blur may carry it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What a candidate is; `kind` None is the bare place."""

    kind: str | None
    color: str | None
    flip: bool = False


LOOKS: tuple[Look, ...] = tuple(
    Look(kind=name, color=color, flip=flip)
    for name, kind in KINDS.items()
    for color in kind.colors
    for flip in (False, True)
)
"""All candidates, in the order of the drawn ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrawnLooks:
    """All candidates of one height over a background that is yet unknown: picture = background * passed + own.

    Attributes:
        up: Rows of the window above the foot.
        left: Columns of the window left of the foot.
        passed: Share of the background that shadow and thing let through, n x h x w in [0, 1].
        own: What the thing adds, n x h x w x 3 in [0, 1].
        features: `passed`, its square, `own`, `own * passed`, float32 n x (8 h w), and
        energy: the sum of squares of `own`, n; together they make all distances one matrix product.
    """

    up: int
    left: int
    passed: Floats
    own: Floats
    features: Floats
    energy: Floats


@lru_cache(maxsize=64)
def _layers(height: int, side: int) -> tuple[Halves, Halves, Halves]:
    """`passed`, coverage and color times coverage of all candidates in their window, drawn at the source's side."""
    rows, columns = window(height)
    passed, coverage, colors = [], [], []
    for look in LOOKS:
        assert look.kind is not None and look.color is not None
        y, x = FOOT[0] / SIDE, FOOT[1] / SIDE
        thing = Thing(kind=look.kind, color=look.color, x=x, y=y, size=height / SIDE, flip=look.flip)
        layer = thing_layer(thing, side)
        alpha, rgb = np.zeros((side, side), np.float32), np.zeros((side, side, 3), np.float32)
        place = np.s_[layer.top : layer.top + layer.alpha.shape[0], layer.left : layer.left + layer.alpha.shape[1]]
        alpha[place], rgb[place] = layer.alpha, layer.rgb
        passed.append(shrink((1 - shadow_strength(thing, side)) * (1 - alpha))[rows, columns])
        coverage.append(shrink(alpha)[rows, columns])
        colors.append(shrink(rgb)[rows, columns] / 255)
    stacked = tuple(np.stack(part).astype(np.float16) for part in (passed, coverage, colors))
    return stacked[0], stacked[1], stacked[2]


def window(height: int) -> tuple[slice, slice]:
    """The part of the frame that a candidate of a height can change, blur included."""
    reach = round(0.62 * height) + PAD
    top, bottom = FOOT[0] - round(1.06 * height) - PAD, FOOT[0] + round(0.09 * height) + PAD + 1
    return slice(max(0, top), min(SIDE, bottom)), slice(FOOT[1] - reach, FOOT[1] + reach)


@lru_cache(maxsize=32)
def drawn_looks(height: int, side: int, in_mirror: bool, sigma: float) -> DrawnLooks:
    """All candidates of a height.

    Args:
        height: In pixels of the frame, 6 to 40.
        side: Pixels of the source, at whose size they are drawn before they are made smaller.
        in_mirror: Whether they are reflections.
        sigma: Blur, in pixels of the frame.

    Returns:
        The candidates in the order of `LOOKS`.
    """
    passed, coverage, own = (a.astype(np.float32) for a in _layers(height, side))
    if in_mirror:
        tint = (GLASS * np.float32(0.16 / 255)).astype(np.float32)
        own = np.asarray(own * np.float32(0.84) + tint * coverage[..., None], np.float32)
    if sigma > 0:
        passed = gaussian_filter(passed, sigma, axes=(1, 2), mode="nearest", truncate=3)
        own = gaussian_filter(own, sigma, axes=(1, 2), mode="nearest", truncate=3)
    rows, columns = window(height)
    features = np.concatenate(
        [passed[..., None], passed[..., None] ** 2, own, own * passed[..., None]], axis=3, dtype=np.float32
    )
    return DrawnLooks(
        up=FOOT[0] - rows.start,
        left=FOOT[1] - columns.start,
        passed=passed,
        own=own,
        features=features.reshape(len(features), -1),
        energy=(own**2).sum(axis=(1, 2, 3)),
    )


def shrink(picture: NDArray[np.generic]) -> Floats:
    """A picture at the frame's size, float32; larger ones are averaged."""
    pixels = np.asarray(picture, np.float32)
    larger = min(pixels.shape[:2]) >= SIDE
    method = cv2.INTER_AREA if larger else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=method), np.float32)


def compare_looks(looks: DrawnLooks, edited: Floats, bare: Floats, foot: tuple[int, int], reach: int) -> Floats:
    """How much nearer the edited picture is to each candidate than to the bare place.

    Args:
        looks: The candidates.
        edited: What is judged, SIDE x SIDE x 3 in [0, 1].
        bare: The same place with nothing there.
        foot: Row and column where candidates stand.
        reach: Shifts of -reach to reach pixels are tried.

    Returns:
        Sum of squared differences less that to `bare`, candidates x shifts (rows of shifts first); negative is nearer.
    """
    height, width = looks.passed.shape[1:]
    margin = SIDE
    padded = [np.pad(a, ((margin, margin), (margin, margin), (0, 0)), mode="edge") for a in (edited, bare)]
    places = []
    bases = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            top, left = foot[0] + down - looks.up + margin, foot[1] + right - looks.left + margin
            e, b = (a[top : top + height, left : left + width] for a in padded)
            terms = [-2 * (e * b).sum(axis=2, keepdims=True), (b * b).sum(axis=2, keepdims=True), -2 * e, 2 * b]
            places.append(np.concatenate(terms, axis=2).reshape(-1))
            bases.append(float((e * e).sum() - ((e - b) ** 2).sum()))
    products = looks.features @ np.stack(places, axis=1)
    return np.asarray(products + looks.energy[:, None] + np.asarray(bases, np.float32)[None], np.float32)
