"""Drawn pictures with what can be said about them: for the miniature's CLIP and for questions about pictures."""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reason_edit.files import write_bytes
from smartedit.miniature.captions import GROUND_WORDS, WALL_WORDS, caption
from smartedit.miniature.drawing import Drawing, draw
from smartedit.miniature.fit.pairs import SPACE, draw_shards
from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.questions import conversation
from smartedit.miniature.scenes import Scene
from smartedit.miniature.stock import Stock

SCENES_A_SHARD = 500
DRAWN_SIDE = 128
QUESTIONS = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """Pictures, cut-outs and texts; row k of each belongs to scene k.

    Attributes:
        pictures: uint8 [N, side, side, 3].
        cutouts: One thing, or a piece of the backdrop, of each picture at the same size.
        captions: Of the pictures.
        labels: Of the cut-outs.
        questions: Of the pictures; question and answer.
    """

    pictures: NDArray[np.uint8]
    cutouts: NDArray[np.uint8]
    captions: list[str]
    labels: list[str]
    questions: list[list[tuple[str, str]]]


def draw_looks(folder: Path, *, scenes: int, size: int, seed: int, processes: int = 1) -> Looks:
    """Draw scenes into shards of a folder, which are kept, and read them back.

    Args:
        folder: Where the shards lie.
        scenes: How many.
        size: Pixels of a side.
        seed: Another seed gives other scenes.
        processes: Processes that draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = range(-(-scenes // SCENES_A_SHARD))
    missing = [k for k in shards if not (folder / f"texts-{k:04d}.json").is_file()]
    draw_shards(_draw_shard, [(folder, k, scenes, size, seed) for k in missing], processes)
    arrays = [np.load(folder / f"looks-{k:04d}.npz") for k in shards]
    texts = [row for k in shards for row in json.loads((folder / f"texts-{k:04d}.json").read_text(encoding="utf-8"))]
    return Looks(
        pictures=np.concatenate([a["pictures"] for a in arrays]),
        cutouts=np.concatenate([a["cutouts"] for a in arrays]),
        captions=[row[0] for row in texts],
        labels=[row[1] for row in texts],
        questions=[[(q, a) for q, a in row[2]] for row in texts],
    )


def _draw_shard(folder: Path, shard: int, scenes: int, size: int, seed: int) -> None:
    stock = Stock(seed=seed, size=size)
    pictures, cutouts, texts = [], [], []
    for number in range(shard * SCENES_A_SHARD, min(scenes, (shard + 1) * SCENES_A_SHARD)):
        rng = stock.rng(SPACE, "looks", number)
        scene = stock.scene(SPACE, "looks", number)
        drawn = draw(scene, DRAWN_SIDE)
        cutout, label = cut_out(scene, drawn, rng)
        pictures.append(cv2.resize(drawn.image, (size, size), interpolation=cv2.INTER_AREA))
        cutouts.append(cv2.resize(cutout, (size, size), interpolation=cv2.INTER_AREA))
        turns = [[t.question, t.answer] for t in conversation(scene, rng, turns=QUESTIONS)]
        texts.append([caption(scene, rng), label, turns])
    part = folder / f"looks-{shard:04d}.part"
    with part.open("wb") as file:
        np.savez(file, pictures=np.stack(pictures), cutouts=np.stack(cutouts))
    part.replace(folder / f"looks-{shard:04d}.npz")
    write_bytes(folder / f"texts-{shard:04d}.json", json.dumps(texts).encode())


def cut_out(scene: Scene, drawn: Drawing, rng: np.random.Generator) -> tuple[NDArray[np.uint8], str]:
    """One thing with its name, or, one time in six, a free piece of the wall or the ground with its words."""
    side = drawn.image.shape[0]
    if rng.random() < 1 / 6:
        width = int(side * rng.uniform(0.25, 0.5))
        horizon = int(scene.backdrop.horizon * side)
        on_ground = bool(rng.random() < 0.6)
        top, bottom = (horizon, side) if on_ground else (0, horizon)
        free = np.ones((side, side), bool)
        free[:top], free[bottom:] = False, False
        free &= drawn.coverage.sum(axis=0) < 0.5
        rows, columns = np.nonzero(free)
        if len(rows):
            k = int(rng.integers(len(rows)))
            y = int(np.clip(rows[k] - width // 2, top, max(top, bottom - width)))
            x = int(np.clip(columns[k] - width // 2, 0, side - width))
            words = GROUND_WORDS[scene.backdrop.ground] if on_ground else WALL_WORDS[scene.backdrop.wall]
            return drawn.image[y : y + width, x : x + width], words
    index = int(rng.integers(len(scene.things)))
    thing = scene.things[index]
    x0, y0, x1, y1 = thing.box
    margin = float(rng.uniform(0.0, 0.05))
    left, top = max(0, int((x0 - margin) * side)), max(0, int((y0 - margin) * side))
    right, bottom = min(side, int((x1 + margin) * side) + 1), min(side, int((y1 + margin) * side) + 1)
    named = KINDS[thing.kind].colorful and rng.random() < 0.6
    words = with_article(f"{thing.color} {thing.kind}" if named else thing.kind)
    return drawn.image[top : max(bottom, top + 4), left : max(right, left + 4)], words
