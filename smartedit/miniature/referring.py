"""Phrases that point at one thing of a scene, and the check that they point at no other."""

from dataclasses import dataclass
from itertools import pairwise

from smartedit.miniature.knowledge import DOUBTFUL, GROUPS, Clue
from smartedit.miniature.scenes import Scene

LEAST_GAP = 0.12
"""Two things whose middles are closer than this are not clearly left and right of each other."""

LEAST_RATIO = 1.4
"""Two things whose sizes are closer than this are not clearly bigger and smaller."""

ORDINALS = ("first", "second", "third", "fourth", "fifth")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """A phrase in parts.

    Attributes:
        noun: A kind or a group.
        color: A color that narrows it down.
        place: left, right, middle, or `<ordinal> from the left`.
        size: bigger, smaller (of two), biggest or smallest (of more).
        mirror: in or outside.
        clue: A clue, in the place of everything else.
    """

    noun: str = ""
    color: str | None = None
    place: str | None = None
    size: str | None = None
    mirror: str | None = None
    clue: Clue | None = None

    @property
    def text(self) -> str:
        """The phrase, for example `the smaller red apple`."""
        if self.clue is not None:
            return f"the {self.clue.text}"
        ordinal, _, side = (self.place or "").partition(" ")
        noun = f"{self.color} {self.noun}" if self.color else self.noun
        if self.noun == "scissors" and (self.size or self.place):
            noun = f"pair of {noun}"
        words = ["the", self.size or "", ordinal, noun, side]
        if self.mirror is not None:
            words.append(f"{self.mirror} the mirror")
        return " ".join(word for word in words if word)

    def resolve(self, scene: Scene) -> list[int]:
        """The things that the phrase can mean.

        Returns:
            Indices into `scene.things`: exactly one where the phrase is clear; none or several where it is not.
        """
        kinds = {thing.kind for thing in scene.things}
        if self.clue is not None:
            clear = self.clue.singles_out(kinds, {scene.backdrop.wall, scene.backdrop.ground})
            return [k for k, thing in enumerate(scene.things) if thing.kind == self.clue.kind] if clear else []
        if self.noun in GROUPS and kinds & DOUBTFUL[self.noun]:
            return []
        wanted = GROUPS.get(self.noun, {self.noun})
        found = [k for k, thing in enumerate(scene.things) if thing.kind in wanted]
        if self.color is not None:
            found = [k for k in found if scene.things[k].color == self.color]
        if self.mirror is not None:
            found = [k for k in found if scene.things[k].in_mirror == (self.mirror == "in")]
        if self.size is not None:
            found = self._by_size(scene, found)
        if self.place is not None:
            found = self._by_place(scene, found)
        return found

    def _by_size(self, scene: Scene, found: list[int]) -> list[int]:
        found = sorted(found, key=lambda k: scene.things[k].size)
        if len(found) < 2 or (len(found) == 2) != (self.size in ("bigger", "smaller")):
            return []
        chosen, rival = (found[-1], found[-2]) if self.size in ("bigger", "biggest") else (found[0], found[1])
        sizes = scene.things[chosen].size, scene.things[rival].size
        return [chosen] if max(sizes) / min(sizes) >= LEAST_RATIO else []

    def _by_place(self, scene: Scene, found: list[int]) -> list[int]:
        found = sorted(found, key=lambda k: scene.things[k].x)
        x = [scene.things[k].x for k in found]
        if len(found) < 2 or any(b - a < LEAST_GAP for a, b in pairwise(x)):
            return []
        if self.place == "left":
            return found[:1]
        if self.place == "right":
            return found[-1:]
        if self.place == "middle":
            return found[1:2] if len(found) == 3 else []
        ordinal, _, side = str(self.place).partition(" from the ")
        ordered = found if side == "left" else found[::-1]
        position = ORDINALS.index(ordinal)
        return ordered[position : position + 1] if len(found) > 2 else []
