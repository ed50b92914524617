"""What drawn scenes say about a sample: which thing its words mean, by the scene's own data and never by pixels."""

from smartedit.miniature.kinds import KINDS
from smartedit.miniature.knowledge import clues
from smartedit.miniature.scenes import Scene, Thing
from smartedit.synthesis.export import SyntheticSample

COCO_NAMES = {kind.name: kind.coco for kind in KINDS.values()}


def meant(scene: Scene, sample: SyntheticSample) -> Thing | None:
    """The one thing that a sample's words mean; None where they mean none or several."""
    things = [t for t in scene.things if COCO_NAMES[t.kind] == sample.kind]
    real = [t for t in things if not t.in_mirror]
    category, word = sample.category.value, sample.attribute
    if category == "reasoning":
        (clue,) = [c for c in clues() if c.text == sample.clue]
        rivals = [t for t in scene.things if t.kind in clue.also]
        found = [t for t in things if t.kind == clue.kind] if not rivals and not clue.held_out else []
    elif category == "multiple_objects":
        found = things if len({t.kind for t in scene.things}) >= 3 else []
    elif category == "mirror":
        found = [t for t in things if t.in_mirror] if word == "in the mirror" else real
    elif category == "color":
        found = [t for t in things if t.color == word]
    elif category == "left_right":
        order = sorted(things, key=lambda t: t.x)
        place = {"left": 0, "leftmost": 0, "right": -1, "rightmost": -1, "middle": len(order) // 2}[word]
        found = [order[place]] if word != "middle" or len(order) == 3 else []
    else:
        order = sorted(things, key=lambda t: t.size, reverse=word.startswith("big"))
        found = order[:1]
    return found[0] if len(found) == 1 else None


def is_right(scene: Scene, sample: SyntheticSample, size: int) -> bool:
    """Whether the sample's box is the box of the thing that its words mean."""
    thing = meant(scene, sample)
    if thing is None:
        return False
    x0, y0, x1, y1 = sample.box.corners
    left, top, right, bottom = (v * size for v in thing.box)
    middle_x, middle_y = (x0 + x1) / 2, (y0 + y1) / 2
    others = [t for t in scene.things if t is not thing]
    inside = left <= middle_x <= right and top <= middle_y <= bottom
    nearer = any(abs(t.x * size - middle_x) + abs((t.y - t.size / 2) * size - middle_y) < 2 for t in others)
    return inside and not nearer
