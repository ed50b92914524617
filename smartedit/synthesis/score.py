"""Stage score: measure every pair; columns only, no threshold here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.config.synthesis import SynthesisConfig
from smartedit.synthesis.intake import difference_hash
from smartedit.synthesis.records import Candidate, EditedPair, Instructions, QualityScores, Region
from smartedit.synthesis.regions import bounding_box, grow
from smartedit.synthesis.stage import Outcome, Pictures, call_in_batches, read_mask, read_rgb
from smartedit.tools.protocols import (
    ChangeRequest,
    ChangeScores,
    Grounder,
    GroundingRequest,
    ImageTextScorer,
    Mask,
    Operation,
    Picture,
    ToolError,
)

MOVED = 12
"""A pixel moved when one of its channels did by more than so many 8-bit levels."""

NOWHERE = "background"
"""What a removal's crop should look like, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A pair with everything that its scores need."""

    pair: EditedPair
    candidate: Candidate
    source: Image.Image
    target: Image.Image
    mask: Mask
    region: Mask
    source_label: str
    target_label: str | None


def score(
    pairs: Sequence[EditedPair],
    candidates: Mapping[str, Candidate],
    regions: Mapping[str, Region],
    instructions: Mapping[str, Instructions],
    pictures: Pictures,
    scorer: ImageTextScorer | None,
    regrounder: Grounder | None,
    root: Path,
    config: SynthesisConfig,
) -> Outcome[QualityScores]:
    """Score pairs.

    Args:
        pairs: Of one shard; those without instructions are left out, their rejection is in its table already.
        candidates: By id.
        regions: By candidate id.
        instructions: By candidate id.
        pictures: The source pictures.
        scorer: CLIP; None gives NaN columns.
        regrounder: A detector; None gives NaN columns.
        root: The run folder.
        config: Batch sizes.

    Returns:
        A row of scores for every pair; what a tool could not score is NaN.
    """
    outcome: Outcome[QualityScores] = Outcome()
    drafts: list[QualityScores] = []
    changes: list[ChangeRequest] = []
    for pair in pairs:
        if pair.candidate_id not in instructions:
            continue
        said = instructions[pair.candidate_id]
        region = regions[pair.candidate_id]
        judged = Judged(
            pair=pair,
            candidate=candidates[pair.candidate_id],
            source=pictures[candidates[pair.candidate_id].picture_id].image,
            target=read_rgb(root / pair.target),
            mask=read_mask(root / region.mask),
            region=read_mask(root / region.region),
            source_label=said.source_label,
            target_label=said.target_label,
        )
        found, left = _regrounded(judged, regrounder, config)
        drafts.append(_row(judged, found, left))
        if scorer is not None:
            changes.append(_change(judged))
    if scorer is None:
        outcome.rows.extend(drafts)
        return outcome
    answers = call_in_batches(scorer.score, changes, config.scorer.batch_size)
    for draft, answer in zip(drafts, answers, strict=True):
        known = None if isinstance(answer, ToolError) else answer
        outcome.rows.append(_with_change(draft, known, candidates[draft.candidate_id]))
    return outcome


def _with_change(draft: QualityScores, change: ChangeScores | None, candidate: Candidate) -> QualityScores:
    if change is None:
        return draft
    removed = candidate.operation is Operation.REMOVE
    return replace(
        draft,
        clip_target=math.nan if removed else change.target,
        clip_source_drop=change.source_drop,
        clip_direction=change.direction,
    )


def _row(judged: Judged, found: float, left: float) -> QualityScores:
    before, after = np.asarray(judged.source, np.int16), np.asarray(judged.target, np.int16)
    step = np.abs(after - before).max(axis=-1)
    outside = step[~judged.region]
    moved = step > MOVED
    x0, y0, x1, y1 = bounding_box(judged.region)
    return QualityScores(
        pair_id=judged.pair.pair_id,
        candidate_id=judged.pair.candidate_id,
        clip_target=math.nan,
        clip_source_drop=math.nan,
        clip_direction=math.nan,
        target_found=found,
        source_left=left,
        background_error=float(outside.max()) if outside.size else 0.0,
        changed_in_mask=float(moved[judged.mask].mean()),
        changed_fraction=float(moved.mean()),
        seam_energy=seam_energy(np.asarray(judged.source), np.asarray(judged.target), judged.region),
        fill_texture=fill_texture(np.asarray(judged.source), np.asarray(judged.target), judged.mask, judged.region)
        if judged.candidate.operation is Operation.REMOVE
        else math.nan,
        source_hash=difference_hash(judged.source),
        target_hash=difference_hash(judged.target.crop((x0, y0, x1, y1))),
    )


def seam_energy(source: NDArray[np.uint8], target: NDArray[np.uint8], region: Mask) -> float:
    """The step across the region's edge in the target, relative to the source's.

    Both are mean absolute differences of neighbouring pixels, one inside and one outside the region, over all
    horizontal and vertical neighbours; one 8-bit level is added to both so that flat pictures stay finite.

    Args:
        source: uint8 `H x W x 3`.
        target: uint8 `H x W x 3`.
        region: bool `H x W`.

    Returns:
        1 where the edge is as smooth as before, larger where it shows; 1 where the region has no edge.
    """
    before = _step_across(source, region)
    after = _step_across(target, region)
    return 1.0 if before is None or after is None else (after + 1) / (before + 1)


def fill_texture(
    source: NDArray[np.uint8], target: NDArray[np.uint8], mask: Mask, region: Mask, width: float = 0.06
) -> float:
    """The fine texture where something was, relative to that of the ring around its region.

    Texture is the mean absolute Laplacian of the gray picture; half an 8-bit level is added to both, so that flat
    surroundings ask for nothing.

    Args:
        source: uint8 `H x W x 3`.
        target: uint8 `H x W x 3`.
        mask: bool `H x W`, the removed thing.
        region: bool `H x W`, what may have changed.
        width: Of the ring, share of the longer side.

    Returns:
        About 1 for a fill like its surroundings, near 0 for a smear; 1 where there is no ring.
    """
    ring = grow(region, max(3, round(width * max(region.shape)))) & ~region
    if not ring.any():
        return 1.0
    around, inside = (
        np.abs(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F)) for image in (source, target)
    )
    # Outlines of other things in the ring are no texture: the median does not see them.
    return float((np.median(inside[mask]) + 0.5) / (np.median(around[ring]) + 0.5))


def _step_across(image: NDArray[np.uint8], region: Mask) -> float | None:
    values = image.astype(np.int16)
    vertical = np.abs(values[1:] - values[:-1])[region[1:] != region[:-1]]
    horizontal = np.abs(values[:, 1:] - values[:, :-1])[region[:, 1:] != region[:, :-1]]
    count = vertical.size + horizontal.size
    return float(vertical.sum() + horizontal.sum()) / count if count else None


def _change(judged: Judged) -> ChangeRequest:
    box = _padded_square(judged.region)
    added = judged.candidate.operation is Operation.ADD
    return ChangeRequest(
        source=judged.source.crop(box),
        target=judged.target.crop(box),
        source_text=NOWHERE if added else judged.source_label,
        target_text=judged.target_label or NOWHERE,
    )


def _padded_square(region: Mask, pad: float = 0.15) -> tuple[int, int, int, int]:
    """The region's box made square with a margin, kept inside the picture where that is possible."""
    height, width = region.shape
    x0, y0, x1, y1 = bounding_box(region)
    side = round(max(x1 - x0, y1 - y0) * (1 + 2 * pad))
    side_x, side_y = min(side, width), min(side, height)
    left = min(max((x0 + x1 - side_x) // 2, 0), width - side_x)
    top = min(max((y0 + y1 - side_y) // 2, 0), height - side_y)
    return left, top, left + side_x, top + side_y


def _regrounded(judged: Judged, regrounder: Grounder | None, config: SynthesisConfig) -> tuple[float, float]:
    """Best confidence of the new and of the old thing inside the region of the target."""
    if regrounder is None or config.scorer.regrounder is None:
        return math.nan, math.nan
    operation = judged.candidate.operation
    new = judged.candidate.replacement if operation is not Operation.REMOVE else None
    old = judged.candidate.kind if operation is not Operation.ADD else None
    phrases = [phrase for phrase in (new, old) if phrase is not None]
    picture = Picture(picture_id=None, image=judged.target)
    requests = [GroundingRequest(picture=picture, phrase=phrase) for phrase in phrases]
    answers = list(call_in_batches(regrounder.ground, requests, config.scorer.regrounder.batch_size))
    best: dict[str, float] = {}
    for phrase, answer in zip(phrases, answers, strict=True):
        if isinstance(answer, ToolError):
            best[phrase] = math.nan
            continue
        inside = [d.score for d in answer if _share_inside(d.box, judged.region) > 0.5]
        best[phrase] = max(inside, default=0.0)
    return best.get(new or "", math.nan), best.get(old or "", math.nan)


def _share_inside(box: tuple[float, float, float, float], region: Mask) -> float:
    x0, y0, x1, y1 = (round(v) for v in box)
    window = region[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    return float(window.mean()) if window.size else 0.0
