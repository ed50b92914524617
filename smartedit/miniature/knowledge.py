"""What the miniature world knows: clues that single out a kind, and which combinations only the benchmark may use."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

from smartedit.miniature.kinds import KINDS

GROUPS: dict[str, frozenset[str]] = {
    "animal": frozenset({"cat", "dog", "bird", "sheep", "elephant"}),
    "fruit": frozenset({"apple", "orange", "banana"}),
    "vehicle": frozenset({"car", "boat"}),
}
"""Wider words that an instruction may use in the place of a kind."""

DOUBTFUL: dict[str, frozenset[str]] = {
    "animal": frozenset({"teddy bear"}),
    "fruit": frozenset({"carrot"}),
    "vehicle": frozenset(),
}
"""Kinds that somebody might count into a group; a picture that holds one never uses the word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clue:
    """A description that needs knowledge of the world.

    Attributes:
        kind: The only kind that it is meant for.
        text: What follows `the`, for example `object that can tell the time`.
        held_out: Whether it is kept for the benchmark: it may occur in questions, answers and captions, and never in
            an editing, segmentation or synthetic row.
        also: Other kinds, walls or grounds that somebody might mean by it; a picture with one of them never uses it.
    """

    kind: str
    text: str
    held_out: bool
    also: frozenset[str]

    @property
    def noun(self) -> str:
        """The noun that can stand for the thing in a second sentence, for example `tool`."""
        words = self.text.split()
        return next((w for w in words if w in NOUNS), "object")

    def singles_out(self, kinds: set[str], surfaces: set[str]) -> bool:
        """Whether the clue means exactly one of the kinds and nothing of the backdrop."""
        return self.kind in kinds and not self.also & (kinds | surfaces)


NOUNS = frozenset(
    {"object", "tool", "toy", "animal", "fruit", "food", "dessert", "vehicle", "vegetable", "snack", "pastry"}
)


@cache
def clues() -> tuple[Clue, ...]:
    """All clues, in the order of `clues.csv`."""
    text = resources.files("smartedit.miniature").joinpath("clues.csv").read_text(encoding="utf-8")
    return tuple(
        Clue(
            kind=row["kind"],
            text=row["clue"],
            held_out=row["held_out"] == "yes",
            also=frozenset(row["also"].split("|")) - {""},
        )
        for row in csv.DictReader(text.splitlines())
    )


def is_held_out(kind: str, replacement: str | None) -> bool:
    """Whether an edit of `kind` into `replacement` (None: removing it) is kept for the benchmark.

    A quarter of all combinations, the same number for every kind: those whose places in the table of kinds add up to a
    multiple of four, removal counting as one more kind. The benchmark's understanding samples use only these; its
    reasoning samples use only the others, so that nothing but the clue is new in them.
    """
    order = list(KINDS)
    second = len(order) if replacement is None else order.index(replacement)
    return (order.index(kind) + second) % 4 == 0
