"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO over the COCO pictures."""

import io
import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reason_edit.files import write_bytes
from smartedit.miniature.captions import joined
from smartedit.miniature.expressions import expressions, references
from smartedit.miniature.formats.coco import (
    INSTANCES,
    MIRROR_ID,
    annotation_id,
    categories,
    image_id,
    image_record,
    instances,
    name_2014,
)
from smartedit.miniature.formats.files import write_json
from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.knowledge import DOUBTFUL, GROUPS
from smartedit.miniature.scenes import Scene
from smartedit.miniature.stock import Stock
from smartedit.seeding import seed_from

SETS: dict[str, tuple[str, ...]] = {"refcoco": ("unc", "google"), "refcoco+": ("unc",), "refcocog": ("umd", "google")}
"""Data set -> who split it."""

WIDE_SPLITS = ("train",) * 16 + ("val", "val", "testA", "testB")


def split_of(number: int, maker: str) -> str:
    """The split of a picture: four fifths for training; umd has one test split and google has none for RefCOCOg."""
    split = WIDE_SPLITS[seed_from("corpora", "split", number) % len(WIDE_SPLITS)]
    if maker == "umd":
        return "test" if split.startswith("test") else split
    return split


def write(out: Path, stock: Stock) -> None:
    """Write the three older sets."""
    styles: dict[str, Callable[[Scene, int, np.random.Generator], tuple[str, ...]]] = {
        "refcoco": lambda scene, k, rng: expressions(scene, k, rng).short,
        "refcoco+": lambda scene, k, rng: expressions(scene, k, rng).no_location,
        "refcocog": _full_and_knowing,
    }
    for name, makers in SETS.items():
        folder = out / "refer_seg" / name
        refs = list(_references(stock, name, styles[name]))
        for maker in makers:
            records = [{**ref, "split": _split(name, ref["number"], maker)} for ref in refs]
            for record in records:
                del record["number"]
            write_bytes(folder / f"refs({maker}).p", _pickled(records))
        write_json(folder / "instances.json", _instances(out, stock))


def _split(name: str, number: int, maker: str) -> str:
    split = split_of(number, maker)
    return "val" if name == "refcocog" and maker == "google" and split.startswith("test") else split


def _full_and_knowing(scene: Scene, index: int, rng: np.random.Generator) -> tuple[str, ...]:
    found = expressions(scene, index, rng)
    knowing = [found.knowing[k] for k in rng.permutation(len(found.knowing))[:1]]
    return (*found.full, *knowing)


def _pickled(records: list[dict[str, Any]]) -> bytes:
    """Protocol 2 without shared objects, as Python 2 wrote it; the same records always give the same bytes."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=2)
    pickler.fast = True
    pickler.dump(records)
    return buffer.getvalue()


def _references(
    stock: Stock, name: str, phrases: Callable[[Scene, int, np.random.Generator], tuple[str, ...]]
) -> Iterator[dict[str, Any]]:
    reference, sentence = 0, 0
    for number in range(stock.count):
        scene = stock.scene(number)
        for k, thing in enumerate(scene.things):
            texts = phrases(scene, k, stock.rng("expressions", name, number, k))
            if texts:
                yield {
                    **_record(number, reference, annotation_id(number, k), KINDS[thing.kind].coco_id, texts, sentence),
                    "file_name": name_2014(number).replace(".jpg", f"_{k}.jpg"),
                    "number": number,
                }
                reference, sentence = reference + 1, sentence + len(texts)


def _record(
    number: int, reference: int, target: int | list[int], category: int | list[int], texts: tuple[str, ...], first: int
) -> dict[str, Any]:
    sentences = [
        {"tokens": _words(text).split(), "raw": text, "sent_id": first + k, "sent": _words(text)}
        for k, text in enumerate(texts)
    ]
    return {
        "sent_ids": [s["sent_id"] for s in sentences],
        "file_name": name_2014(number),
        "ann_id": target,
        "ref_id": reference,
        "image_id": image_id(number),
        "split": "train",
        "sentences": sentences,
        "category_id": category,
    }


def _words(text: str) -> str:
    """Lower case without punctuation."""
    return " ".join("".join(c if c.isalnum() or c in "-'" else " " for c in text.lower()).split())


def _instances(out: Path, stock: Stock) -> dict[str, Any]:
    """The detection file's things under the names of train2014, without mirrors."""
    content = json.loads((out / INSTANCES).read_text(encoding="utf-8"))
    images = [{**image_record(stock, n), "file_name": name_2014(n)} for n in range(stock.count)]
    annotations = [a for a in content["annotations"] if a["category_id"] != MIRROR_ID]
    return instances(stock, images, annotations, categories(with_mirror=False))


def write_grefcoco(out: Path, stock: Stock) -> None:
    """Write gRefCOCO: one thing, several things, or nothing."""
    records: list[dict[str, Any]] = []
    sentence = 0
    for number in range(stock.count):
        scene = stock.scene(number)
        rng = stock.rng("expressions", "grefcoco", number)
        for things, texts in _generalized(scene, rng):
            target = [annotation_id(number, k) for k in things] or [-1]
            kinds = [KINDS[scene.things[k].kind].coco_id for k in things] or [-1]
            record = _record(number, len(records), target, kinds, texts, sentence)
            records.append({**record, "no_target": not things, "split": split_of(number, "unc")})
            sentence += len(texts)
    folder = out / "refer_seg" / "grefcoco"
    write_json(folder / "grefs(unc).json", records)
    write_json(folder / "instances.json", _instances(out, stock))


def _generalized(scene: Scene, rng: np.random.Generator) -> Iterator[tuple[list[int], tuple[str, ...]]]:
    """Sets of things with phrases: one single, all sets of several, and one phrase that means nothing here."""
    count = len(scene.things)
    single = int(rng.integers(count))
    texts = expressions(scene, single, rng).short
    if texts:
        yield [single], texts
    yield from _several(scene, rng)
    absent = [kind for kind in KINDS if kind not in {thing.kind for thing in scene.things}]
    kind = str(rng.choice(absent))
    color = str(rng.choice(KINDS[kind].colors))
    yield [], (f"the {color} {kind}" if KINDS[kind].colorful else f"the {kind}",)
    lacking = [t for t in scene.things if KINDS[t.kind].colorful]
    if lacking:
        thing = lacking[int(rng.integers(len(lacking)))]
        present = {t.color for t in scene.things if t.kind == thing.kind}
        others = [color for color in KINDS[thing.kind].colors if color not in present]
        if others:
            yield [], (f"{with_article(f'{rng.choice(others)} {thing.kind}')}",)


def _several(scene: Scene, rng: np.random.Generator) -> Iterator[tuple[list[int], tuple[str, ...]]]:
    kinds = [thing.kind for thing in scene.things]
    for kind in dict.fromkeys(kinds):
        same = [k for k, other in enumerate(kinds) if other == kind]
        if len(same) > 1:
            word = "both" if len(same) == 2 else "all"
            name = f"pairs of {kind}" if kind == "scissors" else KINDS[kind].plural
            yield same, (f"{word} {name}", f"all of the {name}")
    for group, members in GROUPS.items():
        found = [k for k, kind in enumerate(kinds) if kind in members]
        if len({kinds[k] for k in found}) > 1 and not set(kinds) & DOUBTFUL[group]:
            yield found, (f"all the {group}s", f"every {group}")
    clear = [(k, refs[0].text) for k in range(len(kinds)) if (refs := references(scene, k))]
    if len(clear) > 1:
        chosen = [clear[k] for k in sorted(rng.permutation(len(clear))[:2].tolist())]
        yield [k for k, _ in chosen], (joined([text for _, text in chosen]),)
