"""COCO pictures with instances, and the COCO-Stuff label maps that belong to them."""

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reason_edit.files import write_text
from smartedit.miniature.canvas import STUFF
from smartedit.miniature.drawing import Drawing, draw
from smartedit.miniature.formats.factory import knowledge_table
from smartedit.miniature.formats.files import jpeg, png, write_json, write_once
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.outlines import coco_segmentation
from smartedit.miniature.scenes import Scene
from smartedit.miniature.stock import Stock

INSTANCES = Path("coco/annotations/instances_train2017.json")
MIRROR_ID = 66
"""COCO's number for a mirror, a category that it dropped; only the detection file uses it."""

UNLABELED = 255
ABSENT = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)
"""Numbers of categories that COCO dropped."""

SUPERCATEGORIES = (
    (1, "person"),
    (9, "vehicle"),
    (15, "outdoor"),
    (25, "animal"),
    (33, "accessory"),
    (43, "sports"),
    (51, "kitchen"),
    (61, "food"),
    (70, "furniture"),
    (77, "electronic"),
    (82, "appliance"),
    (90, "indoor"),
)
"""The last category number of each supercategory."""


def image_id(number: int) -> int:
    """The id of a picture; not its position, as in the real sets."""
    return 1009 + 3 * number


def annotation_id(number: int, thing: int) -> int:
    """The id of a thing's annotation."""
    return 3007 + 10 * number + thing


def name_2017(number: int) -> str:
    """File name of a picture in train2017."""
    return f"{image_id(number):012d}.jpg"


def name_2014(number: int) -> str:
    """File name of the same picture in train2014."""
    return f"COCO_train2014_{image_id(number):012d}.jpg"


def label_names() -> dict[int, str]:
    """The names of the COCO-Stuff labels by id, as in labels.txt (0 is unlabeled)."""
    lines = _labels_text().splitlines()
    return {int(number): name.strip() for number, _, name in (line.partition(":") for line in lines)}


def _labels_text() -> str:
    path = resources.files("smartedit.miniature.formats").joinpath("coco_stuff_labels.txt")
    return path.read_text(encoding="utf-8")


def categories(with_mirror: bool) -> list[dict[str, Any]]:
    """The 80 categories of COCO, and the mirror where wanted."""
    names = label_names()
    numbers = [n for n in range(1, 91) if n not in ABSENT or (with_mirror and n == MIRROR_ID)]
    return [
        {"supercategory": next(word for last, word in SUPERCATEGORIES if n <= last), "id": n, "name": names[n]}
        for n in numbers
    ]


def write(out: Path, stock: Stock) -> None:
    """Write the pictures under both names, the label maps, the factory's knowledge, and the detection file."""
    for name in ("labels.txt", "ft_local/coco_stuff_labels.txt"):
        write_text(out / "cocostuff" / name, _labels_text())
    write_text(out / "coco" / "knowledge.toml", knowledge_table())
    images, annotations = [], []
    for number in range(stock.count):
        scene = stock.scene(number)
        drawing = draw(scene, stock.size)
        content = jpeg(drawing.image)
        write_once(out / "coco" / "train2017" / name_2017(number), content)
        write_once(out / "coco" / "train2014" / name_2014(number), content)
        write_once(out / "cocostuff" / "train2017" / f"{image_id(number):012d}.png", png(label_map(scene, drawing)))
        images.append(image_record(stock, number))
        annotations += annotation_records(scene, drawing, number)
    write_json(out / INSTANCES, instances(stock, images, annotations, categories(with_mirror=True)))


def instances(
    stock: Stock, images: list[dict[str, Any]], annotations: list[dict[str, Any]], kinds: list[dict[str, Any]]
) -> dict[str, Any]:
    """The content of a COCO detection file."""
    return {
        "info": {"description": f"smartedit miniature, seed {stock.seed}", "version": "1.0", "year": 2014},
        "licenses": [{"id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}],
        "images": images,
        "annotations": annotations,
        "categories": kinds,
    }


def image_record(stock: Stock, number: int) -> dict[str, Any]:
    """The entry of one picture."""
    return {
        "license": 1,
        "file_name": name_2017(number),
        "coco_url": "",
        "height": stock.size,
        "width": stock.size,
        "date_captured": "2013-11-21 23:06:41",
        "flickr_url": "",
        "id": image_id(number),
    }


def annotation_records(scene: Scene, drawing: Drawing, number: int) -> list[dict[str, Any]]:
    """The entries of a picture's things and reflections, and of its mirror (the last one)."""
    records = [
        _record(drawing.mask(k), annotation_id(number, k), image_id(number), KINDS[thing.kind].coco_id)
        for k, thing in enumerate(scene.things)
    ]
    if scene.mirror is not None:
        mask = drawing.stuff == STUFF["mirror-stuff"][0]
        mask &= drawing.coverage.max(axis=0) < 0.5
        records.append(_record(mask, annotation_id(number, 9), image_id(number), MIRROR_ID))
    return records


def _record(mask: NDArray[np.bool_], number: int, picture: int, category: int) -> dict[str, Any]:
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    box = [float(x), float(y), float(columns.max() + 1 - x), float(rows.max() + 1 - y)]
    return {
        "segmentation": coco_segmentation(mask),
        "area": float(mask.sum()),
        "iscrowd": 0,
        "image_id": picture,
        "bbox": box,
        "category_id": category,
        "id": number,
    }


def label_map(scene: Scene, drawing: Drawing) -> NDArray[np.uint8]:
    """The COCO-Stuff values of a picture: ids of labels.txt less one; 255 on contours, which are neither."""
    values = (drawing.stuff - 1).astype(np.uint8)
    if scene.things:
        covered = drawing.coverage.sum(axis=0)
        values[(covered > 0.2) & (covered < 0.5)] = UNLABELED
    for k, thing in enumerate(scene.things):
        values[drawing.mask(k)] = KINDS[thing.kind].coco_id - 1
    return values
