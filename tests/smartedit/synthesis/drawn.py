"""A tiny COCO set of plain shapes: enough for every category, drawn in milliseconds."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

KINDS = ["apple", "banana", "orange", "clock", "cup", "cat", "dog", "mirror"]
COLORS = {
    "red": (205, 40, 40),
    "green": (60, 160, 70),
    "blue": (45, 100, 205),
    "yellow": (240, 205, 60),
    "white": (245, 244, 240),
}

TABLE = """
clues = [
    { text = "fruit that keeps the doctor away", things = ["apple"] },
    { text = "object that can tell the time", things = ["clock"], doubtful = ["cup"] },
    { text = "pet that purrs", things = ["cat"] },
    { text = "pet that barks", things = ["dog"] },
    { text = "thing that one drinks coffee from", things = ["cup"] },
]
[things]
apple = { group = "thing", size = 8 }
banana = { group = "thing", size = 15 }
orange = { group = "thing", size = 8 }
clock = { group = "thing", size = 20, also = ["watch"] }
cup = { group = "thing", size = 10 }
cat = { group = "thing", size = 25 }
dog = { group = "thing", size = 30 }
"""


@dataclass(frozen=True)
class Shape:
    kind: str
    color: str
    x: int
    y: int
    size: int


def _draw(draw: ImageDraw.ImageDraw, shape: Shape, fill: Any) -> None:
    x, y, s = shape.x, shape.y, shape.size
    box = (x, y, x + s, y + s)
    if shape.kind in ("apple", "orange", "clock"):
        draw.ellipse(box, fill=fill)
    elif shape.kind == "banana":
        draw.polygon([(x, y), (x + s, y + s // 3), (x + s, y + s), (x, y + s // 2)], fill=fill)
    elif shape.kind == "mirror":
        draw.rectangle((x, y, x + s, y + s + 30), fill=fill)
    else:
        draw.rounded_rectangle(box, s // 4, fill=fill)


SCENES: list[list[Shape]] = [
    [Shape("apple", "red", 15, 60, 34), Shape("apple", "green", 62, 60, 34), Shape("apple", "yellow", 110, 60, 34)],
    [Shape("cup", "blue", 15, 40, 55), Shape("cup", "red", 100, 80, 30)],
    [Shape("clock", "white", 12, 30, 36), Shape("banana", "yellow", 60, 80, 36), Shape("cat", "red", 110, 40, 36)],
    [Shape("mirror", "white", 84, 20, 66), Shape("dog", "red", 100, 55, 32), Shape("dog", "red", 20, 60, 38)],
    [Shape("dog", "blue", 14, 80, 38), Shape("orange", "yellow", 62, 30, 34), Shape("apple", "red", 110, 70, 36)],
    [Shape("cat", "green", 20, 40, 34), Shape("cat", "blue", 100, 60, 44), Shape("clock", "red", 62, 110, 30)],
    [Shape("orange", "yellow", 20, 40, 34), Shape("cup", "green", 100, 60, 40), Shape("dog", "white", 58, 100, 34)],
    [Shape("banana", "yellow", 20, 40, 36), Shape("banana", "green", 100, 60, 36), Shape("cat", "red", 60, 110, 30)],
]


def draw_scene(shapes: list[Shape], number: int) -> Image.Image:
    rows = np.linspace(150, 210, 160, dtype=np.uint8)[:, None].repeat(160, axis=1)
    grain = np.random.default_rng(number).integers(0, 5, (160, 160), dtype=np.uint8)
    base = np.dstack([rows + grain, rows - 20 + grain, rows - (5 * number) % 60 + grain])
    image = Image.fromarray(base.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for shape in shapes:
        _draw(pen, shape, (225, 235, 240) if shape.kind == "mirror" else COLORS[shape.color])
    return image


def write_coco(folder: Path, scenes: list[list[Shape]] = SCENES) -> Path:
    """Write `images/*.png`, `instances.json` and `knowledge.toml`; returns the folder of pictures."""
    from pycocotools import mask as coco_mask

    images, annotations = [], []
    pictures = folder / "images"
    pictures.mkdir(parents=True)
    for number, shapes in enumerate(scenes):
        draw_scene(shapes, number).save(pictures / f"{number:03d}.png")
        images.append({"id": number, "file_name": f"{number:03d}.png", "width": 160, "height": 160, "license": 4})
        for shape in shapes:
            canvas = Image.new("L", (160, 160))
            _draw(ImageDraw.Draw(canvas), shape, 255)
            code = coco_mask.encode(np.asfortranarray(np.asarray(canvas) > 0).astype(np.uint8))
            box = [float(v) for v in coco_mask.toBbox(code)]
            record = {"size": [160, 160], "counts": code["counts"].decode()}
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": KINDS.index(shape.kind) + 1,
                    "bbox": box,
                    "iscrowd": 0,
                    "segmentation": record,
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i + 1, "name": name} for i, name in enumerate(KINDS)],
        "licenses": [{"id": 4, "name": "CC0-1.0"}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    (folder / "knowledge.toml").write_text(TABLE)
    return pictures
