"""Plain edits, as InstructPix2Pix and MagicBrush have them: replace, remove, recolor, add, show elsewhere."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from smartedit.miniature.captions import GROUND_WORDS, WALL_WORDS
from smartedit.miniature.expressions import references
from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.knowledge import is_held_out
from smartedit.miniature.layout import NoRoom, Wish, pick_color, place_among, random_backdrop, stands_free
from smartedit.miniature.referring import Reference
from smartedit.miniature.scenes import Scene, removed, replaced

NAMED_COLOR = 0.6
"""How often the color of a thing that is put in another's place is named; else it has its kind's first color. An editor
that sees few named ones draws the first color whatever is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainEdit:
    """One edit.

    Attributes:
        before: The scene.
        after: The scene after the edit.
        instruction: The order.
        local: A caption of what is new.
        changed_before: The thing of `before` that changes, if there is one.
        changed_after: The thing of `after` that is new, if there is one.
    """

    before: Scene
    after: Scene
    instruction: str
    local: str
    changed_before: int | None = None
    changed_after: int | None = None


def local_edit(scene: Scene, rng: np.random.Generator) -> PlainEdit:
    """An edit of one thing; combinations that are held out for the benchmark never come up.

    Raises:
        NoRoom: This draw did not work out; draw again.
    """
    edits = (_replace, _replace, _recolor, _remove, _add)
    return edits[int(rng.integers(len(edits)))](scene, rng)


def any_edit(scene: Scene, rng: np.random.Generator) -> PlainEdit:
    """A local edit or another backdrop; raises as `local_edit` does."""
    return _elsewhere(scene, rng) if rng.random() < 0.2 else local_edit(scene, rng)


def _target(
    scene: Scene, rng: np.random.Generator, wanted: Callable[[int], bool] = lambda _: True
) -> tuple[int, Reference]:
    """A thing that can be pointed at, and a phrase for it; short phrases come up more often."""
    choices = [(k, found) for k in range(len(scene.things)) if wanted(k) and (found := references(scene, k))]
    if not choices:
        raise NoRoom("no thing of the scene can be pointed at")
    index, found = choices[int(rng.integers(len(choices)))]
    return index, found[0] if rng.random() < 0.4 else found[int(rng.integers(len(found)))]


def _replace(scene: Scene, rng: np.random.Generator) -> PlainEdit:
    index, reference = _target(scene, rng)
    kind, present = scene.things[index].kind, {thing.kind for thing in scene.things}
    choices = [
        new
        for new in KINDS
        if new not in present
        and not is_held_out(kind, new)
        and stands_free(replaced(scene, index, new, KINDS[new].colors[0]), index)
    ]
    if not choices:
        raise NoRoom("no kind fits")
    new = str(rng.choice(choices))
    named = KINDS[new].colorful and rng.random() < NAMED_COLOR
    color = str(rng.choice(KINDS[new].colors)) if named else KINDS[new].colors[0]
    words = with_article(f"{color} {new}" if named else new)
    templates = ("turn {it} into {new}", "replace {it} with {new}", "change {it} to {new}", "swap {it} for {new}")
    return PlainEdit(
        before=scene,
        after=replaced(scene, index, new, color),
        instruction=str(rng.choice(templates)).format(it=reference.text, new=words),
        local=words,
        changed_before=index,
        changed_after=index,
    )


def _recolor(scene: Scene, rng: np.random.Generator) -> PlainEdit:
    index, reference = _target(
        scene, rng, lambda k: KINDS[scene.things[k].kind].colorful and len(KINDS[scene.things[k].kind].colors) > 1
    )
    thing = scene.things[index]
    color = str(rng.choice([c for c in KINDS[thing.kind].colors if c != thing.color]))
    templates = ("make {it} {color}", "change the color of {it} to {color}", "color {it} {color}")
    return PlainEdit(
        before=scene,
        after=replaced(scene, index, thing.kind, color),
        instruction=str(rng.choice(templates)).format(it=reference.text, color=color),
        local=with_article(f"{color} {thing.kind}"),
        changed_before=index,
        changed_after=index,
    )


def _remove(scene: Scene, rng: np.random.Generator) -> PlainEdit:
    index, reference = _target(scene, rng, lambda k: not is_held_out(scene.things[k].kind, None))
    templates = ("remove {it}", "take {it} away", "delete {it}")
    return PlainEdit(
        before=scene,
        after=removed(scene, index),
        instruction=str(rng.choice(templates)).format(it=reference.text),
        local=GROUND_WORDS[scene.backdrop.ground],
        changed_before=index,
    )


def _add(scene: Scene, rng: np.random.Generator) -> PlainEdit:
    if scene.mirror is not None or len(scene.things) > 4:
        raise NoRoom("nothing is added to a full scene or beside a mirror")
    present = {thing.kind for thing in scene.things}
    kind = str(rng.choice([k for k in KINDS if k not in present]))
    color = pick_color(kind, rng)
    after = place_among(scene, Wish(kind=kind, color=color, size=round(float(rng.uniform(0.24, 0.32)), 4)), rng)
    words = with_article(f"{color} {kind}" if KINDS[kind].colorful else kind)
    side = (
        "on the left" if after.things[-1].x < 0.4 else "on the right" if after.things[-1].x > 0.6 else "in the middle"
    )
    templates = ("add {new} {side}", "put {new} {side}", "place {new} {side}")
    return PlainEdit(
        before=scene,
        after=after,
        instruction=str(rng.choice(templates)).format(new=words, side=side),
        local=words,
        changed_after=len(after.things) - 1,
    )


def _elsewhere(scene: Scene, rng: np.random.Generator) -> PlainEdit:
    """Another wall and ground below the same things."""
    places = ("room", "kitchen") if scene.mirror is not None else ("room", "kitchen", "meadow", "beach", "winter")
    drawn = random_backdrop(rng, places)
    if (drawn.wall, drawn.ground) == (scene.backdrop.wall, scene.backdrop.ground):
        raise NoRoom("the same backdrop again")
    after = replace(scene, backdrop=replace(drawn, horizon=scene.backdrop.horizon))
    where = f"on {GROUND_WORDS[drawn.ground]} {WALL_WORDS[drawn.wall]}"
    templates = ("put everything {where}", "show everything {where}", "let the things stand {where}")
    return PlainEdit(before=scene, after=after, instruction=str(rng.choice(templates)).format(where=where), local=where)
