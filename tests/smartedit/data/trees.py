"""Tiny data sets in the layouts of the real ones, with their awkward records."""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pycocotools import mask as coco

from smartedit.data.examples import Reason, Rejection, TrainingExample

WIDTH, HEIGHT = 40, 30


def split_rows(
    items: Iterable[TrainingExample | Rejection],
) -> tuple[list[TrainingExample], dict[str, Reason]]:
    """Rows, and the reasons by record id of what was left out."""
    rows: list[TrainingExample] = []
    reasons: dict[str, Reason] = {}
    for item in items:
        if isinstance(item, TrainingExample):
            rows.append(item)
        else:
            assert item.detail
            reasons[item.record_id] = item.reason
    return rows, reasons


def save_picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def save_json(path: Path, content: Any, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding=encoding)
    return path


def png_bytes(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def square(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def python2_pickle(value: Any) -> bytes:
    """A pickle as Python 2 wrote it: protocol 2, texts as byte strings."""

    def encode(x: Any) -> bytes:
        if isinstance(x, bool):
            return b"\x88" if x else b"\x89"
        if isinstance(x, int):
            return b"J" + struct.pack("<i", x)
        if isinstance(x, str):
            content = x.encode("latin1")
            return b"U" + bytes([len(content)]) + content
        if isinstance(x, list):
            return b"](" + b"".join(map(encode, x)) + b"e"
        return b"}(" + b"".join(encode(k) + encode(v) for k, v in x.items()) + b"u"

    return b"\x80\x02" + encode(value) + b"."


# Pictures 1 and 2 exist, 3 does not. Object 12 has two overlapping parts, 13 is a crowd, 14 has a polygon of two
# points, 15 no polygon at all, 16 compressed run lengths, 17 ones that do not fit, 18 a degenerate polygon.
def coco_instances() -> dict[str, Any]:
    def image(number: int) -> dict[str, Any]:
        return {"id": number, "file_name": f"COCO_train2014_{number:012d}.jpg", "height": HEIGHT, "width": WIDTH}

    def thing(number: int, segmentation: Any, picture: int = 1, crowd: int = 0, category: int = 1) -> dict[str, Any]:
        return {
            "id": number,
            "image_id": picture,
            "segmentation": segmentation,
            "iscrowd": crowd,
            "category_id": category,
            "bbox": [0, 0, 1, 1],
            "area": 1.0,
        }

    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8, order="F")
    mask[4:9, 6:20] = 1
    compressed = {"size": [HEIGHT, WIDTH], "counts": coco.encode(mask)["counts"].decode()}
    return {
        "images": [image(1), image(2), image(3)],
        "categories": [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"}],
        "annotations": [
            thing(11, [square(2, 2, 12, 12)]),
            thing(12, [square(20, 5, 30, 15), square(25, 5, 35, 15)], category=17),
            thing(13, {"size": [HEIGHT, WIDTH], "counts": [0, 60, HEIGHT * WIDTH - 60]}, crowd=1),
            thing(14, [[1.0, 1.0, 5.0, 5.0]]),
            thing(15, []),
            thing(16, compressed),
            thing(17, {"size": [HEIGHT, WIDTH], "counts": [5, 5]}),
            thing(18, [[3.0, 3.0, 3.0, 3.0, 3.0, 3.0]]),
            thing(21, [square(2, 2, 12, 12)], picture=2),
        ],
    }


def reference(
    ref_id: int, ann_id: Any, texts: Sequence[str], split: str = "train", image_id: int = 1
) -> dict[str, Any]:
    sentences = [{"raw": t.upper(), "sent": t, "sent_id": i, "tokens": t.split()} for i, t in enumerate(texts)]
    return {
        "ref_id": ref_id,
        "ann_id": ann_id,
        "image_id": image_id,
        "split": split,
        "file_name": f"COCO_train2014_{image_id:012d}_{ref_id}.jpg",
        "sentences": sentences,
        "category_id": 1,
    }


def write_refer(
    root: Path, dataset: str, split_by: str, references: Sequence[Mapping[str, Any]], protocol: int = 0
) -> Path:
    """References and instances.json; protocol 0 writes as Python 2 did."""
    folder = root / dataset
    save_json(folder / "instances.json", coco_instances())
    content = pickle.dumps(list(references), protocol=protocol) if protocol else python2_pickle(list(references))
    (folder / f"refs({split_by}).p").write_bytes(content)
    return folder


def write_coco_pictures(root: Path) -> Path:
    """Pictures 1 and 2 of train2014 and of train2017."""
    for number in (1, 2):
        save_picture(root / "coco" / "train2014" / f"COCO_train2014_{number:012d}.jpg", seed=number)
        save_picture(root / "coco" / "train2017" / f"{number:012d}.jpg", seed=number)
    return root


def write_labels(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{i}: {'unlabeled' if i == 0 else f'class{i}'}\n" for i in range(183)))
    return path


def write_label_map(
    path: Path, values: Sequence[int], mode: str = "L", size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    """A map with the values in columns; mode P gets a palette whose brightness says nothing about the value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = np.array(values, dtype=np.uint8)[np.arange(size[0]) * len(values) // size[0]]
    picture = Image.fromarray(np.tile(columns, (size[1], 1)))
    if mode == "P":
        picture = picture.copy()
        picture.putpalette([(k * 37 + c) % 256 for k in range(256) for c in range(3)])
    elif mode != "L":
        picture = picture.convert(mode)
    picture.save(path)
    return path


def shape(label: str, *points: tuple[float, float]) -> dict[str, Any]:
    return {"label": label, "labels": [label], "shape_type": "polygon", "points": [list(p) for p in points]}


def box(label: str, x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    return shape(label, (x0, y0), (x1, y0), (x1, y1), (x0, y1))


def write_reasonseg(
    folder: Path, stem: str, shapes: Sequence[Mapping[str, Any]], encoding: str = "utf-8", **fields: Any
) -> None:
    record = {"text": ["What is it?"], "is_sentence": True, "shapes": list(shapes), **fields}
    save_json(folder / f"{stem}.json", record, encoding)
    save_picture(folder / f"{stem}.jpg")


def write_prompt_folder(root: Path, name: str, seeds: Sequence[int], prompt: Mapping[str, Any] | None = None) -> None:
    save_json(root / name / "prompt.json", prompt if prompt is not None else {"edit": f"edit {name}"})
    for seed in seeds:
        save_picture(root / name / f"{seed}_0.jpg", (8, 8), seed)
        save_picture(root / name / f"{seed}_1.jpg", (8, 8), seed + 1)


def zip_folders(root: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.name != "seeds.json":
                file.write(path, path.relative_to(root).as_posix())


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_hub_shard(path: Path, columns: Mapping[str, Any], row_group_size: int = 2) -> Path:
    """A Parquet shard; a list of bytes, None or dicts becomes a column of picture structs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for name, values in columns.items():
        if any(isinstance(v, bytes | dict) for v in values):
            values = pa.array([{"bytes": v, "path": None} if isinstance(v, bytes) else v for v in values], PICTURE)
        arrays[name] = values if isinstance(values, pa.Array) else pa.array(values)
    pq.write_table(pa.table(arrays), path, row_group_size=row_group_size)
    return path


def turn(session: str, number: int) -> dict[str, str]:
    before = f"{session}-input.png" if number == 1 else f"{session}-output{number - 1}.png"
    return {
        "input": before,
        "mask": f"{session}-mask{number}.png",
        "output": f"{session}-output{number}.png",
        "instruction": f"edit {number} of {session}",
    }


def write_sessions(folder: Path, sessions: Mapping[str, int]) -> dict[str, list[dict[str, str]]]:
    content = {name: [turn(name, k + 1) for k in range(count)] for name, count in sessions.items()}
    save_json(folder / "edit_sessions.json", content)
    save_json(folder / "edit_turns.json", [t for turns in content.values() for t in turns])
    for name, turns in content.items():
        for file in {t[key] for t in turns for key in ("input", "mask", "output")}:
            save_picture(folder / "images" / name / file, (8, 8))
    return content


def said(*texts: str) -> list[dict[str, str]]:
    return [{"from": "gpt" if i % 2 else "human", "value": text} for i, text in enumerate(texts)]
