"""COCO ground truth as a grounder and a segmenter: what the annotators marked instead of what a detector believes."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smartedit.data.faults import FaultyRecordError
from smartedit.data.masks import decode_mask as decode_rle
from smartedit.data.masks import mask_from_coco
from smartedit.tools.protocols import Box, Detection, GroundingRequest, Mask, SegmentationRequest, ToolError


class AnnotationError(ValueError):
    """An annotation file cannot be used; the message names the file, the field and the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatedThing:
    """One annotated instance, in the pixels of the picture as it is on disk."""

    kind: str
    box: Box
    segmentation: Any
    crowd: bool
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AnnotatedPicture:
    """A picture of an annotation file; the size is the one that coordinates refer to."""

    file_name: str
    width: int
    height: int
    license: str | None
    url: str | None
    things: tuple[AnnotatedThing, ...]

    def counts(self) -> Counter[str]:
        """How many things of each kind there are, crowds counted as many."""
        counts: Counter[str] = Counter()
        for thing in self.things:
            counts[thing.kind] += 99 if thing.crowd else 1
        return counts


def read_coco(path: Path | str) -> dict[str, AnnotatedPicture]:
    """The pictures of a COCO detection file, by file name.

    Args:
        path: `instances_*.json`: a mapping with `images`, `annotations` and `categories`.

    Returns:
        Annotated pictures by `file_name`, in the order of the file.

    Raises:
        AnnotationError: The file is missing or not of that form.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AnnotationError(f"{path}: there is no such annotation file") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise AnnotationError(f"{path}: holds a {type(content).__name__}; expected a COCO detection file, a mapping")
    for field in ("images", "annotations", "categories"):
        if not isinstance(content.get(field), list):
            raise AnnotationError(
                f"{path}: no list {field!r}; a COCO detection file has images, annotations, categories"
            )
    try:
        return _pictures(content)
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{path}: a record is not of the COCO form ({type(error).__name__}: {error})") from error


def _pictures(content: Mapping[str, Any]) -> dict[str, AnnotatedPicture]:
    kinds = {c["id"]: str(c["name"]) for c in content["categories"]}
    licenses = {entry["id"]: str(entry.get("name", "")) for entry in content.get("licenses") or ()}
    things: dict[Any, list[AnnotatedThing]] = {}
    for record in content["annotations"]:
        x, y, width, height = (float(v) for v in record["bbox"])
        thing = AnnotatedThing(
            kind=kinds[record["category_id"]],
            box=(x, y, x + width, y + height),
            segmentation=record.get("segmentation"),
            crowd=bool(record.get("iscrowd", 0)),
            score=float(record.get("score", 1.0)),
        )
        things.setdefault(record["image_id"], []).append(thing)
    return {
        image["file_name"]: AnnotatedPicture(
            file_name=str(image["file_name"]),
            width=int(image["width"]),
            height=int(image["height"]),
            license=licenses.get(image.get("license")),
            url=image.get("coco_url") or image.get("flickr_url"),
            things=tuple(things.get(image["id"], ())),
        )
        for image in content["images"]
    }


def decode_mask(segmentation: Any, height: int, width: int) -> Mask:
    """A COCO segmentation as a mask: the union of polygons, or a run-length code in either form.

    Raises:
        ToolError: There is no usable segmentation.
    """
    if isinstance(segmentation, list):
        segmentation = [p for p in segmentation if not isinstance(p, list) or len(p) >= 6]
    if not segmentation:
        raise ToolError("the annotation has no segmentation")
    try:
        return decode_rle(mask_from_coco(segmentation, height, width))
    except FaultyRecordError as error:
        raise ToolError(f"the annotation's segmentation cannot be used: {error}") from error


class CocoAnnotations:
    """Ground truth that answers as a grounder and as a segmenter.

    Args:
        pictures: Annotated pictures by picture id.
    """

    def __init__(self, pictures: Mapping[str, AnnotatedPicture]) -> None:
        self._pictures = pictures

    def ground(self, requests: Sequence[GroundingRequest]) -> list[list[Detection]]:
        """The annotated things of the asked kind, in the order of the file.

        Raises:
            ToolError: A picture has no annotations (edited pictures have none), or holds a crowd of the kind.
        """
        return [self._ground(request) for request in requests]

    def _ground(self, request: GroundingRequest) -> list[Detection]:
        picture = self._find(request.picture.picture_id)
        scale_x, scale_y = request.picture.image.width / picture.width, request.picture.image.height / picture.height
        found = [thing for thing in picture.things if thing.kind == request.phrase]
        if any(thing.crowd for thing in found):
            raise ToolError(f"the annotations mark a crowd of {request.phrase!r}")
        return [
            Detection(box=_scaled(thing.box, scale_x, scale_y), score=thing.score, phrase=request.phrase)
            for thing in found
        ]

    def segment(self, requests: Sequence[SegmentationRequest]) -> list[Mask]:
        """The annotated mask whose box agrees best with the asked box.

        Raises:
            ToolError: No annotation's box overlaps the asked one by at least 0.8 (intersection over union).
        """
        return [self._segment(request) for request in requests]

    def _segment(self, request: SegmentationRequest) -> Mask:
        import cv2

        picture = self._find(request.picture.picture_id)
        size = request.picture.image.size
        scale_x, scale_y = size[0] / picture.width, size[1] / picture.height
        overlaps = [intersection_over_union(_scaled(t.box, scale_x, scale_y), request.box) for t in picture.things]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or overlaps[best] < 0.8:
            raise ToolError("no annotation at the asked box")
        mask = decode_mask(picture.things[best].segmentation, picture.height, picture.width)
        if mask.shape != (size[1], size[0]):
            mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
        return mask

    def _find(self, picture_id: str | None) -> AnnotatedPicture:
        if picture_id is None or picture_id not in self._pictures:
            raise ToolError(f"no annotations for picture {picture_id!r}")
        return self._pictures[picture_id]


def _scaled(box: Box, scale_x: float, scale_y: float) -> Box:
    return box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y


def intersection_over_union(first: Box, second: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    inner = width * height
    areas = (first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1])
    return inner / (areas - inner)
