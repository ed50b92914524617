"""gRefCOCO: expressions that refer to one object, to several, or to nothing in the picture.

One row is one reference. Where nothing is meant the mask is empty and the painted target equals the source.
"""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smartedit.data.examples import ImageRef, MaskRle, Reason, Rejection, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError, file_names, find_pictures
from smartedit.data.masks import area, empty_mask, union
from smartedit.data.sources.origins import origin
from smartedit.data.sources.refer import (
    TRAIN2014,
    Instances,
    check_split,
    expressions,
    in_split,
    load_references,
    references_folder,
)

logger = logging.getLogger(__name__)

SPLITS = ("train", "val", "testA", "testB")
NO_TARGET = -1


class ObjectMasks:
    """The masks of objects, each made once however many references name it."""

    def __init__(self, instances: Instances) -> None:
        self.instances = instances
        self._made: dict[int, MaskRle] = {}

    def target(self, ann_ids: list[Any], height: int, width: int) -> MaskRle:
        """The union of the objects that are no crowds; the mask of nothing for a reference without a target."""
        if ann_ids == [NO_TARGET]:
            return empty_mask(height, width)
        annotations = self.instances.annotations
        single = [i for i in ann_ids if not (isinstance(i, int) and annotations.get(i, {}).get("iscrowd"))]
        if not single:
            raise FaultyRecordError(Reason.ALL_CROWD, f"all of the objects {ann_ids} are crowds")
        merged = union([self._mask(i, height, width) for i in single])
        if not area(merged):
            raise FaultyRecordError(Reason.EMPTY_MASK, f"the masks of {ann_ids} hold no pixel")
        return merged

    def _mask(self, ann_id: Any, height: int, width: int) -> MaskRle:
        if not isinstance(ann_id, int) or ann_id not in self._made:
            self._made[ann_id] = self.instances.mask(ann_id, height, width, "union")
        mask = self._made[ann_id]
        if (mask.height, mask.width) != (height, width):
            raise FaultyRecordError(Reason.SIZE_MISMATCH, f"object {ann_id} belongs to a picture of another size")
        return mask


def locate(root: Path, split: str, *, image_root: Path | None = None, shared: Origin | None = None) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    if split not in SPLITS:
        raise SourceError(f"gRefCOCO has no split {split!r}; its splits are {', '.join(SPLITS)}")
    shared = shared or origin("grefcoco", "grefcoco", split, root)
    stem = "grefs(unc)"
    folder = references_folder(root, "grefcoco", stem)
    pictures = find_pictures(image_root, folder, TRAIN2014)
    references = next(
        folder / f"{stem}{suffix}" for suffix in (".p", ".json") if (folder / f"{stem}{suffix}").is_file()
    )

    def rows() -> Iterator[TrainingExample | Rejection]:
        _, records = load_references(folder, stem)
        check_split(references, records, split)
        masks = ObjectMasks(Instances.load(folder / "instances.json"))
        present, prefix = file_names(pictures), shared.relative(pictures)
        for position, record in enumerate(records):
            if isinstance(record, dict) and not in_split(str(record.get("split")), split):
                continue
            record_id = str(record.get("ref_id", f"#{position}")) if isinstance(record, dict) else f"#{position}"
            try:
                yield _example(record, masks, present, prefix, shared, f"unc/{split}/{record_id}")
            except FaultyRecordError as error:
                yield Rejection(source=shared.source, record_id=record_id, reason=error.reason, detail=str(error))

    return Found(
        layout=f"gRefCOCO: {references.name} and instances.json in {folder}, pictures in {pictures}",
        inputs=(references, folder / "instances.json"),
        folders=(pictures,),
        rows=rows,
    )


def _example(
    record: Any, masks: ObjectMasks, present: frozenset[str], prefix: str, shared: Origin, key: str
) -> TrainingExample:
    if not isinstance(record, dict):
        raise FaultyRecordError(Reason.BAD_RECORD, f"a reference is a dict, not {type(record).__name__}")
    phrases = expressions(record)
    name, height, width = masks.instances.picture(record.get("image_id"), present)
    ann_ids = _ann_ids(record)
    return TrainingExample(
        example_id=f"{shared.source}/{key}",
        source=shared.source,
        task=Task.SEGMENT,
        image=ImageRef(path=f"{prefix}/{name}"),
        mask_rle=masks.target(ann_ids, height, width),
        phrases=phrases,
        category=_category(record, masks.instances),
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def _ann_ids(record: Mapping[str, Any]) -> list[Any]:
    """The objects meant: `ann_id` is a list, or a number in files of older tools."""
    ann_ids = record.get("ann_id")
    if isinstance(ann_ids, int):
        ann_ids = [ann_ids]
    if not isinstance(ann_ids, list) or not ann_ids:
        raise FaultyRecordError(Reason.MISSING_FIELD, f"ann_id is {ann_ids!r}, not a list of object ids")
    no_target = record.get("no_target")
    if no_target is not None and bool(no_target) != (ann_ids == [NO_TARGET]):
        raise FaultyRecordError(Reason.BAD_RECORD, f"no_target is {no_target!r}, but ann_id is {ann_ids}")
    return ann_ids


def _category(record: Mapping[str, Any], instances: Instances) -> str | None:
    """The category if all objects share one; `no_target` if nothing is meant."""
    ids = record.get("category_id")
    several = ids if isinstance(ids, list) else [ids]
    names = {instances.category(i) for i in several if i != NO_TARGET}
    if not names:
        return "no_target"
    return names.pop() if len(names) == 1 else None


def read(
    root: Path, split: str = "train", *, image_root: Path | None = None, shared: Origin | None = None
) -> Iterator[TrainingExample | Rejection]:
    """Read gRefCOCO.

    Args:
        root: Folder of `grefs(unc).json`, or one above it in any of the usual layouts.
        split: `train`, `val`, `testA` or `testB`; there is no `test`.
        image_root: Folder of COCO train2014; None to look around the references.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a reference, or a rejection.

    Raises:
        SourceError: Nothing readable is there, or no reference is of the split.
    """
    found = locate(root, split, image_root=image_root, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
