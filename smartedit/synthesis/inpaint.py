"""Stage inpaint: make the target picture, several draws of it if wanted, and put the background back exactly."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from reason_edit.files import atomic_path
from smartedit.config.synthesis import SynthesisConfig
from smartedit.seeding import seed_from
from smartedit.synthesis.knowledge import Knowledge
from smartedit.synthesis.records import BoxRow, Candidate, EditedPair, Grounding, Region
from smartedit.synthesis.regions import box_mask, paste_back, soft_edge
from smartedit.synthesis.stage import Outcome, Pictures, batches, call_in_batches, read_mask
from smartedit.tools.protocols import Inpainter, InpaintingRequest, Operation, ToolError


def inpaint(
    regions: Sequence[Region],
    groundings: Mapping[str, Grounding],
    candidates: Mapping[str, Candidate],
    pictures: Pictures,
    replacer: Inpainter,
    remover: Inpainter,
    knowledge: Knowledge,
    root: Path,
    config: SynthesisConfig,
) -> Outcome[EditedPair]:
    """Make target pictures.

    Args:
        regions: Of one shard.
        groundings: By candidate id, for what else is in the picture.
        candidates: By id.
        pictures: The source pictures.
        replacer: Fills regions with new things.
        remover: Fills regions with what is behind.
        knowledge: For "an orange".
        root: The run folder; targets go to `targets/`.
        config: Draws, feathering, tools.

    Returns:
        Pairs, `config.draws` a candidate; rejection "tool failed".
    """
    outcome: Outcome[EditedPair] = Outcome()
    others = {candidate_id: grounding.others for candidate_id, grounding in groundings.items()}
    for tool, tool_config, removes in ((replacer, config.replacer, False), (remover, config.remover, True)):
        jobs = [
            (region, draw)
            for region in regions
            if (candidates[region.candidate_id].operation is Operation.REMOVE) == removes
            for draw in range(config.draws)
        ]
        for batch in batches(jobs, tool_config.batch_size):
            requests = [
                _request(candidates[r.candidate_id], r, draw, others, pictures, knowledge, root) for r, draw in batch
            ]
            answers = call_in_batches(tool.inpaint, requests, tool_config.batch_size)
            for (region, draw), request, answer in zip(batch, requests, answers, strict=True):
                candidate = candidates[region.candidate_id]
                pair_id = f"{candidate.candidate_id}.{draw}"
                if isinstance(answer, ToolError):
                    outcome.reject(candidate, "inpaint", "tool failed", str(answer), key=pair_id)
                    continue
                weights = soft_edge(request.region, request.mask, config.region.feather)
                target = paste_back(request.image, answer.image, weights)
                path = f"targets/{pair_id}.png"
                with atomic_path(root / path) as temporary:
                    target.save(temporary, compress_level=2)
                outcome.rows.append(
                    EditedPair(
                        pair_id=pair_id,
                        candidate_id=candidate.candidate_id,
                        draw=draw,
                        target=path,
                        seed=request.seed,
                        tool=tool_config.name,
                        origin=answer.origin,
                    )
                )
    return outcome


def _request(
    candidate: Candidate,
    region: Region,
    draw: int,
    others: Mapping[str, Sequence[BoxRow]],
    pictures: Pictures,
    knowledge: Knowledge,
    root: Path,
) -> InpaintingRequest:
    mask, allowed = read_mask(root / region.mask), read_mask(root / region.region)
    kind = candidate.replacement
    avoid = np.zeros_like(mask)
    for box in others[candidate.candidate_id]:
        avoid |= box_mask(box.corners, *mask.shape)
    # What the thing stands on is its ground; without it nothing would be left to copy.
    if (avoid & mask).sum() > 0.5 * mask.sum():
        avoid = mask
    return InpaintingRequest(
        image=pictures[candidate.picture_id].image,
        mask=np.zeros_like(mask) if candidate.operation is Operation.ADD else mask,
        region=allowed,
        prompt=knowledge.one(kind) if kind is not None else None,
        kind=kind,
        seed=seed_from("inpaint", candidate.candidate_id, draw),
        avoid=avoid,
        exclude=candidate.picture_id,
    )
