"""All the ways to point at a thing: short, without location, in full sentences, and by what one knows about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smartedit.miniature.captions import GROUND_WORDS, surroundings
from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.knowledge import GROUPS, clues
from smartedit.miniature.referring import ORDINALS, Reference
from smartedit.miniature.scenes import Scene

PLACES = ("left", "right", "middle", *(f"{o} from the {side}" for side in ("left", "right") for o in ORDINALS[:4]))
SIZES = ("bigger", "smaller", "biggest", "smallest")


@dataclass(frozen=True, kw_only=True, slots=True)
class Expressions:
    """Phrases for one thing, by style.

    Attributes:
        short: As people call things in a game (RefCOCO): by any attribute.
        no_location: Without words for where it is (RefCOCO+).
        full: Long noun phrases (RefCOCOg).
        knowing: By a clue that is not held out.
    """

    short: tuple[str, ...]
    no_location: tuple[str, ...]
    full: tuple[str, ...]
    knowing: tuple[str, ...]


def references(scene: Scene, index: int) -> list[Reference]:
    """Every phrase of our grammar, without clues, that means this thing and no other."""
    thing = scene.things[index]
    kind = KINDS[thing.kind]
    nouns = [thing.kind, *(group for group, members in GROUPS.items() if thing.kind in members)]
    colors = [None, thing.color] if kind.colorful else [None]
    mirrors = [None] if scene.mirror is None else [None, "in" if thing.in_mirror else "outside"]
    places = [None] if scene.mirror is not None else [None, *PLACES]
    found = [
        Reference(noun=noun, color=color, place=place, size=size, mirror=mirror)
        for noun in nouns
        for color in colors
        for mirror in mirrors
        for place, size in [*((place, None) for place in places), *((None, size) for size in SIZES if mirror is None)]
    ]
    return [reference for reference in found if reference.resolve(scene) == [index]]


def clue_references(scene: Scene, index: int, held_out: bool) -> list[Reference]:
    """The clues, held out or not, that mean this thing and no other."""
    own = [clue for clue in clues() if clue.kind == scene.things[index].kind and clue.held_out == held_out]
    return [reference for clue in own if (reference := Reference(clue=clue)).resolve(scene) == [index]]


def expressions(scene: Scene, index: int, rng: np.random.Generator) -> Expressions:
    """Phrases for one thing; a style that has none is empty.

    Args:
        scene: The scene.
        index: Which of its things.
        rng: Chooses among wordings.
    """
    plain = references(scene, index)
    located = [r for r in plain if r.place or r.mirror]
    others = [r for r in plain if not r.place and not r.mirror]
    return Expressions(
        short=_unique([_in_short(r, rng) for r in [*_some(located, 2, rng), *_some(others, 2, rng)]]),
        no_location=_unique([r.text.removeprefix("the ") for r in _some(others, 3, rng)]),
        full=_unique([_in_full(scene, index, r) for r in _some(plain, 2, rng)]),
        knowing=tuple(r.text for r in clue_references(scene, index, held_out=False)),
    )


def _some(found: Sequence[Reference], most: int, rng: np.random.Generator) -> list[Reference]:
    return [found[k] for k in rng.permutation(len(found))[:most]]


def _unique(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _in_short(reference: Reference, rng: np.random.Generator) -> str:
    """The phrase without its article, a place sometimes behind the noun."""
    noun = f"{reference.color} {reference.noun}" if reference.color else reference.noun
    if reference.place in ("left", "right") and rng.random() < 0.5:
        return f"{noun} on the {reference.place}"
    if reference.place == "middle" and rng.random() < 0.5:
        return f"{noun} in the middle"
    return reference.text.removeprefix("the ")


def _in_full(scene: Scene, index: int, reference: Reference) -> str:
    """The phrase with what it stands on and in front of."""
    thing = scene.things[index]
    if thing.in_mirror:
        return f"the reflection of {with_article(thing.kind)} in the mirror, {reference.text}"
    shows_color = KINDS[thing.kind].colorful and not reference.color
    stem = f"{reference.text}, which is {thing.color}," if shows_color else reference.text
    return f"{stem} standing on {GROUND_WORDS[scene.backdrop.ground]} {surroundings(scene)}"
