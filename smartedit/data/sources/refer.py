"""RefCOCO, RefCOCO+ and RefCOCOg: referring expressions to COCO objects, in the layout of the refer tools.

One row is one reference: an object, and all the expressions that people gave for it.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartedit.data.annotation_files import load_plain_pickle, load_whole
from smartedit.data.examples import ImageRef, MaskRle, Reason, Rejection, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError, file_names, find_pictures, probe
from smartedit.data.masks import Overlap, area, mask_from_coco
from smartedit.data.sources.origins import origin

logger = logging.getLogger(__name__)

TRAIN2014 = (
    "train2014",
    "images/train2014",
    "coco/train2014",
    "coco2014/train2014",
    "coco_2014/images/train2014",
    "images/mscoco/images/train2014",
    "refer_seg/images/mscoco/images/train2014",
)
LARGEST = 30_000
"""Pixels of the longest side that a picture can have; a larger one is a mistake that would fill the memory."""
SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Instances:
    """COCO's `instances.json`: pictures, objects and category names by id."""

    images: Mapping[int, Mapping[str, Any]]
    annotations: Mapping[int, Mapping[str, Any]]
    categories: Mapping[int, str]

    @classmethod
    def load(cls, path: Path) -> "Instances":
        """Read the file; raises SourceError when it is missing or no COCO file."""
        content = load_whole(path)
        try:
            return cls(
                images={int(image["id"]): image for image in content["images"]},
                annotations={int(a["id"]): a for a in content["annotations"]},
                categories={int(c["id"]): str(c["name"]) for c in content.get("categories", [])},
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise SourceError(f"{path}: no COCO instances file ({type(error).__name__}: {error})") from error

    def category(self, category_id: Any) -> str | None:
        """The name of a category, None where there is none of that id."""
        return self.categories.get(category_id) if isinstance(category_id, int) else None

    def picture(self, image_id: Any, present: frozenset[str]) -> tuple[str, int, int]:
        """File name, height and width of a picture; the name is taken from here and never from the reference."""
        image = self.images.get(image_id) if isinstance(image_id, int) else None
        if image is None:
            raise FaultyRecordError(Reason.MISSING_ANNOTATION, f"image id {image_id!r} is not in instances.json")
        try:
            name = Path(str(image["file_name"])).name
            height, width = int(image["height"]), int(image["width"])
        except KeyError as error:
            raise FaultyRecordError(Reason.MISSING_FIELD, f"image {image_id}: {error} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise FaultyRecordError(Reason.BAD_RECORD, f"image {image_id}: no size in pixels ({error})") from error
        if not (0 < height <= LARGEST and 0 < width <= LARGEST):
            raise FaultyRecordError(Reason.BAD_RECORD, f"image {image_id}: a size of {width} x {height} pixels")
        if name not in present:
            raise FaultyRecordError(Reason.MISSING_IMAGE, f"{name} is not in the picture folder")
        return name, height, width

    def mask(self, ann_id: Any, height: int, width: int, overlap: Overlap) -> MaskRle:
        """The mask of one object."""
        annotation = self.annotations.get(ann_id) if isinstance(ann_id, int) else None
        if annotation is None:
            raise FaultyRecordError(Reason.MISSING_ANNOTATION, f"annotation id {ann_id!r} is not in instances.json")
        try:
            return mask_from_coco(annotation.get("segmentation"), height, width, overlap)
        except FaultyRecordError as error:
            raise FaultyRecordError(error.reason, f"annotation {ann_id}: {error}") from error


def expressions(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The expressions of a reference, stripped, without empty ones.

    Raises:
        FaultyRecordError: There is none.
    """
    sentences = record.get("sentences")
    if not isinstance(sentences, list):
        raise FaultyRecordError(Reason.MISSING_FIELD, "the reference has no list of sentences")
    texts = [s.get("sent") or s.get("raw") for s in sentences if isinstance(s, dict)]
    kept = tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())
    if not kept:
        raise FaultyRecordError(Reason.EMPTY_TEXT, "the reference has no sentence")
    return kept


def in_split(record_split: str, split: str) -> bool:
    """Whether a reference belongs to a split, by the rule of the refer tools.

    `train` and `val` match exactly, `testA` and the like by their last letter among the test splits, and `test` matches
    every test split.
    """
    if split in ("testA", "testB", "testC"):
        return "test" in record_split and split[-1] in record_split
    if split == "test":
        return "test" in record_split
    return record_split == split


def load_references(folder: Path, stem: str) -> tuple[Path, list[Any]]:
    """The references file of a folder, as a pickle or as JSON, and its records."""
    for name in (f"{stem}.p", f"{stem}.json"):
        path = folder / name
        if path.is_file():
            records = load_plain_pickle(path) if name.endswith(".p") else load_whole(path)
            if not isinstance(records, list):
                raise SourceError(f"{path}: a list of references was expected, got {type(records).__name__}")
            return path, records
    raise SourceError(f"{folder}: neither {stem}.p nor {stem}.json is there")


def references_folder(root: Path, dataset: str, stem: str) -> Path:
    """The folder below `root` with a data set's references and its instances.json."""
    inner = (dataset, f"{dataset}/{dataset}", f"refer_seg/{dataset}", f"coco_2014/{dataset}", f"data/{dataset}")

    def matches(folder: Path) -> bool:
        references = any((folder / f"{stem}{suffix}").is_file() for suffix in (".p", ".json"))
        return references and (folder / "instances.json").is_file()

    own_name = root.resolve().name == dataset
    variants = [".", *inner] if own_name else [*inner, "."]
    return probe(root, variants, matches, f"{stem}.p with instances.json")


def locate(
    root: Path,
    split: str,
    *,
    dataset: str = "refcoco",
    split_by: str | None = None,
    image_root: Path | None = None,
    overlap: Overlap = "union",
    shared: Origin | None = None,
) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    split_by = split_by or SPLIT_BY.get(dataset, "unc")
    shared = shared or origin("refcoco", dataset, split, root)
    stem = f"refs({split_by})"
    folder = references_folder(root, dataset, stem)
    pictures = find_pictures(image_root, folder, TRAIN2014)
    references = next(
        folder / f"{stem}{suffix}" for suffix in (".p", ".json") if (folder / f"{stem}{suffix}").is_file()
    )

    def rows() -> Iterator[TrainingExample | Rejection]:
        instances = Instances.load(folder / "instances.json")
        _, records = load_references(folder, stem)
        check_split(references, records, split)
        present, prefix = file_names(pictures), shared.relative(pictures)
        for position, record in enumerate(records):
            if isinstance(record, dict) and not in_split(str(record.get("split")), split):
                continue
            record_id = str(record.get("ref_id", f"#{position}")) if isinstance(record, dict) else f"#{position}"
            try:
                yield _example(record, instances, present, prefix, shared, f"{split_by}/{split}/{record_id}", overlap)
            except FaultyRecordError as error:
                yield Rejection(source=shared.source, record_id=record_id, reason=error.reason, detail=str(error))

    return Found(
        layout=f"{dataset} references split by {split_by}: {references.name} and instances.json in {folder}, "
        f"pictures in {pictures}",
        inputs=(references, folder / "instances.json"),
        folders=(pictures,),
        rows=rows,
    )


def check_split(path: Path, records: list[Any], split: str) -> None:
    """Raise SourceError when no record at all belongs to the split, naming the splits that there are."""
    splits = {str(record.get("split")) for record in records if isinstance(record, dict)}
    if not any(in_split(name, split) for name in splits):
        raise SourceError(f"{path}: no reference is of split {split!r}; it holds {', '.join(sorted(splits))}")


def _example(
    record: Any,
    instances: Instances,
    present: frozenset[str],
    prefix: str,
    shared: Origin,
    key: str,
    overlap: Overlap,
) -> TrainingExample:
    if not isinstance(record, dict):
        raise FaultyRecordError(Reason.BAD_RECORD, f"a reference is a dict, not {type(record).__name__}")
    phrases = expressions(record)
    name, height, width = instances.picture(record.get("image_id"), present)
    ann_ids = record.get("ann_id")
    ann_id = ann_ids[0] if isinstance(ann_ids, list) and len(ann_ids) == 1 else ann_ids
    mask = instances.mask(ann_id, height, width, overlap)
    if not area(mask):
        raise FaultyRecordError(Reason.EMPTY_MASK, f"the mask of annotation {ann_id} holds no pixel")
    return TrainingExample(
        example_id=f"{shared.source}/{key}",
        source=shared.source,
        task=Task.SEGMENT,
        image=ImageRef(path=f"{prefix}/{name}"),
        mask_rle=mask,
        phrases=phrases,
        category=instances.category(record.get("category_id")),
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def read(
    root: Path,
    split: str = "train",
    *,
    dataset: str = "refcoco",
    split_by: str | None = None,
    image_root: Path | None = None,
    overlap: Overlap = "union",
    shared: Origin | None = None,
) -> Iterator[TrainingExample | Rejection]:
    """Read RefCOCO, RefCOCO+ or RefCOCOg.

    Args:
        root: Folder of the references, or one above it in any of the usual layouts.
        split: `train`, `val`, `test`, `testA`, `testB`.
        dataset: `refcoco`, `refcoco+` or `refcocog`.
        split_by: `unc`, `google` or `umd`; None for what is usual for the data set.
        image_root: Folder of COCO train2014; None to look around the references.
        overlap: What becomes of pixels that two parts of one object share.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a reference, or a rejection.

    Raises:
        SourceError: Nothing readable is there, or no reference is of the split.
    """
    found = locate(
        root, split, dataset=dataset, split_by=split_by, image_root=image_root, overlap=overlap, shared=shared
    )
    logger.info("%s", found.layout)
    yield from found.rows()
