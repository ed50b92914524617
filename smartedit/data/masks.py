"""Masks as COCO writes them: polygons, uncompressed and compressed run lengths, label maps and hole masks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smartedit.data.examples import MaskRle, Reason
from smartedit.data.faults import FaultyRecordError

if TYPE_CHECKING:
    from PIL import Image

Overlap = Literal["union", "smartedit"]
"""What becomes of pixels that several parts of one object cover: part of the mask, or lost as in the authors' code."""

FAR = 10
"""How many picture sizes away from the corner a point of a polygon may lie."""


def decode_mask(rle: MaskRle) -> NDArray[np.bool_]:
    """The mask as a bool array of height x width."""
    from pycocotools import mask as coco

    decoded = coco.decode({"size": [rle.height, rle.width], "counts": rle.counts.encode()})
    return np.asarray(decoded, dtype=bool)


def encode_mask(mask: NDArray[np.bool_]) -> MaskRle:
    """A bool array of height x width as run lengths."""
    from pycocotools import mask as coco

    return _record(coco.encode(np.asfortranarray(mask, dtype=np.uint8)))


def empty_mask(height: int, width: int) -> MaskRle:
    """The mask of nothing."""
    from pycocotools import mask as coco

    return _record(coco.frPyObjects({"size": [height, width], "counts": [height * width]}, height, width))


def area(rle: MaskRle) -> int:
    """The number of pixels of a mask."""
    from pycocotools import mask as coco

    return int(coco.area({"size": [rle.height, rle.width], "counts": rle.counts.encode()}))


def union(masks: Sequence[MaskRle]) -> MaskRle:
    """The pixels that any of the masks holds; all must have one size."""
    from pycocotools import mask as coco

    if len(masks) == 1:
        return masks[0]
    return _record(coco.merge([{"size": [m.height, m.width], "counts": m.counts.encode()} for m in masks]))


def mask_from_coco(segmentation: Any, height: int, width: int, overlap: Overlap = "union") -> MaskRle:
    """The mask of a COCO annotation's `segmentation`.

    Args:
        segmentation: A list of flat polygons, a dict of uncompressed or compressed run lengths, or a list of these.
        height: Rows of the picture.
        width: Columns of the picture.
        overlap: `union` joins the parts; `smartedit` loses the pixels that several parts cover, as the authors' sum of
            the parts compared with 1 does.

    Raises:
        FaultyRecordError: A polygon has fewer than three points, run lengths do not fit, or there is no part.
    """
    from pycocotools import mask as coco

    if isinstance(segmentation, dict):
        segmentation = [segmentation]
    if not isinstance(segmentation, list):
        raise FaultyRecordError(
            Reason.BAD_RECORD, f"segmentation is {type(segmentation).__name__}, not polygons or run lengths"
        )
    if not segmentation:
        raise FaultyRecordError(Reason.EMPTY_MASK, "the segmentation is an empty list")
    parts: list[Any] = []
    for part in segmentation:
        if isinstance(part, dict):
            parts.append(_run_lengths(part, height, width))
        else:
            parts.extend(coco.frPyObjects([_polygon(part, FAR * max(height, width))], height, width))
    if overlap == "smartedit" and len(parts) > 1:
        total = np.asarray(coco.decode(parts)).sum(axis=2)
        return encode_mask(total == 1)
    return _record(parts[0] if len(parts) == 1 else coco.merge(parts))


def _polygon(part: Any, limit: int) -> list[float]:
    if not isinstance(part, list) or len(part) < 6 or len(part) % 2:
        count = len(part) if isinstance(part, list) else 0
        raise FaultyRecordError(Reason.BAD_POLYGON, f"a polygon of {count} numbers; three points or more make one")
    try:
        values = [float(value) for value in part]
    except (TypeError, ValueError, OverflowError) as error:
        raise FaultyRecordError(Reason.BAD_POLYGON, f"a polygon of something else than numbers ({error})") from error
    if not all(-limit <= value <= limit for value in values):  # COCO's C code walks every pixel of an edge
        raise FaultyRecordError(Reason.BAD_POLYGON, "a polygon with a point far outside of the picture")
    return values


def _run_lengths(part: dict[str, Any], height: int, width: int) -> Any:
    from pycocotools import mask as coco

    counts, size = part.get("counts"), part.get("size")
    if size != [height, width]:
        raise FaultyRecordError(
            Reason.SIZE_MISMATCH, f"run lengths for a picture of {size}, which has {[height, width]}"
        )
    if isinstance(counts, list):
        if any(not isinstance(c, int) or c < 0 for c in counts) or sum(counts) != height * width:
            raise FaultyRecordError(Reason.BAD_RLE, f"run lengths do not add up to {height} x {width} pixels")
        return coco.frPyObjects(part, height, width)
    if not isinstance(counts, str | bytes) or not runs_fit(counts, height * width):
        raise FaultyRecordError(Reason.BAD_RLE, f"compressed run lengths do not add up to {height} x {width} pixels")
    return {"size": size, "counts": counts.encode() if isinstance(counts, str) else counts}


def runs_fit(counts: str | bytes, pixels: int) -> bool:
    """Whether compressed run lengths are well formed and cover exactly so many pixels.

    COCO's C code trusts its input and writes past the picture if they do not, so a stranger's file is checked first.
    """
    codes = counts if isinstance(counts, bytes) else counts.encode("latin1", "replace")
    runs: list[int] = []
    value = shift = 0
    for code in codes:
        bits = code - 48
        if not 0 <= bits < 64:
            return False
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return shift == 0 and min(runs, default=0) >= 0 and sum(runs) == pixels


def _record(rle: Any) -> MaskRle:
    counts = rle["counts"]
    return MaskRle(
        height=int(rle["size"][0]),
        width=int(rle["size"][1]),
        counts=counts if isinstance(counts, str) else counts.decode(),
    )


def edit_region(mask: "Image.Image", size: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """The editable region of a MagicBrush mask: the hole of a picture with transparency, else what is white.

    Args:
        mask: A picture whose transparent part, or whose white part, is to be edited.
        size: Width and height to bring it to (nearest neighbour), None for its own.

    Returns:
        A bool array of height x width.
    """
    from PIL import Image

    has_alpha = mask.mode in ("RGBA", "LA", "PA") or "transparency" in mask.info
    channel = mask.convert("RGBA").getchannel("A") if has_alpha else mask.convert("L")
    if size is not None:
        channel = channel.resize(size, Image.Resampling.NEAREST)
    values = np.asarray(channel)
    return values == 0 if has_alpha else values >= 128
