"""One editing case: a scene, one thing that a phrase points at, and what becomes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from reason_edit.schema import Category
from smartedit.miniature.backdrops import PLACES
from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.knowledge import GROUPS, Clue, is_held_out
from smartedit.miniature.layout import (
    NoRoom,
    Wish,
    arrange,
    arrange_with_mirror,
    pick_color,
    random_backdrop,
    stands_free,
)
from smartedit.miniature.referring import ORDINALS, Reference
from smartedit.miniature.scenes import Scene, removed, replaced


class Use(Enum):
    """Whom a case is for; held-out combinations go to the benchmark and to nobody else."""

    BENCHMARK = "benchmark"
    TRAINING = "training"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """An edit whose outcome is known.

    Attributes:
        category: The kind of understanding that it needs.
        scene: Before.
        after: After.
        index: The thing of `scene` that changes.
        reference: The phrase for it.
        new_kind: What it becomes, or None where it is removed.
        new_color: The color that it then has.
        color_named: Whether the instruction asks for that color.
    """

    category: Category
    scene: Scene
    after: Scene
    index: int
    reference: Reference
    new_kind: str | None
    new_color: str | None
    color_named: bool

    @property
    def target_words(self) -> str | None:
        """What the thing becomes, in words, for example `a white dog`."""
        if self.new_kind is None:
            return None
        return with_article(f"{self.new_color} {self.new_kind}" if self.color_named else self.new_kind)


Found = tuple[Scene, Reference]


def make_case(
    category: Category, kind: str, removes: bool, use: Use, rng: np.random.Generator, clue: Clue | None = None
) -> Case:
    """Draw one case.

    Args:
        category: The category.
        kind: What is edited.
        removes: Whether it is removed; else it is replaced.
        use: Decides which combinations may occur.
        rng: All random draws.
        clue: The clue of a reasoning case.

    Raises:
        NoRoom: This draw did not work out (no room, or the phrase is not clear); draw again.
    """
    scene, reference = _reasoning(kind, clue, rng) if clue is not None else SCENES[category](kind, rng)
    meant = reference.resolve(scene)
    if len(meant) != 1:
        raise NoRoom(f"{reference.text!r} means {len(meant)} things")
    index = meant[0]
    new_kind = None if removes else _replacement(scene, index, category, use, rng)
    if new_kind is None:
        return Case(
            category=category,
            scene=scene,
            after=removed(scene, index),
            index=index,
            reference=reference,
            new_kind=None,
            new_color=None,
            color_named=False,
        )
    named = KINDS[new_kind].colorful and rng.random() < 0.3
    new_color = str(rng.choice(KINDS[new_kind].colors)) if named else KINDS[new_kind].colors[0]
    return Case(
        category=category,
        scene=scene,
        after=replaced(scene, index, new_kind, new_color),
        index=index,
        reference=reference,
        new_kind=new_kind,
        new_color=new_color,
        color_named=named,
    )


def wanted_held_out(category: Category, use: Use) -> bool:
    """Whether a case of this category and use takes its (kind, replacement) from the held-out combinations."""
    return use is Use.BENCHMARK and category is not Category.REASONING


def _replacement(scene: Scene, index: int, category: Category, use: Use, rng: np.random.Generator) -> str:
    """Another kind that is not in the picture, of the combinations that the use allows."""
    kind, present = scene.things[index].kind, {thing.kind for thing in scene.things}
    held_out = wanted_held_out(category, use)
    choices = [
        new
        for new in KINDS
        if new not in present
        and is_held_out(kind, new) == held_out
        and stands_free(replaced(scene, index, new, KINDS[new].colors[0]), index)
    ]
    if not choices:
        raise NoRoom(f"nothing fits into the place of the {kind}")
    return str(rng.choice(choices))


def _others(rng: np.random.Generator, kind: str, noun: str, count: int) -> list[str]:
    """Kinds that nobody can mix up with the noun."""
    not_allowed = {kind} | GROUPS.get(noun, frozenset())
    choices = [name for name in KINDS if name not in not_allowed]
    return [str(name) for name in rng.choice(choices, size=count, replace=False)]


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 4)


def _distractors(rng: np.random.Generator, kind: str, noun: str, most: int) -> list[Wish]:
    count = int(rng.integers(1, most + 1))
    return [
        Wish(kind=k, color=pick_color(k, rng), size=_uniform(rng, 0.22, 0.28)) for k in _others(rng, kind, noun, count)
    ]


def _row(kind: str, colors: list[str], sizes: list[float], rng: np.random.Generator) -> list[Wish]:
    """Things beside each other, from left to right."""
    count, base = len(colors), _uniform(rng, 0.62, 0.95)
    pitch = 1 / count
    return [
        Wish(
            kind=kind,
            color=color,
            size=size,
            x=(k + 0.5) * pitch + _uniform(rng, -0.03, 0.03),
            y=base + _uniform(rng, -0.05, 0.02),
        )
        for k, (color, size) in enumerate(zip(colors, sizes, strict=True))
    ]


def _left_right(kind: str, rng: np.random.Generator) -> Found:
    noun = kind
    group = next((g for g, members in GROUPS.items() if kind in members), None)
    count = 3 if rng.random() < 0.4 else 2
    size = _uniform(rng, 0.25, 0.29) if count == 3 else _uniform(rng, 0.32, 0.4)
    color = pick_color(kind, rng)
    row = _row(kind, [color] * count, [size] * count, rng)
    places = ["left", "right"] if count == 2 else ["left", "middle", "right"]
    chosen = int(rng.integers(count))
    if group == "animal" and rng.random() < 0.5:
        noun = group
        for k in range(count):
            other = kind if k == chosen else str(rng.choice(sorted(GROUPS[group])))
            row[k] = replace(row[k], kind=other, color=pick_color(other, rng))
    scene = arrange([*row, *_distractors(rng, kind, noun, 2)], random_backdrop(rng), rng)
    return scene, Reference(noun=noun, place=places[chosen])


def _relative_size(kind: str, rng: np.random.Generator) -> Found:
    small = _uniform(rng, 0.22, 0.27)
    sizes = [small * float(rng.uniform(1.6, 1.85)), small]
    color = pick_color(kind, rng)
    names = ["bigger", "smaller"]
    if rng.random() < 0.25:
        sizes.append(small * 1.08)
        names = ["biggest"]
    rng.shuffle(sizes)
    scene = arrange(
        [*(Wish(kind=kind, color=color, size=s) for s in sizes), *_distractors(rng, kind, kind, 1)],
        random_backdrop(rng),
        rng,
    )
    return scene, Reference(noun=kind, size=str(rng.choice(names)))


def _mirror(kind: str, rng: np.random.Generator) -> Found:
    group = next((g for g, members in GROUPS.items() if kind in members), None)
    noun = group if group == "animal" and rng.random() < 0.3 else kind
    wishes = [Wish(kind=kind, color=pick_color(kind, rng), size=_uniform(rng, 0.3, 0.4))]
    if rng.random() < 0.6:
        wishes += _distractors(rng, kind, noun, 1)
    scene = arrange_with_mirror(wishes, random_backdrop(rng, ("room", "kitchen")), rng)
    return scene, Reference(noun=noun, mirror="in" if rng.random() < 0.6 else "outside")


def _color(kind: str, rng: np.random.Generator) -> Found:
    available = list(KINDS[kind].colors)
    count = 3 if len(available) > 2 and rng.random() < 0.4 else 2
    colors = [str(c) for c in rng.choice(available, size=count, replace=False)]
    size = _uniform(rng, 0.25, 0.29) if count == 3 else _uniform(rng, 0.3, 0.36)
    wishes = [Wish(kind=kind, color=color, size=size) for color in colors]
    scene = arrange([*wishes, *_distractors(rng, kind, kind, 1)], random_backdrop(rng), rng)
    return scene, Reference(noun=kind, color=str(rng.choice(colors)))


def _multiple_objects(kind: str, rng: np.random.Generator) -> Found:
    """Many of a kind: by position in the row, or by two attributes at once."""
    available = KINDS[kind].colors
    if rng.random() < 0.5 or len(available) < 2 or not KINDS[kind].colorful:
        count = int(rng.integers(3, 5))
        size = 0.27 if count == 3 else 0.225
        row = _row(kind, [pick_color(kind, rng)] * count, [size] * count, rng)
        scene = arrange([*row, *_distractors(rng, kind, kind, 1)], random_backdrop(rng), rng)
        side = str(rng.choice(["left", "right"]))
        return scene, Reference(noun=kind, place=f"{ORDINALS[int(rng.integers(1, count))]} from the {side}")
    first, second = (str(c) for c in rng.choice(available, size=2, replace=False))
    small, big = _uniform(rng, 0.2, 0.22), _uniform(rng, 0.34, 0.37)
    sizes = [(first, small), (first, big), (second, small if rng.random() < 0.5 else big)]
    scene = arrange([Wish(kind=kind, color=c, size=s) for c, s in sizes], random_backdrop(rng), rng)
    return scene, Reference(noun=kind, color=first, size=str(rng.choice(["bigger", "smaller"])))


def _reasoning(kind: str, clue: Clue, rng: np.random.Generator) -> Found:
    """Things of different kinds, of which the clue means one; where there can be, another one is of its group."""
    choices = [str(name) for name in rng.permutation(list(KINDS)) if name != kind and name not in clue.also]
    rivals = [name for name in choices if KINDS[name].group == KINDS[kind].group][:1]
    others = list(dict.fromkeys(rivals + choices))[: int(rng.integers(2, 4))]
    sizes = (0.32, 0.4) if len(others) == 2 else (0.27, 0.34)
    wishes = [Wish(kind=k, color=pick_color(k, rng), size=_uniform(rng, *sizes)) for k in (kind, *others)]
    places = [p for p, surfaces in PLACES.items() if not clue.also & {s for part in surfaces for s in part}]
    return arrange(wishes, random_backdrop(rng, places), rng), Reference(clue=clue)


SCENES: Mapping[Category, Callable[[str, np.random.Generator], Found]] = {
    Category.LEFT_RIGHT: _left_right,
    Category.RELATIVE_SIZE: _relative_size,
    Category.MIRROR: _mirror,
    Category.COLOR: _color,
    Category.MULTIPLE_OBJECTS: _multiple_objects,
}
