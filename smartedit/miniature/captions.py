"""What a scene shows, in a sentence."""

from collections import Counter

import numpy as np

from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.scenes import Scene

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")

GROUND_WORDS: dict[str, str] = {
    "table": "a wooden table",
    "cloth": "a checkered tablecloth",
    "floor": "a wooden floor",
    "tile floor": "a tiled floor",
    "carpet": "a carpet",
    "grass": "the grass",
    "sand": "the sand",
    "snow": "the snow",
}

WALL_WORDS: dict[str, str] = {
    "plain": "in front of a plain wall",
    "striped": "in front of striped wallpaper",
    "dotted": "in front of dotted wallpaper",
    "brick": "in front of a brick wall",
    "tiles": "in front of a tiled wall",
    "planks": "in front of a wooden wall",
    "window": "by a window",
    "hills": "before green hills",
    "seaside": "by the sea",
    "mountains": "before snowy mountains",
    "fence": "by a wooden fence",
}


def surroundings(scene: Scene) -> str:
    """What is behind the things, for example `by the sea`."""
    return WALL_WORDS[scene.backdrop.wall]


def inventory(scene: Scene, colors: bool = True) -> str:
    """The things outside of a mirror, for example `two red apples and a cup`."""
    counts: Counter[tuple[str, str]] = Counter()
    for thing in scene.things:
        if not thing.in_mirror:
            counts[(thing.color if colors and KINDS[thing.kind].colorful else "", thing.kind)] += 1
    return joined([_amount(color, kind, count) for (color, kind), count in counts.items()])


def _amount(color: str, kind: str, count: int) -> str:
    words = f"{color} {kind}".strip()
    if count == 1:
        return with_article(words)
    pairs = "pairs of " if kind == "scissors" else ""
    return f"{NUMBERS[count]} {pairs}{color} {KINDS[kind].plural}".replace("  ", " ")


def joined(parts: list[str]) -> str:
    """The parts as a list in a sentence."""
    if not parts:
        return "nothing"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One sentence about the scene."""
    things = inventory(scene, colors=bool(rng.random() < 0.75))
    ground = GROUND_WORDS[scene.backdrop.ground]
    mirror = f"; a mirror shows {reflected(scene)}" if any(t.in_mirror for t in scene.things) else ""
    templates = (
        "{things} on {ground} {behind}{mirror}.",
        "A drawing of {things} on {ground} {behind}{mirror}.",
        "{things} {behind}, on {ground}{mirror}.",
    )
    text = templates[int(rng.integers(len(templates)))].format(
        things=things, ground=ground, behind=surroundings(scene), mirror=mirror
    )
    return text[0].upper() + text[1:]


def reflected(scene: Scene) -> str:
    """The things whose reflections can be seen, for example `the dog and the cup`."""
    return joined(list(dict.fromkeys(f"the {thing.kind}" for thing in scene.things if thing.in_mirror)))
