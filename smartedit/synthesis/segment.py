"""Stage segment: cut out the chosen thing and mark where pixels may change."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from reason_edit.files import atomic_path
from smartedit.config.synthesis import SynthesisConfig
from smartedit.synthesis.colors import measure_color
from smartedit.synthesis.records import Candidate, Grounding, Region
from smartedit.synthesis.regions import bounding_box, box_mask, clean_mask, grow
from smartedit.synthesis.stage import Outcome, Pictures, call_in_batches
from smartedit.tools.protocols import Mask, Operation, SegmentationRequest, Segmenter, ToolError


def segment(
    groundings: Sequence[Grounding],
    candidates: Mapping[str, Candidate],
    pictures: Pictures,
    segmenter: Segmenter,
    root: Path,
    config: SynthesisConfig,
) -> Outcome[Region]:
    """Make a mask and a region for every grounding.

    Args:
        groundings: Of one shard.
        candidates: By id.
        pictures: The pictures.
        segmenter: Cuts out what lies in a box.
        root: The run folder; masks go to `masks/`.
        config: Cleaning, growing and limits.

    Returns:
        Regions; rejections "tool failed", "empty mask", "mask leaves its box" and "region too large".
    """
    outcome: Outcome[Region] = Outcome()
    requests = [
        SegmentationRequest(picture=pictures[grounding.picture_id], box=grounding.box.corners)
        for grounding in groundings
    ]
    answers = call_in_batches(segmenter.segment, requests, config.segmenter.batch_size)
    for grounding, request, answer in zip(groundings, requests, answers, strict=True):
        candidate = candidates[grounding.candidate_id]
        if isinstance(answer, ToolError):
            outcome.reject(candidate, "segment", "tool failed", str(answer))
            continue
        thing = clean_mask(answer, config.region)
        if not thing.any():
            outcome.reject(candidate, "segment", "empty mask", "nothing is left after cleaning")
            continue
        height, width = thing.shape
        in_box = (thing & grow(box_mask(grounding.box.corners, height, width), 3)).sum() / thing.sum()
        if in_box < 0.8:
            outcome.reject(candidate, "segment", "mask leaves its box", f"only {in_box:.2f} of it lies inside")
            continue
        mask, region = _mask_and_region(candidate, grounding, thing, config)
        if region.mean() > config.region.max_fraction:
            outcome.reject(candidate, "segment", "region too large", f"{region.mean():.2f} of the picture")
            continue
        paths = {name: f"masks/{candidate.candidate_id}.{name}.png" for name in ("mask", "region")}
        write_mask(root / paths["mask"], mask)
        write_mask(root / paths["region"], region)
        outcome.rows.append(
            Region(
                candidate_id=candidate.candidate_id,
                mask=paths["mask"],
                region=paths["region"],
                mask_fraction=float(mask.mean()),
                region_fraction=float(region.mean()),
                color=measure_color(request.picture.image, thing).name,
            )
        )
    return outcome


def _mask_and_region(
    candidate: Candidate, grounding: Grounding, thing: Mask, config: SynthesisConfig
) -> tuple[Mask, Mask]:
    height, width = thing.shape
    reach = round(config.region.dilate * max(height, width))
    if candidate.operation is Operation.ADD:
        assert grounding.free_box is not None
        free = box_mask(grounding.free_box.corners, height, width)
        return free, free
    x0, y0, x1, y1 = bounding_box(thing)
    below = config.region.shadow * (y1 - y0)
    foot = box_mask((x0 - below, y1 - below, x1 + below, y1 + below), height, width)
    for other in grounding.others:
        foot &= ~box_mask(other.corners, height, width)
    region = grow(thing, reach) | foot
    if candidate.operation is Operation.REPLACE and config.region.replace_shape == "box":
        room = box_mask((x0 - reach, y0 - reach, x1 + reach, y1 + reach), height, width)
        for other in grounding.others:
            # Neighbours keep their pixels; what the thing stands on is no neighbour.
            corners = other.corners
            holds = corners[0] <= x0 and corners[1] <= y0 and corners[2] >= x1 and corners[3] >= y1
            if not holds:
                room &= ~box_mask(corners, height, width)
        region = region | room
    return thing, region


def write_mask(path: Path, mask: Mask) -> None:
    """Write a mask as a PNG of 0 and 255, whole or not at all."""
    with atomic_path(path) as temporary:
        Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, optimize=False)
