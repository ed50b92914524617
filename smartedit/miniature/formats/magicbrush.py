"""MagicBrush sessions of one to three turns: two json layouts, the hub's Parquet shards, and a saved dataset."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smartedit.miniature.captions import caption
from smartedit.miniature.drawing import Drawing, draw
from smartedit.miniature.edits import PlainEdit, local_edit
from smartedit.miniature.formats.files import png, write_hub_table, write_json, write_once, write_saved_dataset
from smartedit.miniature.stock import Stock, until_it_works

FOLDER, HUB, SAVED = Path("MagicBrush"), Path("MagicBrush_HF/data"), Path("MagicBrush_saved")
HASH = "9fd9f23e2b1cb397"
FEATURES = {
    "img_id": "string",
    "turn_index": "int32",
    "source_img": "image",
    "mask_img": "image",
    "instruction": "string",
    "target_img": "image",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Edits that follow each other.

    Attributes:
        name: Id of the picture, in digits without leading zeros.
        edits: One to three edits, each beginning where the one before ended.
    """

    name: str
    edits: tuple[PlainEdit, ...]


def counts(stock: Stock) -> dict[str, int]:
    """Sessions of each split."""
    return {"train": max(3, stock.count // 3), "dev": max(2, stock.count // 30)}


def session(stock: Stock, split: str, number: int) -> Session:
    """One session."""
    keys = ("magicbrush", split, number)
    turns = int(stock.rng(*keys, "turns").integers(1, 4))
    edits: list[PlainEdit] = []
    scene = stock.scene(*keys)
    for turn in range(turns):
        edit: PlainEdit = until_it_works(
            lambda attempt, s=scene, t=turn: local_edit(  # type: ignore[misc]
                s if edits else stock.scene(*keys, attempt), stock.rng(*keys, t, attempt)
            )
        )
        edits.append(edit)
        scene = edit.after
        if not scene.things:
            break
    offset = 100_003 if split == "dev" else 0
    return Session(name=str(34 + 7 * number + offset), edits=tuple(edits))


def hole(before: Drawing, after: Drawing, edit: PlainEdit) -> NDArray[np.uint8]:
    """The source as RGBA, transparent where the edit belongs."""
    region = np.zeros(before.image.shape[:2], bool)
    if edit.changed_before is not None:
        region |= before.footprints[edit.changed_before]
    if edit.changed_after is not None:
        region |= after.footprints[edit.changed_after]
    rgba = np.dstack([before.image, np.full(region.shape, 255, np.uint8)])
    rgba[region] = 0
    return rgba


def _turns(stock: Stock, item: Session) -> Iterator[tuple[PlainEdit, Drawing, Drawing]]:
    before = draw(item.edits[0].before, stock.size)
    for edit in item.edits:
        after = draw(edit.after, stock.size)
        yield edit, before, after
        before = after


def write(out: Path, stock: Stock) -> None:
    """Write pictures and the four json files of each split."""
    for split, count in counts(stock).items():
        sessions: dict[str, list[dict[str, str]]] = {}
        whole: dict[str, dict[str, str]] = {}
        local: dict[str, dict[str, str]] = {}
        for number in range(count):
            item = session(stock, split, number)
            folder, name = out / FOLDER / split / "images" / item.name, item.name
            rng = stock.rng("magicbrush", split, number, "caption")
            source = f"{name}-input.png"
            sessions[name], local[name] = [], {}
            whole[name] = {source: caption(item.edits[0].before, rng)}
            for turn, (edit, before, after) in enumerate(_turns(stock, item), start=1):
                mask, target = f"{name}-mask{turn}.png", f"{name}-output{turn}.png"
                write_once(folder / source, png(before.image))
                write_once(folder / mask, png(hole(before, after, edit)))
                write_once(folder / target, png(after.image))
                sessions[name].append(
                    {"input": source, "mask": mask, "output": target, "instruction": edit.instruction}
                )
                whole[name][target] = caption(edit.after, rng)
                local[name][target] = edit.local
                source = target
        base = out / FOLDER / split
        write_json(base / "global_descriptions.json", whole, indent=4)
        write_json(base / "local_descriptions.json", local, indent=4)
        write_json(base / "edit_turns.json", [turn for turns in sessions.values() for turn in turns], indent=4)
        write_json(base / "edit_sessions.json", sessions, indent=4)
        if split == "train":
            write_json(out / FOLDER / "magic_train.json", _flat(sessions))


def _flat(sessions: Mapping[str, Sequence[Mapping[str, str]]]) -> list[dict[str, str]]:
    """The training turns as InstructDiffusion lists them, with paths below the data set's folder."""
    return [
        {
            "input": f"train/images/{name}/{turn['input']}",
            "edited": f"train/images/{name}/{turn['output']}",
            "instruction": turn["instruction"],
        }
        for name, turns in sessions.items()
        for turn in turns
    ]


def write_hub(out: Path, stock: Stock) -> None:
    """Write the same turns as one Parquet shard a split."""
    for split, count in reversed(counts(stock).items()):
        write_hub_table(out / HUB / f"{split}-00000-of-00001-{HASH}.parquet", _rows(stock, split, count), FEATURES)


def write_saved(out: Path, stock: Stock) -> None:
    """Write the training turns as `save_to_disk` does."""
    write_saved_dataset(out / SAVED, _rows(stock, "train", counts(stock)["train"]), FEATURES)


def _rows(stock: Stock, split: str, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        item = session(stock, split, number)
        for turn, (edit, before, after) in enumerate(_turns(stock, item), start=1):
            yield {
                "img_id": item.name,
                "turn_index": turn,
                "source_img": png(before.image),
                "mask_img": png(hole(before, after, edit)),
                "instruction": edit.instruction,
                "target_img": png(after.image),
            }
