import math

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa

from benchmark.judges.agreement import JudgeAgreement, compare_with_people
from benchmark.judges.verdicts import JudgeError, Judgement
from reason_edit.rating.study import Answer, Rating
from reason_edit.schema import Category

PICTURE = "0" * 64
YES, NO, UNSURE = Answer.ALIGNED, Answer.NOT_ALIGNED, Answer.CANNOT_TELL


def people(method: str, sample: str, *answers: Answer) -> list[Rating]:
    return [
        Rating(method=method, sample_id=sample, rater=f"r{i}", answer=a, seconds=1.0, edited_sha256=PICTURE)
        for i, a in enumerate(answers)
    ]


def judged(method: str, sample: str, answer: Answer | None) -> Judgement:
    reason = None if answer else "refused"
    return Judgement(method=method, sample_id=sample, answer=answer, reason=reason, reply=None, edited_sha256=PICTURE)


def parts(
    judgements: list[Judgement], ratings: list[Rating], samples: dict[str, Category]
) -> dict[str, JudgeAgreement]:
    return {p.part: p for p in compare_with_people(judgements, ratings, samples, resamples=300)}


def test_by_hand() -> None:
    samples = {f"color/{i}": Category.COLOR for i in range(4)} | {"reasoning/0": Category.REASONING}
    ratings = [
        *people("m", "color/0", YES, YES, NO),
        *people("m", "color/1", NO, NO, NO),
        *people("m", "color/2", YES, NO, UNSURE),
        *people("m", "color/3", YES, YES, YES),
        *people("m", "reasoning/0", NO, NO, YES),
    ]
    judgements = [
        judged("m", "color/0", YES),
        judged("m", "color/1", YES),
        judged("m", "color/2", YES),
        judged("m", "color/3", None),
        judged("m", "reasoning/0", NO),
    ]
    found = parts(judgements, ratings, samples)
    whole = found["all"]
    assert (whole.edits, whole.unanswered, whole.undecided) == (3, 1, 1)
    assert whole.accuracy.value == pytest.approx(2 / 3)
    assert whole.bias.value == pytest.approx((1 / 3 + 1 + 0.5 - 1 / 3) / 4)
    assert whole.kappa.value == pytest.approx(cohens_kappa(np.array([[1, 1], [0, 1]])).kappa)
    assert found["color"].accuracy.value == 0.5
    assert found["reasoning"].accuracy.value == 1.0
    assert math.isnan(found["reasoning"].kappa.value)
    assert set(found) == {"all", "understanding", "color", "reasoning", "method m"}


def simulated(
    accuracy: float, generator: np.random.Generator, count: int = 100
) -> tuple[list[Judgement], list[Rating], dict[str, Category]]:
    samples = {f"color/{i}": Category.COLOR for i in range(count)}
    truth = generator.random((2, count)) < [[0.4], [0.7]]
    ratings, judgements = [], []
    for m, method in enumerate(("a", "b")):
        for i, sample in enumerate(samples):
            ratings += people(method, sample, *([YES if truth[m, i] else NO] * 3))
            right = generator.random() < accuracy
            judgements.append(judged(method, sample, YES if truth[m, i] == right else NO))
    return judgements, ratings, samples


def test_the_interval_holds_a_judges_known_accuracy() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for _ in range(120):
        whole = parts(*simulated(0.8, generator))["all"]
        held += whole.accuracy.low <= 0.8 <= whole.accuracy.high
    assert 0.90 <= held / 120 <= 0.99


def test_a_lenient_judge_has_a_bias_above_zero() -> None:
    generator = np.random.default_rng(12)
    judgements, ratings, samples = simulated(1.0, generator)
    lenient = [judged(j.method, j.sample_id, YES) for j in judgements]
    found = parts(lenient, ratings, samples)
    assert found["method a"].bias.low > 0.4
    assert found["method b"].bias.value == pytest.approx(1 - found["method b"].accuracy.value)
    assert found["all"].kappa.value == pytest.approx(0)
    honest = parts(judgements, ratings, samples)
    assert honest["all"].bias.value == pytest.approx(0)
    assert honest["all"].kappa.value == pytest.approx(1)


def test_kappa_equals_statsmodels() -> None:
    judgements, ratings, samples = simulated(0.75, np.random.default_rng(13))
    whole = parts(judgements, ratings, samples)["all"]
    says = {(j.method, j.sample_id): j.answer for j in judgements}
    majority = {(r.method, r.sample_id): r.answer for r in ratings}
    table = np.zeros((2, 2))
    for key, answer in says.items():
        table[int(answer is YES), int(majority[key] is YES)] += 1
    assert whole.kappa.value == pytest.approx(cohens_kappa(table).kappa)
    assert whole.kappa.low < whole.kappa.value < whole.kappa.high


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(JudgeError, match="no method was judged by both"):
        parts([judged("a", "color/0", YES)], people("b", "color/0", YES), {"color/0": Category.COLOR})
