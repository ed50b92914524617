"""Stage ground: find what a candidate speaks of, and let its rule decide which one is meant."""

from collections.abc import Mapping, Sequence

from reason_edit.schema import Category
from smartedit.config.synthesis import SynthesisConfig
from smartedit.synthesis.colors import MeasuredColor, measure_color
from smartedit.synthesis.knowledge import Knowledge
from smartedit.synthesis.records import BoxRow, Candidate, Grounding, Rule
from smartedit.synthesis.rules import Choice, Refusal, Scene, check_box, covered, single_out, without_doubles
from smartedit.synthesis.stage import Outcome, Pictures, call_in_batches
from smartedit.tools.annotations import intersection_over_union
from smartedit.tools.protocols import (
    Box,
    Detection,
    Grounder,
    GroundingRequest,
    Operation,
    SegmentationRequest,
    Segmenter,
    ToolError,
)

Found = Mapping[tuple[str, str], list[Detection] | ToolError]
"""What was found, by picture id and phrase."""


def ground(
    candidates: Sequence[Candidate],
    pictures: Pictures,
    grounder: Grounder,
    segmenter: Segmenter,
    knowledge: Knowledge,
    config: SynthesisConfig,
) -> Outcome[Grounding]:
    """Find the thing that each candidate means.

    Args:
        candidates: Of one shard.
        pictures: The pictures that they name.
        grounder: Finds things by name.
        segmenter: Cuts things out where their colors decide.
        knowledge: For the usual size of what is added.
        config: Rules and batch sizes.

    Returns:
        A grounding, or a rejection with the rule's reason, for every candidate.
    """
    found = _find(candidates, pictures, grounder, config)
    outcome: Outcome[Grounding] = Outcome()
    for candidate in candidates:
        picture = pictures[candidate.picture_id]
        width, height = picture.image.size
        answers = {phrase: found[candidate.picture_id, phrase] for phrase in _phrases(candidate, config)}
        # What is only beside the thing may stay unknown; what the rule needs may not.
        needed = _needed(candidate, config)
        failed = [(p, answer) for p, answer in answers.items() if p in needed and isinstance(answer, ToolError)]
        if failed:
            outcome.reject(candidate, "ground", "tool failed", f"{failed[0][0]}: {failed[0][1]}")
            continue
        detections = {p: [] if isinstance(answer, ToolError) else answer for p, answer in answers.items()}
        result = _decide(candidate, detections, pictures, segmenter, config)
        if isinstance(result, Refusal):
            outcome.reject(candidate, "ground", result.reason, result.detail)
            continue
        things, choice = detections[candidate.kind], result
        others = [d.box for k, ds in detections.items() if k not in _aside(candidate, config) for d in ds]
        others += [t.box for i, t in enumerate(things) if i != choice.index]
        box = things[choice.index].box
        refusal = check_box(box, others, width=width, height=height, config=config.rules)
        if refusal is not None:
            outcome.reject(candidate, "ground", refusal.reason, refusal.detail)
            continue
        place, free = None, None
        if candidate.operation is Operation.ADD:
            spot = find_free_place(candidate, box, others, knowledge, width=width, height=height, config=config)
            if spot is None:
                outcome.reject(candidate, "ground", "no free place", "things or the edge are on both sides")
                continue
            place, free = spot
        outcome.rows.append(
            Grounding(
                candidate_id=candidate.candidate_id,
                picture_id=candidate.picture_id,
                box=_row(box),
                score=things[choice.index].score,
                of=len(things),
                others=tuple(_row(other) for other in others),
                referring=_referring(candidate, choice),
                attribute=choice.attribute,
                place=place,
                free_box=_row(free) if free is not None else None,
            )
        )
    return outcome


def _phrases(candidate: Candidate, config: SynthesisConfig) -> list[str]:
    return list(dict.fromkeys([*_needed(candidate, config), *candidate.context]))


def _needed(candidate: Candidate, config: SynthesisConfig) -> list[str]:
    words = [candidate.kind, config.proposals.mirror_word, *candidate.rivals]
    if _is_invented(candidate) and candidate.clue is not None:
        words.append(candidate.clue)
    return words


def _aside(candidate: Candidate, config: SynthesisConfig) -> tuple[str | None, ...]:
    """Phrases whose detections are no neighbours of the chosen thing."""
    return candidate.kind, config.proposals.mirror_word, candidate.clue


def _is_invented(candidate: Candidate) -> bool:
    """Whether a language model made the clue, so that grounding has to confirm it."""
    return candidate.clue_origin not in (None, "table")


def _find(
    candidates: Sequence[Candidate], pictures: Pictures, grounder: Grounder, config: SynthesisConfig
) -> dict[tuple[str, str], list[Detection] | ToolError]:
    asked = dict.fromkeys((c.picture_id, phrase) for c in candidates for phrase in _phrases(c, config))
    by_picture: dict[str, list[str]] = {}
    for picture_id, phrase in asked:
        by_picture.setdefault(picture_id, []).append(phrase)
    found: dict[tuple[str, str], list[Detection] | ToolError] = {}
    for picture_id, phrases in by_picture.items():
        requests = [GroundingRequest(picture=pictures[picture_id], phrase=phrase) for phrase in phrases]
        answers = call_in_batches(grounder.ground, requests, config.grounder.batch_size)
        for phrase, answer in zip(phrases, answers, strict=True):
            known = answer if isinstance(answer, ToolError) else without_doubles(answer, config.rules)
            found[picture_id, phrase] = known
    return found


def _decide(
    candidate: Candidate,
    detections: Mapping[str, list[Detection]],
    pictures: Pictures,
    segmenter: Segmenter,
    config: SynthesisConfig,
) -> Choice | Refusal:
    for rival in candidate.rivals:
        if detections[rival]:
            return Refusal(reason="rival present", detail=f"the clue fits {rival} as well")
    if candidate.category is Category.MULTIPLE_OBJECTS:
        present = [kind for kind in candidate.context if detections[kind]]
        if len(present) < 2:
            return Refusal(reason="too few kinds", detail=f"beside it only {', '.join(present) or 'nothing'}")
    things = detections[candidate.kind]
    colors: list[MeasuredColor] = []
    if candidate.rule is Rule.COLOR:
        measured = _colors(candidate, things, pictures, segmenter, config)
        if isinstance(measured, Refusal):
            return measured
        colors = measured
    picture = pictures[candidate.picture_id]
    scene = Scene(
        things=things,
        mirrors=[d.box for d in detections[config.proposals.mirror_word]],
        colors=colors,
        width=picture.image.width,
        height=picture.image.height,
        variant=candidate.variant,
    )
    choice = single_out(candidate.rule, scene, config.rules)
    if isinstance(choice, Choice) and _is_invented(candidate) and candidate.clue is not None:
        best = detections[candidate.clue][:1]
        if not best or intersection_over_union(best[0].box, things[choice.index].box) < 0.5:
            return Refusal(reason="clue not confirmed", detail=f"the detector does not find {candidate.kind} by it")
    return choice


def _colors(
    candidate: Candidate,
    things: Sequence[Detection],
    pictures: Pictures,
    segmenter: Segmenter,
    config: SynthesisConfig,
) -> list[MeasuredColor] | Refusal:
    picture = pictures[candidate.picture_id]
    requests = [SegmentationRequest(picture=picture, box=thing.box) for thing in things]
    colors = []
    for mask in call_in_batches(segmenter.segment, requests, config.segmenter.batch_size):
        if isinstance(mask, ToolError):
            return Refusal(reason="tool failed", detail=f"segmenting for the color: {mask}")
        if not mask.any():
            return Refusal(reason="color unclear", detail="an empty mask")
        colors.append(measure_color(picture.image, mask))
    return colors


def _referring(candidate: Candidate, choice: Choice) -> str:
    if candidate.clue is not None:
        return candidate.clue
    if not choice.attribute:
        return candidate.kind
    return f"{choice.attribute} {candidate.kind}" if choice.before else f"{candidate.kind} {choice.attribute}"


def find_free_place(
    candidate: Candidate,
    box: Box,
    others: Sequence[Box],
    knowledge: Knowledge,
    *,
    width: int,
    height: int,
    config: SynthesisConfig,
) -> tuple[str, Box] | None:
    """A free place beside a thing, on the same ground line and of a plausible size.

    Returns:
        The words ("to the right of") and the box, or None where both sides are taken.
    """
    ratio = 1.0
    new, old = knowledge.things.get(candidate.replacement or ""), knowledge.things.get(candidate.kind)
    if new is not None and old is not None:
        ratio = min(max(new.size / old.size, 0.6), 1.5)
    side = max(box[2] - box[0], box[3] - box[1]) * ratio
    gap = 0.12 * side
    margin = config.rules.border
    # Things that hold the chosen one are its ground and may lie under the new one as well.
    blocking = [o for o in others if not (covered(box, o) > 0.9)]
    for words, x0 in (("to the right of", box[2] + gap), ("to the left of", box[0] - gap - side)):
        free = (x0, box[3] - side, x0 + side, box[3])
        inside = free[0] >= margin * width and free[2] <= (1 - margin) * width and free[1] >= margin * height
        if inside and all(covered(free, other) == 0.0 for other in blocking):
            return words, free
    return None


def _row(box: Box) -> BoxRow:
    return BoxRow(x0=float(box[0]), y0=float(box[1]), x1=float(box[2]), y1=float(box[3]))
