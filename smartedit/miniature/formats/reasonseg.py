"""ReasonSeg: questions that need knowledge, each with the region that answers it."""

from pathlib import Path
from typing import Any

import numpy as np

from smartedit.miniature.drawing import Drawing, draw
from smartedit.miniature.formats.files import jpeg, write_json, write_once
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.knowledge import Clue, clues
from smartedit.miniature.layout import NoRoom
from smartedit.miniature.outlines import painted_polygons
from smartedit.miniature.scenes import Scene
from smartedit.miniature.stock import Stock, loose_scene, until_it_works

ROOT = Path("reason_seg/ReasonSeg")
SPLITS = ("train", "val", "train", "train", "test", "train", "train")
QUESTIONS = ("Where is the {clue}?", "Which thing in this picture is the {clue}?", "Can you find the {clue}?")


def count(stock: Stock) -> int:
    """How many pictures there are."""
    return max(7, stock.count // 4)


def write(out: Path, stock: Stock) -> None:
    """Write the three splits, five pictures of seven for training, and the explanations."""
    explained = []
    for number in range(count(stock)):
        split = SPLITS[number % len(SPLITS)]
        scene, drawing, meant, shapes = until_it_works(lambda attempt, n=number: _question(stock, n, attempt))  # type: ignore[misc]
        stem = f"{3000000000 + 977 * number}_{number:010x}_o"
        rng = stock.rng("reasonseg", number, "texts")
        asked = [meant[k] for k in rng.permutation(len(meant))[: int(rng.integers(1, 4))]]
        is_sentence = bool(rng.random() < 0.7)
        texts = [str(rng.choice(QUESTIONS)).format(clue=c.text) if is_sentence else f"the {c.text}" for c in asked]
        for shape in shapes:
            shape["image_name"] = f"{stem}.jpg"
        write_once(out / ROOT / split / f"{stem}.jpg", jpeg(drawing.image))
        write_json(out / ROOT / split / f"{stem}.json", {"text": texts, "is_sentence": is_sentence, "shapes": shapes})
        if split == "train" and is_sentence:
            kind = asked[0].kind
            outputs = f"It is the {kind}: {_reason(asked[0], scene)}."
            explained.append({"image": f"{stem}.jpg", "json": f"{stem}.json", "query": texts[0], "outputs": outputs})
    write_json(out / ROOT / "explanatory" / "train.json", explained)


def _reason(clue: Clue, scene: Scene) -> str:
    others = sorted({f"the {thing.kind}" for thing in scene.things if thing.kind != clue.kind})
    return f"it is the {clue.text}, unlike {' or '.join(others)}" if others else f"it is the {clue.text}"


def _question(stock: Stock, number: int, attempt: int) -> tuple[Scene, Drawing, list[Clue], list[dict[str, Any]]]:
    """A scene, clues that mean one of its things, and the shapes; a reflection of that thing is ignored.

    Raises:
        NoRoom: No clue is clear in this scene, or a shape cannot be given exactly.
    """
    rng = stock.rng("reasonseg", number, attempt)
    scene = loose_scene(rng, with_mirror=number % 5 == 4)
    kinds, surfaces = {t.kind for t in scene.things}, {scene.backdrop.wall, scene.backdrop.ground}
    wanted = list(KINDS)[number % len(KINDS)] if attempt < 500 else str(rng.choice(list(KINDS)))
    meant = [c for c in clues() if c.kind == wanted and not c.held_out and c.singles_out(kinds, surfaces)]
    if not meant:
        raise NoRoom(f"no clue for the {wanted}")
    drawing = draw(scene, stock.size)
    shapes: list[dict[str, Any]] = []
    for k, thing in enumerate(scene.things):
        if thing.kind == wanted:
            polygons = painted_polygons(np.asarray(drawing.mask(k)))
            if polygons is None:
                raise NoRoom(f"the {wanted} has no exact polygon")
            shapes += [_shape("ignore" if thing.in_mirror else "target", points) for points in polygons]
    return scene, drawing, meant, shapes


def _shape(label: str, points: list[list[float]]) -> dict[str, Any]:
    return {
        "label": label,
        "labels": [label],
        "shape_type": "polygon",
        "image_name": "",
        "points": points,
        "group_id": None,
        "group_ids": [None],
        "flags": {},
    }
