"""The scenes that the training corpora are drawn from; none of them is a scene of the benchmark."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reason_edit.schema import PAPER_CATEGORIES, Category
from smartedit.miniature.cases import SCENES
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.layout import NoRoom, Wish, arrange, arrange_with_mirror, pick_color, random_backdrop
from smartedit.miniature.scenes import Scene
from smartedit.seeding import numpy_generator

Drawn = TypeVar("Drawn")

SPACE = "corpora"
"""First key of every seed of the training corpora; the benchmark's begin with `reason-edit`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stock:
    """What decides the content of the corpora.

    Attributes:
        seed: Another seed gives other scenes.
        count: Scenes of the COCO pictures; the other sets are sized by it.
        size: Pixels of a picture's side.
        synthetic: Pairs of the synthetic set.
    """

    seed: int = 0
    count: int = 1000
    size: int = 128
    synthetic: int = 476

    def rng(self, *keys: str | int) -> np.random.Generator:
        """The generator of one draw."""
        return numpy_generator(SPACE, self.seed, *keys)

    def scene(self, *keys: str | int) -> Scene:
        """The scene of some keys: of any category's make, or a loose group of things."""
        return until_it_works(lambda attempt: _any_scene(self.rng("scene", *keys, attempt)))


def until_it_works(draw: Callable[[int], Drawn]) -> Drawn:
    """The first draw, by number of the attempt, that works out."""
    for attempt in range(1000):
        try:
            return draw(attempt)
        except NoRoom:
            continue
    raise AssertionError("1000 draws did not work out")


def _any_scene(rng: np.random.Generator) -> Scene:
    categories = [c for c in PAPER_CATEGORIES if c is not Category.REASONING]
    choice = int(rng.integers(len(categories) + 3))
    if choice >= len(categories):
        return loose_scene(rng, with_mirror=choice == len(categories) and rng.random() < 0.3)
    category = categories[choice]
    kinds = [k for k, kind in KINDS.items() if category is not Category.COLOR or len(kind.colors) > 1]
    return SCENES[category](str(rng.choice(kinds)), rng)[0]


def loose_scene(rng: np.random.Generator, with_mirror: bool = False) -> Scene:
    """Two to five things of different kinds, or one or two before a mirror."""
    count = int(rng.integers(1, 3)) if with_mirror else int(rng.integers(2, 6))
    low, high = (0.28, 0.36) if with_mirror else (0.46 - 0.05 * count, 0.52 - 0.055 * count)
    wishes = [
        Wish(kind=str(kind), color=pick_color(str(kind), rng), size=round(float(rng.uniform(low, high)), 4))
        for kind in rng.choice(list(KINDS), size=count, replace=False)
    ]
    if with_mirror:
        return arrange_with_mirror(wishes, random_backdrop(rng, ("room", "kitchen")), rng)
    return arrange(wishes, random_backdrop(rng), rng)
