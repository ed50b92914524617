"""What an edited picture of a known scene shows: measured against everything that could be drawn in its places."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from smartedit.miniature.benchmark_set import Answer
from smartedit.miniature.candidates import LOOKS, SIDE, DrawnLooks, Floats, Look, compare_looks, drawn_looks
from smartedit.miniature.registering import Mask, blurred, framed, moved, register
from smartedit.miniature.scene_truth import Truth
from smartedit.miniature.scenes import Thing

Compared = tuple[DrawnLooks, Floats, tuple[int, int], list[Floats]]

SCALES = (0.85, 0.92, 1.0, 1.08, 1.16)
"""Heights at which a new thing may be drawn, as shares of the old one's."""

REACH = 3
"""Pixels of the frame by which a new thing may stand beside its place."""

BARE = Look(kind=None, color=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the place of the edit shows.

    Energies are sums of squared differences over pixels and channels in [0, 1].

    Attributes:
        look: The nearest of all candidates, the bare place among them.
        right: Distance to the nearest right candidate.
        wrong: Distance to the nearest wrong one.
        bare: Distance to the bare place.
        untouched: Distance to the source.
        signal: How far apart source and right picture are.
        ghost: Share of the old thing that shines through: how far the picture is on the way from the right picture
            to the source, at the old thing's pixels.
        leftover: The same only where the right picture shows the bare place.
    """

    look: Look
    right: float
    wrong: float
    bare: float
    untouched: float
    signal: float
    ghost: float
    leftover: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What became of a thing that should have stayed.

    Attributes:
        index: Which of the scene's things.
        look: The nearest candidate.
        own: Distance to the thing itself.
        other: Distance to the nearest other candidate or the bare place.
        change: Difference to the source, as a share of the energy.
        energy: The thing's own difference to the bare place.
    """

    index: int
    look: Look
    own: float
    other: float
    change: float
    energy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sight:
    """Everything measured on one edited picture.

    Attributes:
        sigma: Blur of the edited picture, in pixels of the frame.
        shift: Its shift as a whole, in pixels of the frame, to the right and down.
        place: The place of the edit.
        kept: The other things.
        background: Root mean square difference of the background, of 255.
        worst: The same at the place where it is greatest, over about 5 x 5 pixels of the frame.
    """

    sigma: float
    shift: tuple[float, float]
    place: Seen
    kept: Sequence[Kept]
    background: float
    worst: float


def look_at(answer: Answer, truth: Truth, edited: NDArray[np.uint8]) -> Sight:
    """Measure one edited picture.

    Args:
        answer: The sample.
        truth: From `scene_truth.truth_of`.
        edited: uint8 H x W x 3 of any size.
    """
    outside = ~truth.zone
    picture, shift, sigma = register(framed(edited), truth.source, outside)
    source, empty = blurred(truth.source, sigma), blurred(truth.empty, sigma)
    bare = _without(source, empty, truth, answer.thing, sigma)
    place, covered = _see_place(answer, truth, picture, source, bare, sigma)
    zone = truth.zone | binary_dilation(covered, iterations=2)
    kept = [
        _see_kept(k, answer, truth, picture, source, empty, zone, sigma)
        for k in range(len(answer.before.things))
        if k != answer.thing
    ]
    ground = np.asarray(~(zone | binary_dilation(truth.footprints.any(axis=0), iterations=1)))
    if shift != (0.0, 0.0):
        ground[[0, 1, -2, -1]] = ground[:, [0, 1, -2, -1]] = False  # what a shift has brought in is nobody's
    background, worst = _background(picture, source, ground)
    return Sight(sigma=sigma, shift=shift, place=place, kept=kept, background=background, worst=worst)


def _without(source: Floats, empty: Floats, truth: Truth, index: int, sigma: float) -> Floats:
    """The source without one thing."""
    where = blurred(truth.footprints[index].astype(np.float32), max(sigma, 0.3))[:, :, None]
    shown = np.where(truth.footprints[index][:, :, None], 1.0, np.minimum(1.0, 2 * where)).astype(np.float32)
    return np.asarray(source * (1 - shown) + empty * shown, np.float32)


def _distances(
    thing: Thing, heights: Sequence[int], side: int, sigma: float, pictures: Sequence[Floats], reach: int
) -> list[Compared]:
    """All candidates at a thing's place, for each height; the pictures are moved so that it stands on a pixel."""
    x, y = thing.x * SIDE, thing.y * SIDE
    foot = (round(y), round(x))
    placed = [moved(p, foot[1] - x, foot[0] - y) for p in pictures]
    found: list[Compared] = []
    for height in heights:
        looks = drawn_looks(height, side, thing.in_mirror, sigma)
        found.append((looks, compare_looks(looks, placed[0], placed[1], foot, reach), foot, placed))
    return found


def _is_right(answer: Answer, look: Look) -> bool:
    if look.kind != answer.new_kind:
        return False
    return not answer.color_named or look.color == answer.new_color


def _surroundings(thing: Thing) -> Mask:
    """Where anything that stands at the thing's place may be drawn."""
    row, column = np.mgrid[0:SIDE, 0:SIDE] + 0.5
    x, y, size = thing.x * SIDE, thing.y * SIDE, thing.size * SIDE
    beside, above = np.abs(column - x) <= 0.65 * size + REACH, row >= y - 1.2 * size - REACH
    return np.asarray(beside & above & (row <= y + 0.12 * size + REACH))


def _others(truth: Truth, index: int) -> Mask:
    """Where the other things are."""
    return np.asarray(np.delete(truth.footprints, index, axis=0).any(axis=0) & ~truth.target_footprint)


def _see_place(
    answer: Answer, truth: Truth, picture: Floats, source: Floats, bare: Floats, sigma: float
) -> tuple[Seen, Mask]:
    thing = answer.before.things[answer.thing]
    heights = sorted({round(thing.size * SIDE * scale) for scale in SCALES})
    zone = _surroundings(thing) & ~_others(truth, answer.thing)
    picture = np.where(zone[:, :, None], picture, bare)
    found = _distances(thing, heights, truth.side, sigma, (picture, bare, source), REACH)
    nearest = np.stack([d.min(axis=1) for _, d, _, _ in found])  # heights x looks
    best = nearest.min(axis=0)
    accepted = np.array([_is_right(answer, look) for look in LOOKS])
    to_bare, untouched = (float(((picture - p)[zone] ** 2).sum()) for p in (bare, source))
    wrong = min(untouched, max(0.0, to_bare + float(best[~accepted].min())))
    right_picture, covered = bare, np.zeros((SIDE, SIDE), bool)
    right = to_bare
    if accepted.any():
        right = max(0.0, to_bare + float(best[accepted].min()))
        wrong = min(wrong, to_bare)
        k = int(np.flatnonzero(accepted)[best[accepted].argmin()])
        h = int(nearest[:, k].argmin())
        looks, distances, foot, placed = found[h]
        right_picture, covered = _drawn(looks, k, int(distances[k].argmin()), foot, placed[1])
        picture, source, bare = placed[0], placed[2], placed[1]
    look = LOOKS[int(best.argmin())] if best.min() < 0 else BARE
    signal = float(((source - right_picture)[zone] ** 2).sum())
    old = zone & truth.footprints[answer.thing]
    seen = Seen(
        look=look,
        right=right,
        wrong=wrong,
        bare=to_bare,
        untouched=untouched,
        signal=signal,
        ghost=_component(picture, right_picture, source, old),
        leftover=_component(picture, bare, source, old & ~binary_dilation(covered)),
    )
    return seen, covered


def _component(picture: Floats, start: Floats, end: Floats, where: Mask) -> float:
    """How far a picture has gone from start to end, at some pixels; 0 where these hardly differ."""
    way, gone = (end - start)[where], (picture - start)[where]
    length = float((way**2).sum())
    return float((way * gone).sum()) / length if length > 1 else 0.0


def _drawn(looks: DrawnLooks, k: int, shift: int, foot: tuple[int, int], bare: Floats) -> tuple[Floats, Mask]:
    """The bare place with a candidate on it, and where that changes the picture."""
    down, right = divmod(shift, 2 * REACH + 1)
    height, width = looks.passed.shape[1:]
    top, left = foot[0] + down - REACH - looks.up, foot[1] + right - REACH - looks.left
    passed, own = np.ones((3 * SIDE, 3 * SIDE), np.float32), np.zeros((3 * SIDE, 3 * SIDE, 3), np.float32)
    rows, columns = slice(SIDE + top, SIDE + top + height), slice(SIDE + left, SIDE + left + width)
    passed[rows, columns], own[rows, columns] = looks.passed[k], looks.own[k]
    middle = np.s_[SIDE : 2 * SIDE, SIDE : 2 * SIDE]
    picture = bare * passed[middle][:, :, None] + own[middle]
    return np.asarray(picture, np.float32), np.asarray(passed[middle] < 0.97)


def _see_kept(
    index: int,
    answer: Answer,
    truth: Truth,
    picture: Floats,
    source: Floats,
    empty: Floats,
    zone: Mask,
    sigma: float,
) -> Kept:
    thing = answer.before.things[index]
    bare = _without(source, empty, truth, index, sigma)
    # What the edit may change is taken as unchanged, so that a neighbour is judged by its own pixels.
    judged = np.where((zone & ~truth.footprints[index])[:, :, None], source, picture)
    near = _surroundings(thing) & ~_others(truth, index)
    judged = np.where(near[:, :, None], judged, bare)
    height = round(thing.size * SIDE)
    found = _distances(thing, (height,), truth.side, sigma, (judged, bare), 1)
    best = np.min([d.min(axis=1) for _, d, _, _ in found], axis=0)
    own_look = Look(kind=thing.kind, color=thing.color, flip=thing.flip)
    own = LOOKS.index(own_look)
    footprint = truth.footprints[index]
    to_bare = float(((judged - bare) ** 2).sum())
    change, energy = (float(((a - source)[footprint] ** 2).sum()) for a in (judged, bare))
    others = np.delete(best, own)
    nearest = int(best.argmin())
    return Kept(
        index=index,
        look=LOOKS[nearest] if best[nearest] < 0 else BARE,
        own=max(0.0, min(change, to_bare + float(best[own]))),
        other=max(0.0, to_bare + min(0.0, float(others.min()))),
        change=change / max(energy, 1e-6),
        energy=energy,
    )


def _background(picture: Floats, source: Floats, ground: Mask) -> tuple[float, float]:
    squared = ((picture - source) ** 2).mean(axis=2) * ground
    weight = gaussian_filter(ground.astype(np.float32), 1.5, mode="constant")
    local = gaussian_filter(squared, 1.5, mode="constant") / np.maximum(weight, 0.25)
    mean = squared.sum() / max(int(ground.sum()), 1)
    return 255 * float(np.sqrt(mean)), 255 * float(np.sqrt(local.max()))
