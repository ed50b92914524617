"""Where things stand: random arrangements in which nothing hides anything else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smartedit.miniature.backdrops import PLACES
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.scenes import Backdrop, Mirror, Scene, Thing, reflect
from smartedit.miniature.walls import WALL_COLORS

Box = tuple[float, float, float, float]

EDGE = 0.015
"""What is kept free along the picture's border."""


class NoRoom(ValueError):
    """An arrangement did not work out; draw another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A thing that wants a place.

    Attributes:
        kind: Its kind.
        color: Its color.
        size: Its height as a fraction of the picture.
        x: Where its middle has to be, or None for anywhere.
        y: Where it has to stand, or None for anywhere.
    """

    kind: str
    color: str
    size: float
    x: float | None = None
    y: float | None = None


def pick_color(kind: str, rng: np.random.Generator) -> str:
    """A color that the kind comes in, the natural one more often."""
    colors = KINDS[kind].colors
    return colors[0] if rng.random() < 0.4 else colors[int(rng.integers(len(colors)))]


def random_backdrop(rng: np.random.Generator, places: Sequence[str] = tuple(PLACES)) -> Backdrop:
    """A wall and a ground that go together; rooms and kitchens more often than the open air."""
    weights = np.array([{"kitchen": 3.0, "room": 3.0, "meadow": 2.0}.get(place, 1.0) for place in places])
    place = places[int(rng.choice(len(places), p=weights / weights.sum()))]
    walls, grounds = PLACES[place]
    return Backdrop(
        wall=walls[int(rng.integers(len(walls)))],
        ground=grounds[int(rng.integers(len(grounds)))],
        horizon=round(float(rng.uniform(0.36, 0.46)), 3),
        tint=int(rng.integers(len(WALL_COLORS))),
        seed=int(rng.integers(1 << 31)),
    )


def arrange(wishes: Sequence[Wish], backdrop: Backdrop, rng: np.random.Generator) -> Scene:
    """Place all things, in the order of the wishes.

    Raises:
        NoRoom: There is no place for one of them.
    """
    region = (EDGE, EDGE, 1 - EDGE, 1 - 2 * EDGE)
    things: list[Thing] = []
    for wish in wishes:
        things.append(_place(wish, [thing.box for thing in things], region, backdrop.horizon, rng))
    return Scene(backdrop=backdrop, things=tuple(things))


def place_among(scene: Scene, wish: Wish, rng: np.random.Generator) -> Scene:
    """The scene with one more thing, which stands free; raises NoRoom as `arrange` does."""
    region = (EDGE, EDGE, 1 - EDGE, 1 - 2 * EDGE)
    thing = _place(wish, [other.box for other in scene.things], region, scene.backdrop.horizon, rng)
    return replace(scene, things=(*scene.things, thing))


def arrange_with_mirror(wishes: Sequence[Wish], backdrop: Backdrop, rng: np.random.Generator) -> Scene:
    """Place all things on one side, a mirror on the other, and in it every thing's reflection.

    Raises:
        NoRoom: There is no place for one of them, or its reflection does not fit into the glass.
    """
    mirror = Mirror(
        plane=0.5,
        x0=0.545,
        y0=round(float(rng.uniform(0.05, 0.1)), 3),
        x1=0.955,
        y1=round(float(rng.uniform(0.89, 0.92)), 3),
        arched=bool(rng.random() < 0.5),
        frame=str(rng.choice(["brown", "yellow", "white", "blue", "pink"])),
    )
    things: list[Thing] = []
    for wish in wishes:
        things.append(_place(wish, [t.box for t in things], (EDGE, 0.16, 0.475, 0.965), backdrop.horizon, rng))
    reflections = [reflect(thing, mirror, backdrop.horizon) for thing in things]
    for reflection in reflections:
        left, top, right, bottom = reflection.box
        if left < mirror.x0 + 0.01 or right > mirror.x1 - 0.005 or top < mirror.y0 + 0.05 or bottom > mirror.y1 - 0.015:
            raise NoRoom(f"the reflection of the {reflection.kind} does not fit into the mirror")
    scene = Scene(backdrop=backdrop, things=(*things, *reflections), mirror=mirror)
    return scene if rng.random() < 0.5 else _turned(scene)


def _turned(scene: Scene) -> Scene:
    """The scene with left and right exchanged."""
    mirror = scene.mirror
    assert mirror is not None
    return replace(
        scene,
        things=tuple(replace(t, x=round(1 - t.x, 4), flip=not t.flip) for t in scene.things),
        mirror=replace(mirror, plane=1 - mirror.plane, x0=round(1 - mirror.x1, 4), x1=round(1 - mirror.x0, 4)),
    )


def _place(wish: Wish, taken: Sequence[Box], region: Box, horizon: float, rng: np.random.Generator) -> Thing:
    half = KINDS[wish.kind].width * wish.size / 2
    lowest, highest = region[3], max(horizon + 0.12, region[1] + wish.size)
    if region[0] + half > region[2] - half or highest > lowest:
        raise NoRoom(f"a {wish.kind} of size {wish.size:.2f} is too big")
    for _ in range(40):
        x = wish.x if wish.x is not None else float(rng.uniform(region[0] + half, region[2] - half))
        y = wish.y if wish.y is not None else float(rng.uniform(highest, lowest))
        x = min(max(x, region[0] + half), region[2] - half)
        y = min(max(y, highest), lowest)
        thing = Thing(
            kind=wish.kind,
            color=wish.color,
            x=round(x, 4),
            y=round(y, 4),
            size=round(wish.size, 4),
            flip=bool(rng.random() < 0.5),
        )
        if not any(_overlap(thing.box, box) for box in taken):
            return thing
    raise NoRoom(f"no room for a {wish.kind} of size {wish.size:.2f}")


def _overlap(a: Box, b: Box, gap: float = 0.02) -> bool:
    """Whether two boxes come closer to each other than the gap."""
    return min(a[2], b[2]) - max(a[0], b[0]) > -gap and min(a[3], b[3]) - max(a[1], b[1]) > -gap


def stands_free(scene: Scene, index: int) -> bool:
    """Whether a thing touches no other one, nor the picture's border, nor the mirror's frame."""
    thing, mirror = scene.things[index], scene.mirror
    left, _, right, _ = thing.box
    if thing.in_mirror and mirror is not None:
        low, high = mirror.x0, mirror.x1
    elif mirror is not None:
        low, high = (0.0, mirror.x0 - 0.03) if thing.x < mirror.plane else (mirror.x1 + 0.03, 1.0)
    else:
        low, high = 0.0, 1.0
    rivals = [t for k, t in enumerate(scene.things) if k != index and t.in_mirror == thing.in_mirror]
    return low <= left and right <= high and not any(_overlap(thing.box, rival.box, 0.0) for rival in rivals)
