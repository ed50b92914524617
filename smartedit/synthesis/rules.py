"""Which of several things is meant: one rule a relation, and a stated reason wherever a rule cannot decide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from smartedit.config.synthesis import RulesConfig
from smartedit.synthesis.colors import COLOR_NAMES, MeasuredColor
from smartedit.synthesis.records import Rule
from smartedit.tools.annotations import intersection_over_union
from smartedit.tools.protocols import Box, Detection


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The thing that is meant, and the words for it.

    Attributes:
        index: Which of the things.
        attribute: The word that singles it out; empty when its kind does.
        before: Whether the word stands before the noun ("left apple") or behind ("apple in the mirror").
    """

    index: int
    attribute: str
    before: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why nothing is singled out."""

    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What a rule decides by.

    Attributes:
        things: All things of the kind.
        mirrors: Boxes of mirrors.
        colors: The measured colors of the things, for the color rule.
        width: Of the picture.
        height: Of the picture.
        variant: Which of several possible choices to take.
    """

    things: Sequence[Detection]
    mirrors: Sequence[Box]
    colors: Sequence[MeasuredColor]
    width: int
    height: int
    variant: int


def single_out(rule: Rule, scene: Scene, config: RulesConfig) -> Choice | Refusal:
    """Decide which thing a rule means.

    Args:
        rule: The relation.
        scene: What was found.
        config: How clear a relation must be.

    Returns:
        The choice, or the reason why there is none: "none", "only one", "too many", "ambiguous", "mirrored" or
        "color unclear".
    """
    n = len(scene.things)
    if n == 0:
        return Refusal(reason="none", detail="nothing of the kind was found")
    if rule in (Rule.KIND, Rule.CLUE):
        if n > 1:
            return Refusal(reason="ambiguous", detail=f"{n} of the kind")
        return Choice(index=0, attribute="")
    if rule in (Rule.IN_MIRROR, Rule.OUTSIDE_MIRROR):
        return _by_mirror(rule, scene, config)
    if n == 1:
        return Refusal(reason="only one", detail="a relation needs at least two")
    if n > config.max_of:
        return Refusal(reason="too many", detail=f"{n} of the kind")
    if any(covered(thing.box, mirror) > 0.05 for thing in scene.things for mirror in scene.mirrors):
        return Refusal(reason="mirrored", detail="a thing of the kind shows in a mirror")
    return _RELATIONS[rule](rule, scene, config)


def _by_position(rule: Rule, scene: Scene, config: RulesConfig) -> Choice | Refusal:
    centers = [(t.box[0] + t.box[2]) / 2 / scene.width for t in scene.things]
    order = sorted(range(len(centers)), key=centers.__getitem__)
    gaps = [centers[b] - centers[a] for a, b in pairwise(order)]
    n = len(order)
    needed = {Rule.LEFT: gaps[:1], Rule.RIGHT: gaps[-1:], Rule.MIDDLE: gaps}[rule]
    if min(needed) < config.position_gap:
        return Refusal(reason="ambiguous", detail=f"centres only {min(needed):.3f} of the width apart")
    if rule is Rule.MIDDLE:
        if n != 3:
            return Refusal(reason="ambiguous", detail=f"no single middle one among {n}")
        off = abs(centers[order[1]] - (centers[order[0]] + centers[order[2]]) / 2) / (gaps[0] + gaps[1])
        if off > config.middle_range:
            return Refusal(reason="ambiguous", detail=f"the middle one is {off:.2f} off the centre")
        return Choice(index=order[1], attribute="middle")
    side = "left" if rule is Rule.LEFT else "right"
    return Choice(index=order[0 if rule is Rule.LEFT else -1], attribute=side if n <= 3 else f"{side}most")


def _by_size(rule: Rule, scene: Scene, config: RulesConfig) -> Choice | Refusal:
    areas = [box_area(t.box) for t in scene.things]
    order = sorted(range(len(areas)), key=areas.__getitem__, reverse=rule is Rule.BIGGER)
    first, second = sorted((areas[order[0]], areas[order[1]]))
    if second < config.size_ratio * first:
        return Refusal(reason="ambiguous", detail=f"areas differ only by a factor of {second / max(first, 1e-9):.2f}")
    words = {Rule.BIGGER: ("bigger", "biggest"), Rule.SMALLER: ("smaller", "smallest")}[rule]
    return Choice(index=order[0], attribute=words[len(order) > 2])


def _by_color(rule: Rule, scene: Scene, config: RulesConfig) -> Choice | Refusal:
    unique = []
    for i, color in enumerate(scene.colors):
        if color.share < config.color_share:
            continue
        at = COLOR_NAMES.index(color.name)
        if all(other.shares[at] < 0.25 for j, other in enumerate(scene.colors) if j != i):
            unique.append(i)
    if not unique:
        found = ", ".join(f"{c.name} {c.share:.2f}" for c in scene.colors)
        return Refusal(reason="color unclear", detail=found)
    if scene.variant >= len(unique):
        return Refusal(reason="no further color", detail=f"only {len(unique)} things have a color of their own")
    index = unique[scene.variant]
    return Choice(index=index, attribute=scene.colors[index].name)


def _by_mirror(rule: Rule, scene: Scene, config: RulesConfig) -> Choice | Refusal:
    if len(scene.mirrors) != 1:
        return Refusal(reason="no mirror" if not scene.mirrors else "ambiguous", detail=f"{len(scene.mirrors)} mirrors")
    shares = [covered(thing.box, scene.mirrors[0]) for thing in scene.things]
    inside = [i for i, share in enumerate(shares) if share >= config.mirror_inside]
    outside = [i for i, share in enumerate(shares) if share <= 0.05]
    if len(inside) + len(outside) < len(shares):
        return Refusal(reason="ambiguous", detail="a thing lies partly in the mirror")
    wanted, other = (inside, outside) if rule is Rule.IN_MIRROR else (outside, inside)
    if len(wanted) != 1 or not other:
        return Refusal(reason="ambiguous", detail=f"{len(inside)} in the mirror, {len(outside)} outside")
    where = "in the mirror" if rule is Rule.IN_MIRROR else "outside the mirror"
    return Choice(index=wanted[0], attribute=where, before=False)


_RELATIONS: dict[Rule, Callable[[Rule, Scene, RulesConfig], Choice | Refusal]] = {
    Rule.LEFT: _by_position,
    Rule.MIDDLE: _by_position,
    Rule.RIGHT: _by_position,
    Rule.BIGGER: _by_size,
    Rule.SMALLER: _by_size,
    Rule.COLOR: _by_color,
}


def check_box(box: Box, others: Sequence[Box], *, width: int, height: int, config: RulesConfig) -> Refusal | None:
    """Whether a chosen thing can be edited well: not too small or large, not at the edge, not under another thing.

    Args:
        box: The chosen thing.
        others: Everything else that was found, without mirrors.
        width: Of the picture.
        height: Of the picture.
        config: The limits.

    Returns:
        The reason against it, or None.
    """
    share = box_area(box) / (width * height)
    if share < config.min_area:
        return Refusal(reason="too small", detail=f"{share:.4f} of the picture")
    if share > config.max_area:
        return Refusal(reason="too large", detail=f"{share:.4f} of the picture")
    margin_x, margin_y = config.border * width, config.border * height
    if box[0] < margin_x or box[1] < margin_y or box[2] > width - margin_x or box[3] > height - margin_y:
        return Refusal(reason="at the border", detail="the thing may go on outside the picture")
    for other in others:
        # What holds the thing (a couch, a table) is its ground, not a neighbour.
        if covered(box, other) > 0.9 and box_area(other) > 3 * box_area(box):
            continue
        if covered(box, other) > config.max_overlap:
            return Refusal(
                reason="overlapping", detail=f"{covered(box, other):.2f} of it lies under another thing's box"
            )
    return None


def without_doubles(detections: Sequence[Detection], config: RulesConfig) -> list[Detection]:
    """Detections that are sure enough, each thing once, best first."""
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        if detection.score < config.min_score:
            continue
        if all(intersection_over_union(detection.box, k.box) < config.same_box for k in kept):
            kept.append(detection)
    return kept


def box_area(box: Box) -> float:
    """Area in square pixels."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def covered(box: Box, other: Box) -> float:
    """The share of `box` that lies in `other`, in [0, 1]."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(0.0, width) * max(0.0, height) / max(box_area(box), 1e-9)
