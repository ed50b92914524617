"""The 24 kinds of things and the 10 colors that the miniature world is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from smartedit.miniature import belongings, creatures, foods
from smartedit.miniature.pen import Color, Pen

COLORS: dict[str, Color] = {
    "red": (214, 48, 49),
    "orange": (243, 146, 44),
    "yellow": (250, 212, 62),
    "green": (72, 170, 76),
    "blue": (48, 118, 214),
    "pink": (243, 132, 178),
    "brown": (142, 92, 56),
    "black": (58, 58, 66),
    "white": (246, 244, 238),
    "gray": (150, 156, 166),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of thing.

    Attributes:
        name: What it is called in instructions.
        group: The wider word for it: animal, fruit, food, toy, vehicle, tool or object.
        draw: Draws it into its unit frame.
        colors: The colors it comes in, the natural one first.
        width: Width of its unit frame that it fills; its height is 1.
        colorful: Whether its color is plain to see, so that an instruction may name it.
        coco: Its name among the 80 COCO categories.
        coco_id: Its id there.
        plural: Several of them.
    """

    name: str
    group: str
    draw: Callable[[Pen, Color], None]
    colors: tuple[str, ...]
    width: float
    colorful: bool
    coco: str
    coco_id: int
    plural: str


def _kind(
    name: str,
    group: str,
    draw: Callable[[Pen, Color], None],
    colors: str,
    width: float,
    coco_id: int,
    **more: str | bool,
) -> Kind:
    return Kind(
        name=name,
        group=group,
        draw=draw,
        colors=tuple(colors.split()),
        width=width,
        colorful=bool(more.get("colorful", True)),
        coco=str(more.get("coco", name)),
        coco_id=coco_id,
        plural=str(more.get("plural", f"{name}s")),
    )


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("apple", "fruit", foods.apple, "red green yellow", 0.9, 53),
        _kind("orange", "fruit", foods.orange, "orange", 1.0, 55, colorful=False),
        _kind("banana", "fruit", foods.banana, "yellow green", 1.0, 52),
        _kind("carrot", "food", foods.carrot, "orange", 1.0, 57, colorful=False),
        _kind("cake", "food", foods.cake, "pink white brown", 1.0, 61),
        _kind("donut", "food", foods.donut, "pink brown blue white", 0.95, 60),
        _kind("cup", "object", belongings.cup, "blue red green yellow white pink", 0.9, 47),
        _kind("bottle", "object", belongings.bottle, "green brown blue red", 0.5, 44),
        _kind("knife", "tool", belongings.knife, "black red brown", 1.0, 49, colorful=False, plural="knives"),
        _kind("fork", "tool", belongings.fork, "brown black blue", 0.48, 48, colorful=False),
        _kind("scissors", "tool", belongings.scissors, "red blue green", 0.75, 87, plural="scissors"),
        _kind("clock", "object", belongings.clock, "red blue green brown", 0.9, 85),
        _kind("book", "object", belongings.book, "blue red green brown", 0.85, 84),
        _kind(
            "plant", "object", belongings.plant, "brown blue white red", 0.95, 64, colorful=False, coco="potted plant"
        ),
        _kind("umbrella", "object", belongings.umbrella, "red blue yellow green pink", 1.0, 28),
        _kind("ball", "toy", belongings.ball, "red blue green orange pink", 0.95, 37, coco="sports ball"),
        _kind("car", "vehicle", belongings.car, "red blue yellow green gray white", 1.0, 3),
        _kind("boat", "vehicle", belongings.boat, "blue red brown green", 1.0, 9),
        _kind("cat", "animal", creatures.cat, "orange black white gray", 0.85, 17),
        _kind("dog", "animal", creatures.dog, "brown white black gray", 1.0, 18),
        _kind("bird", "animal", creatures.bird, "blue red yellow green", 1.0, 16),
        _kind("sheep", "animal", creatures.sheep, "white black pink", 0.95, 20, plural="sheep"),
        _kind("elephant", "animal", creatures.elephant, "gray blue pink", 1.0, 22),
        _kind("teddy bear", "toy", creatures.teddy_bear, "brown white pink", 0.8, 88),
    )
}


def with_article(phrase: str) -> str:
    """The phrase behind `a` or `an`; scissors are `a pair of`.

    Args:
        phrase: A noun with or without adjectives, for example `orange cat`.
    """
    if phrase.endswith("scissors"):
        return f"a pair of {phrase}"
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"
