"""What a scene is: a backdrop, things that stand before it, and perhaps a mirror; pure data, without pixels."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace

from smartedit.miniature.kinds import KINDS


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """One thing, or one reflection.

    Attributes:
        kind: A name of `kinds.KINDS`.
        color: A name of `kinds.COLORS`.
        x: Middle, as a fraction of the picture's width.
        y: Where it stands, as a fraction of the picture's height from the top.
        size: Height, as a fraction of the picture.
        flip: Whether it looks to the left.
        in_mirror: Whether it is a reflection.
    """

    kind: str
    color: str
    x: float
    y: float
    size: float
    flip: bool = False
    in_mirror: bool = False

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom as fractions of the picture."""
        half = KINDS[self.kind].width * self.size / 2
        return (self.x - half, self.y - self.size, self.x + half, self.y)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mirror:
    """A standing mirror at one side; its plane is the vertical line `plane`, seen from the front.

    Attributes:
        plane: Where the reflection turns around, as a fraction of the width.
        x0: Left edge of the glass.
        y0: Top edge of the glass.
        x1: Right edge of the glass.
        y1: Bottom edge of the glass.
        arched: Whether the top is round.
        frame: Color of the frame.
    """

    plane: float
    x0: float
    y0: float
    x1: float
    y1: float
    arched: bool
    frame: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Backdrop:
    """Wall and ground.

    Attributes:
        wall: A name of `walls.WALLS`.
        ground: A name of `grounds.GROUNDS`.
        horizon: Where they meet, as a fraction of the height.
        tint: Which of the palette's colors the wall has.
        seed: Places the details (clouds, planks, dots).
    """

    wall: str
    ground: str
    horizon: float
    tint: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A picture before it is drawn.

    Attributes:
        backdrop: What is behind everything.
        things: The things and their reflections.
        mirror: The mirror, where there is one.
    """

    backdrop: Backdrop
    things: tuple[Thing, ...]
    mirror: Mirror | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the whole content; equal scenes, and only they, have equal fingerprints."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]


REFLECTED_SIZE = 0.86
"""How much smaller a reflection is than the thing: it is farther away."""


def reflect(thing: Thing, mirror: Mirror, horizon: float) -> Thing:
    """The reflection: on the other side of the mirror's plane, looking the other way, farther away."""
    return replace(
        thing,
        x=round(mirror.plane + (mirror.plane - thing.x) * REFLECTED_SIZE, 4),
        y=round(horizon + (thing.y - horizon) * REFLECTED_SIZE, 4),
        size=round(thing.size * REFLECTED_SIZE, 4),
        flip=not thing.flip,
        in_mirror=True,
    )


def replaced(scene: Scene, index: int, kind: str, color: str) -> Scene:
    """The scene with another thing in the place of `things[index]`; nothing else changes."""
    changed = replace(scene.things[index], kind=kind, color=color)
    return replace(scene, things=(*scene.things[:index], changed, *scene.things[index + 1 :]))


def removed(scene: Scene, index: int) -> Scene:
    """The scene without `things[index]`; nothing else changes."""
    return replace(scene, things=scene.things[:index] + scene.things[index + 1 :])
