"""The miniature's exact judge as a judge of runs: the one place where the benchmark meets the miniature's answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.judges.build import JudgeOptions
from benchmark.judges.verdicts import Case, Judge, JudgeError, Opinion
from benchmark.metrics.pictures import PictureError, decode_rgb, read_file
from benchmark.runs import Run
from reason_edit.rating.study import Answer
from smartedit.miniature import benchmark_set
from smartedit.miniature.judge import PROTOCOL, AnswersError, judge_edit, read_answers, scenes_hash
from smartedit.miniature.scene_truth import Truth, WrongScene, truth_of


def build_exact_judge(run: Run, options: JudgeOptions) -> Judge:
    """The exact judge of a run on the miniature Reason-Edit.

    Raises:
        JudgeError: The run is on another data set.
    """
    roots = sorted({s.image.parent.parent.resolve() for s in run.samples()})
    try:
        answers = read_answers(roots)
    except AnswersError as error:
        raise JudgeError(str(error)) from error
    return ExactJudge(answers, f"scenes@{scenes_hash(answers)[:12]}")


@dataclass(slots=True)
class ExactJudge:
    """Says from the known scene whether the target is at its place and everything else unchanged.

    Attributes:
        answers: The truth by sample id.
        model: The answers' hash: other scenes are another judge.
        protocol: Name and version of the rule.
    """

    answers: dict[str, benchmark_set.Answer]
    model: str
    protocol: str = PROTOCOL
    _truths: dict[str, Truth] = field(default_factory=dict)

    def judge(self, cases: Sequence[Case]) -> Iterator[Opinion]:
        """Judge cases one by one; a sample that the answers do not describe and a broken picture get no answer."""
        for case in cases:
            try:
                yield self._one(case)
            except (PictureError, WrongScene) as error:
                yield Opinion(answer=None, reason=str(error), reply=None)

    def _one(self, case: Case) -> Opinion:
        sample_id = case.sample.sample_id
        answer = self.answers.get(sample_id)
        if answer is None or answer.instruction != case.sample.instruction:
            return Opinion(answer=None, reason="the answers do not describe this sample", reply=None)
        if sample_id not in self._truths:
            self._truths[sample_id] = truth_of(answer, _pixels(case.sample.image))
        verdict = judge_edit(answer, self._truths[sample_id], _pixels(case.edited))
        said = Answer.ALIGNED if verdict.aligned else Answer.NOT_ALIGNED
        return Opinion(answer=said, reason=None, reply=verdict.reply())


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(decode_rgb(read_file(path), upright=True))
