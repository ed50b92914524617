"""The exact judge of the miniature: the scene is known, and so whether an edit shows its target and nothing else."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reason_edit.tables import read_rows
from smartedit.miniature.benchmark_set import Answer
from smartedit.miniature.scene_truth import Truth
from smartedit.miniature.seeing import Kept, Seen, Sight, look_at

PROTOCOL = "judge-exact-v1"
"""Changes whenever a picture could get another verdict."""


class AnswersError(ValueError):
    """A data set is no miniature Reason-Edit with its answers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an edit may do and still be right; chosen on scenes and errors that no reported figure uses.

    Attributes:
        ratio: Distance to the nearest right candidate, as a share of the distance to the nearest wrong one.
        misfit: That distance as a share of the difference between source and right picture.
        ghost: How much of the old thing may shine through.
        leftover: The same where the right picture shows the bare place.
        change: Difference of another thing, as a share of its own difference to the bare place.
        likeness: How much nearer another thing may be to something else than to itself, in the same measure.
        sigma: Blur in pixels of the frame.
        background: Root mean square difference of the background, of 255.
        worst: The same at the worst place.
    """

    ratio: float = 0.85
    misfit: float = 0.5
    ghost: float = 0.22
    leftover: float = 0.22
    change: float = 0.6
    likeness: float = 0.03
    sigma: float = 2.2
    background: float = 18.0
    worst: float = 38.0


LIMITS = Limits()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the judge says of one edit.

    Attributes:
        aligned: Whether the target is at its place and everything else unchanged.
        faults: Why not; empty where it is.
        sight: The measurements.
    """

    aligned: bool
    faults: tuple[str, ...]
    sight: Sight

    def reply(self) -> str:
        """The faults and the figures behind them as JSON."""
        sight, place = self.sight, self.sight.place
        content = {
            "faults": list(self.faults),
            "shows": _words(place.look.color, place.look.kind),
            "right": round(place.right, 3),
            "wrong": round(place.wrong, 3),
            "signal": round(place.signal, 3),
            "ghost": round(place.ghost, 3),
            "leftover": round(place.leftover, 3),
            "changed": {str(k.index): round(k.change, 3) for k in sight.kept},
            "background": round(sight.background, 2),
            "worst": round(sight.worst, 2),
            "blur": sight.sigma,
            "shift": list(sight.shift),
        }
        return json.dumps(content, sort_keys=True)


def judge_edit(answer: Answer, truth: Truth, edited: NDArray[np.uint8], limits: Limits = LIMITS) -> Verdict:
    """Judge one edit.

    Args:
        answer: The sample.
        truth: From `truth_of`; the same for every method's edit of the sample.
        edited: The edited picture, uint8 H x W x 3 of any size.
        limits: What is still right.

    Returns:
        The verdict.
    """
    sight = look_at(answer, truth, edited)
    return Verdict(aligned=not (faults := tuple(find_faults(answer, sight, limits))), faults=faults, sight=sight)


def find_faults(answer: Answer, sight: Sight, limits: Limits = LIMITS) -> list[str]:
    """Everything that is wrong with an edit, in words."""
    faults = _place_faults(answer, sight.place, limits)
    for kept in sight.kept:
        if _changed(kept, limits):
            thing = answer.before.things[kept.index]
            faults.append(f"thing {kept.index}, {_words(thing.color, thing.kind)}, changed: {_words_of(kept)}")
    if sight.sigma > limits.sigma:
        faults.append("the picture is blurred away")
    if sight.background > limits.background:
        faults.append("the background is another")
    elif sight.worst > limits.worst:
        faults.append("the background has changed at one place")
    return faults


def _place_faults(answer: Answer, place: Seen, limits: Limits) -> list[str]:
    if place.untouched < min(place.right, 1.1 * place.wrong + 0.01):
        return ["not edited"]
    if place.right > limits.ratio * place.wrong:
        return [f"the place shows {_words(place.look.color, place.look.kind)}"]
    if place.right > limits.misfit * place.signal:
        return ["the place shows nothing clearly"]
    if place.ghost > limits.ghost or place.leftover > limits.leftover:
        return [f"the {answer.kind} shines through"]
    return []


def _changed(kept: Kept, limits: Limits) -> bool:
    return kept.change > limits.change or kept.own - kept.other > limits.likeness * kept.energy


def _words_of(kept: Kept) -> str:
    return f"it looks like {_words(kept.look.color, kept.look.kind)}"


def _words(color: str | None, kind: str | None) -> str:
    return "the bare place" if kind is None else f"{color} {kind}"


def read_answers(roots: Sequence[Path]) -> dict[str, Answer]:
    """The answers of a miniature Reason-Edit by sample id.

    Args:
        roots: The folders that the samples' pictures come from; one, for a data set lies in one folder.

    Raises:
        AnswersError: They hold no answers, so the data set is not the miniature.
    """
    if len(roots) != 1:
        raise AnswersError(
            f"the samples lie in {len(roots)} data sets; the exact judge knows one miniature Reason-Edit"
        )
    path = roots[0] / "answers" / "scenes.parquet"
    if not path.is_file():
        raise AnswersError(
            f"{roots[0]}: no answers/scenes.parquet; the exact judge knows only the miniature Reason-Edit, "
            "which `smartedit miniature reason-edit` writes"
        )
    return {answer.sample_id: answer for answer in read_rows(path, Answer)}


def scenes_hash(answers: Mapping[str, Answer]) -> str:
    """A hash over all scenes, before and after: equal for equal data sets, whatever wrote their files."""
    lines = [f"{name} {a.instruction} {a.before.fingerprint} {a.after.fingerprint}\n" for name, a in answers.items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
