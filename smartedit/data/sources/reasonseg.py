"""LISA's ReasonSeg: questions whose answer is a region of the picture.

One row is one picture with all its questions. The mask follows LISA's rule: larger shapes are painted first, so that a
smaller one lies on top; `flag` shapes are left out, and `ignore` shapes become a region that is not scored. Shapes lie
on the picture as LISA reads it: upright by its EXIF note.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.data.annotation_files import load_json
from smartedit.data.examples import ImageRef, MaskRle, Reason, Rejection, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import PICTURE_SUFFIXES, Found, Origin, SourceError, file_names, probe
from smartedit.data.masks import encode_mask
from smartedit.data.pictures import unreadable, upright_size
from smartedit.data.sources.origins import origin

logger = logging.getLogger(__name__)

FOLDERS = ("ReasonSeg/{split}", "reason_seg/ReasonSeg/{split}", "reason_seg/{split}", "{split}", ".")
TARGET, IGNORE = 1, 255
SMARTEDIT_MASK_THRESHOLD = 255


def rasterise(shapes: Any, height: int, width: int) -> NDArray[np.uint8]:
    """The label picture of a record's shapes: 0 background, 1 target, 255 ignored.

    Args:
        shapes: The record's `shapes`, each with a `label` and `points`; points outside of the picture are clipped.
        height: Rows of the picture.
        width: Columns of the picture.

    Raises:
        FaultyRecordError: A shape lacks its label or has fewer than three points.
    """
    import cv2

    painted = []
    for shape in shapes:
        label, points = _shape(shape)
        if label.lower() == "flag":
            continue
        layer = np.zeros((height, width), np.uint8)
        cv2.polylines(layer, [points], True, 1, 1)
        cv2.fillPoly(layer, [points], 1)
        painted.append((int(layer.sum()), label, layer))
    result = np.zeros((height, width), np.uint8)
    ascending = np.argsort([area for area, _, _ in painted], kind="stable")
    for _, label, layer in (painted[i] for i in ascending[::-1]):  # of equal ones the first lies on top
        result[layer == 1] = IGNORE if "ignore" in label.lower() else TARGET
    return result


def _shape(shape: Any) -> tuple[str, NDArray[np.int32]]:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        raise FaultyRecordError(Reason.MISSING_FIELD, "a shape has no label")
    try:
        points = np.array(shape.get("points"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise FaultyRecordError(Reason.BAD_POLYGON, f"shape {shape['label']!r}: points are no numbers") from error
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
        raise FaultyRecordError(Reason.BAD_POLYGON, f"shape {shape['label']!r} is no polygon of three points or more")
    return shape["label"], points.clip(-32768, 32767).astype(np.int32)


def locate(
    root: Path,
    split: str,
    *,
    image_root: Path | None = None,
    mask_root: Path | None = None,
    mask_threshold: int = 128,
    shared: Origin | None = None,
) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    shared = shared or origin("reasonseg", "reasonseg", split, root)
    variants = [folder.format(split=split) for folder in FOLDERS]
    folder = probe(root, variants, _holds_records, f"ReasonSeg split {split!r} (json files)")
    pictures = image_root or folder

    def rows() -> Iterator[TrainingExample | Rejection]:
        by_stem = {name.rpartition(".")[0]: name for name in sorted(file_names(pictures)) if _is_picture(name)}
        records = {name.removesuffix(".json") for name in file_names(folder) if name.endswith(".json")}
        for stem in sorted(records | (set(by_stem) if pictures == folder else set())):
            try:
                if stem not in records:
                    raise FaultyRecordError(Reason.MISSING_ANNOTATION, f"{by_stem[stem]} has no json file")
                if stem not in by_stem:
                    raise FaultyRecordError(Reason.MISSING_IMAGE, f"{stem}.json has no picture")
                image = pictures / by_stem[stem]
                record = load_json(folder / f"{stem}.json")
                with unreadable(image.name), Image.open(image) as picture:
                    stored, upright = picture.size, upright_size(picture)
                labels = _labels(record, stem, upright, stored, mask_root, mask_threshold)
                yield _example(record, labels, ImageRef(path=shared.relative(image)), shared, stem)
            except FaultyRecordError as error:
                yield Rejection(source=shared.source, record_id=stem, reason=error.reason, detail=str(error))

    masks = f", masks in {mask_root}" if mask_root else ""
    return Found(
        layout=f"ReasonSeg: json files in {folder}, pictures in {pictures}{masks}",
        inputs=tuple(sorted(folder.glob("*.json"))),
        folders=tuple(path for path in (folder, pictures, mask_root) if path is not None),
        rows=rows,
    )


def _holds_records(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.endswith(".json") for entry in entries)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(PICTURE_SUFFIXES)


def _labels(
    record: Any,
    stem: str,
    upright: tuple[int, int],
    stored: tuple[int, int],
    mask_root: Path | None,
    threshold: int,
) -> NDArray[np.uint8]:
    """The label picture of a record; of width and height `upright`, or `stored` where a mask picture is drawn so."""
    if not isinstance(record, dict):
        raise FaultyRecordError(Reason.BAD_RECORD, f"{stem}.json: a dict was expected, got {type(record).__name__}")
    if mask_root is None:
        if not isinstance(record.get("shapes"), list):
            raise FaultyRecordError(Reason.MISSING_FIELD, f"{stem}.json has no list of shapes")
        return rasterise(record["shapes"], height=upright[1], width=upright[0])
    for suffix in PICTURE_SUFFIXES:
        path = mask_root / f"{stem}{suffix}"
        if path.is_file():
            with unreadable(path.name, "mask"), Image.open(path) as mask:
                size, values = mask.size, np.asarray(mask.convert("L"))
            if size not in (upright, stored):
                raise FaultyRecordError(Reason.SIZE_MISMATCH, f"{path.name} is {size}, the picture is {upright}")
            return (values >= threshold).astype(np.uint8)
    raise FaultyRecordError(Reason.MISSING_ANNOTATION, f"no mask picture of {stem} in the mask folder")


def _example(
    record: Mapping[str, Any], labels: NDArray[np.uint8], image: ImageRef, shared: Origin, stem: str
) -> TrainingExample:
    if not (labels == TARGET).any():
        raise FaultyRecordError(Reason.EMPTY_MASK, f"{stem}: the target holds no pixel")
    texts = record.get("text")
    texts = [texts] if isinstance(texts, str) else texts
    kept = tuple(t.strip() for t in texts if isinstance(t, str) and t.strip()) if isinstance(texts, list) else ()
    if not kept:
        raise FaultyRecordError(Reason.EMPTY_TEXT, f"{stem}.json has no text")
    name = record.get("Name")
    named = isinstance(name, str) and bool(name.strip())
    asks = named or bool(record.get("is_sentence", True))
    ignored: MaskRle | None = encode_mask(labels == IGNORE) if (labels == IGNORE).any() else None
    return TrainingExample(
        example_id=f"{shared.source}/{shared.split}/{stem}",
        source=shared.source,
        task=Task.SEGMENT,
        image=image,
        mask_rle=encode_mask(labels == TARGET),
        ignore_rle=ignored,
        phrases=(str(name).strip(),) if named else () if asks else kept,
        instructions=kept if asks else (),
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def read(
    root: Path,
    split: str = "train",
    *,
    image_root: Path | None = None,
    mask_root: Path | None = None,
    mask_threshold: int = 128,
    shared: Origin | None = None,
) -> Iterator[TrainingExample | Rejection]:
    """Read ReasonSeg.

    Long questions (`is_sentence`) become `instructions`; short phrases become `phrases`. The optional key `Name` of the
    authors' own annotation becomes the phrase, and then every text is a question.

    Args:
        root: The split's folder, or one above it in any of the usual layouts.
        split: `train`, `val` or `test`.
        image_root: Folder of the pictures; None for the json files' own.
        mask_root: Folder of mask pictures named like the records, used instead of the shapes.
        mask_threshold: Grey value from which a mask picture is target; the authors' code demands 255 and so loses the
            border of JPEG masks.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a picture, or a rejection.

    Raises:
        SourceError: Nothing readable is there.
    """
    if not 1 <= mask_threshold <= 255:
        raise SourceError(f"mask_threshold is {mask_threshold}; it lies between 1 and 255")
    found = locate(
        root, split, image_root=image_root, mask_root=mask_root, mask_threshold=mask_threshold, shared=shared
    )
    logger.info("%s", found.layout)
    yield from found.rows()
