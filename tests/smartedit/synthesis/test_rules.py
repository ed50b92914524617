"""Rules decide by what is there, and refuse with the reason where they cannot."""

import pytest

from smartedit.config.synthesis import RulesConfig
from smartedit.synthesis.colors import COLOR_NAMES, MeasuredColor
from smartedit.synthesis.records import Rule
from smartedit.synthesis.rules import Choice, Refusal, Scene, check_box, single_out, without_doubles
from smartedit.tools.protocols import Box, Detection

CONFIG = RulesConfig()


def thing(x: float, y: float = 40, side: float = 20, score: float = 0.9) -> Detection:
    return Detection(box=(x, y, x + side, y + side), score=score, phrase="apple")


def scene(*things: Detection, mirrors: tuple[Box, ...] = (), colors: tuple[str, ...] = (), variant: int = 0) -> Scene:
    measured = [MeasuredColor(name=c, share=1.0, shares=tuple(float(n == c) for n in COLOR_NAMES)) for c in colors]
    return Scene(things=things, mirrors=mirrors, colors=measured, width=200, height=100, variant=variant)


def chosen(rule: Rule, given: Scene) -> tuple[int, str]:
    result = single_out(rule, given, CONFIG)
    assert isinstance(result, Choice), result
    return result.index, result.attribute


def refused(rule: Rule, given: Scene) -> str:
    result = single_out(rule, given, CONFIG)
    assert isinstance(result, Refusal), result
    return result.reason


def test_left_middle_and_right() -> None:
    two, three = scene(thing(120), thing(20)), scene(thing(90), thing(170), thing(10))
    assert chosen(Rule.LEFT, two) == (1, "left")
    assert chosen(Rule.RIGHT, two) == (0, "right")
    assert chosen(Rule.MIDDLE, three) == (0, "middle")
    four = scene(thing(10), thing(60), thing(110), thing(170))
    assert chosen(Rule.LEFT, four) == (0, "leftmost")
    assert refused(Rule.MIDDLE, four) == "ambiguous"
    assert refused(Rule.MIDDLE, scene(thing(10), thing(30), thing(170))) == "ambiguous"
    assert refused(Rule.LEFT, scene(thing(20), thing(30, y=70))) == "ambiguous"


def test_bigger_and_smaller() -> None:
    assert chosen(Rule.BIGGER, scene(thing(10), thing(100, side=40))) == (1, "bigger")
    assert chosen(Rule.SMALLER, scene(thing(10), thing(100, side=40))) == (0, "smaller")
    assert chosen(Rule.BIGGER, scene(thing(10), thing(60), thing(100, side=40))) == (2, "biggest")
    assert refused(Rule.BIGGER, scene(thing(10), thing(100, side=23))) == "ambiguous"
    assert refused(Rule.SMALLER, scene(thing(10), thing(60), thing(100, side=40))) == "ambiguous"


def test_color_must_be_its_own() -> None:
    given = scene(thing(10), thing(60), thing(110), colors=("red", "green", "red"))
    assert chosen(Rule.COLOR, given) == (1, "green")
    assert refused(Rule.COLOR, scene(thing(10), thing(60), colors=("red", "red"))) == "color unclear"
    second = scene(thing(10), thing(60), colors=("red", "green"), variant=1)
    assert chosen(Rule.COLOR, second) == (1, "green")
    third = scene(thing(10), thing(60), colors=("red", "green"), variant=2)
    assert refused(Rule.COLOR, third) == "no further color"


def test_mirror_tells_reflection_from_thing() -> None:
    mirror = (100.0, 0.0, 200.0, 100.0)
    pair = scene(thing(20), thing(140), mirrors=(mirror,))
    assert chosen(Rule.IN_MIRROR, pair) == (1, "in the mirror")
    assert chosen(Rule.OUTSIDE_MIRROR, pair) == (0, "outside the mirror")
    assert refused(Rule.IN_MIRROR, scene(thing(20), thing(140))) == "no mirror"
    assert refused(Rule.IN_MIRROR, scene(thing(20), thing(90), mirrors=(mirror,))) == "ambiguous"
    assert refused(Rule.IN_MIRROR, scene(thing(20), thing(110), thing(150), mirrors=(mirror,))) == "ambiguous"
    assert refused(Rule.LEFT, pair) == "mirrored"


def test_counts_that_leave_nothing_to_choose() -> None:
    assert refused(Rule.LEFT, scene()) == "none"
    assert refused(Rule.LEFT, scene(thing(10))) == "only one"
    assert refused(Rule.LEFT, scene(*(thing(30 * i) for i in range(6)))) == "too many"
    assert refused(Rule.CLUE, scene(thing(10), thing(60))) == "ambiguous"
    assert chosen(Rule.KIND, scene(thing(10))) == (0, "")


@pytest.mark.parametrize(
    ("box", "others", "reason"),
    [
        ((50, 50, 55, 55), (), "too small"),
        ((2, 2, 190, 95), (), "too large"),
        ((0, 40, 30, 70), (), "at the border"),
        ((50, 40, 90, 80), ((80, 40, 120, 80),), "overlapping"),
    ],
)
def test_boxes_that_cannot_be_edited_well(box: Box, others: tuple[Box, ...], reason: str) -> None:
    refusal = check_box(box, others, width=200, height=100, config=CONFIG)
    assert refusal is not None
    assert refusal.reason == reason


def test_what_a_thing_stands_on_is_no_neighbour() -> None:
    couch = (10.0, 10.0, 190.0, 95.0)
    assert check_box((50, 40, 80, 70), [couch], width=200, height=100, config=CONFIG) is None


def test_a_thing_found_twice_counts_once() -> None:
    kept = without_doubles([thing(10, score=0.5), thing(11, score=0.8), thing(90, score=0.7)], CONFIG)
    assert [d.score for d in kept] == [0.8, 0.7]
    strict = RulesConfig(min_score=0.75)
    assert [d.score for d in without_doubles(kept, strict)] == [0.8]
