import math
from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.inter_rater import fleiss_kappa

from reason_edit.rating.agreement import krippendorff_alpha, measure_agreement, profile_raters
from reason_edit.rating.ins_align import build_cube, summarise_ratings
from reason_edit.rating.returns import AttentionAnswer
from reason_edit.rating.study import Answer, Rating, RatingError
from reason_edit.schema import Category

SAMPLES = {
    "left_right/1": Category.LEFT_RIGHT,
    "left_right/2": Category.LEFT_RIGHT,
    "color/1": Category.COLOR,
    "color/2": Category.COLOR,
    "reasoning/1": Category.REASONING,
    "reasoning/2": Category.REASONING,
}
YES, NO, UNSURE = Answer.ALIGNED, Answer.NOT_ALIGNED, Answer.CANNOT_TELL


def rating(sample: str, rater: str, answer: Answer, method: str = "m", seconds: float = 3.0) -> Rating:
    return Rating(method=method, sample_id=sample, rater=rater, answer=answer, seconds=seconds, edited_sha256="0" * 64)


def by_group(ratings: list[Rating], samples: dict[str, Category] = SAMPLES) -> dict[str, tuple[float, int, int]]:
    found = summarise_ratings(build_cube(ratings, samples), samples, resamples=100)
    return {s.group: (round(s.mean, 6), s.scored, s.total) for s in found}


def test_the_mean_over_raters_and_then_over_samples_by_hand() -> None:
    ratings = [
        *(rating("left_right/1", r, a) for r, a in zip("abcd", (YES, YES, YES, NO), strict=True)),
        *(rating("left_right/2", r, NO) for r in "abcd"),
        *(rating("color/1", r, a) for r, a in zip("abcd", (YES, NO, UNSURE, UNSURE), strict=True)),
        *(rating("reasoning/1", r, YES) for r in "abcd"),
        *(rating("reasoning/2", r, UNSURE) for r in "abcd"),
    ]
    found = by_group(ratings)
    assert found["left_right"] == (0.375, 2, 2)
    assert found["color"] == (0.5, 1, 2)
    assert found["reasoning"] == (1.0, 1, 2)
    assert found["understanding"] == (round((0.75 + 0 + 0.5) / 3, 6), 3, 4)
    assert found["overall"] == (round((0.75 + 0 + 0.5 + 1) / 4, 6), 4, 6)
    assert "mirror" not in found


def test_what_nobody_rated_is_coverage_not_zero() -> None:
    cube = build_cube([rating("color/1", "a", YES)], SAMPLES, methods=["m", "silent"])
    found = {(s.method, s.group): s for s in summarise_ratings(cube, SAMPLES, resamples=100)}
    silent = found["silent", "overall"]
    assert math.isnan(silent.mean)
    assert math.isnan(silent.low)
    assert (silent.scored, silent.total) == (0, 6)
    lonely = found["m", "color"]
    assert (lonely.mean, lonely.scored) == (1.0, 1)
    assert math.isnan(lonely.low)


def test_counts_of_votes_and_undecided() -> None:
    ratings = [rating("color/1", "a", YES), rating("color/1", "b", UNSURE), rating("color/2", "a", NO)]
    overall = summarise_ratings(build_cube(ratings, SAMPLES), SAMPLES, resamples=100)[-1]
    assert (overall.group, overall.votes, overall.cannot_tell) == ("overall", 2, 1)


def test_double_and_strange_ratings_are_errors() -> None:
    with pytest.raises(RatingError, match=r"two ratings of m on color/1 by a"):
        build_cube([rating("color/1", "a", YES), rating("color/1", "a", UNSURE)], SAMPLES)
    with pytest.raises(RatingError, match="no sample of this run"):
        build_cube([rating("color/9", "a", YES)], SAMPLES)


def counts(rows: str, categories: int) -> np.ndarray:
    """Observers as lines, units as columns, `.` for missing -> units x categories."""
    lines = [line.split() for line in rows.strip().splitlines()]
    table = np.zeros((len(lines[0]), categories))
    for line in lines:
        for unit, value in enumerate(line):
            if value != ".":
                table[unit, int(value) - 1] += 1
    return table


def test_alpha_of_krippendorffs_own_example() -> None:
    # Krippendorff (2011), section C: four observers, twelve units, missing data; nominal alpha 0.743.
    table = counts(
        """
        1 2 3 3 2 1 4 1 2 . . .
        1 2 3 3 2 2 4 1 2 5 . 3
        . 3 3 3 2 3 4 2 2 5 1 .
        1 2 3 3 2 4 4 1 2 5 1 .
        """,
        5,
    )
    assert krippendorff_alpha(table) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_two_observers_and_binary_data() -> None:
    # Krippendorff (2011), section A: two observers, ten units, binary; alpha 0.095 = 1 - 19 * 4 / (14 * 6).
    table = counts("1 2 1 1 1 1 1 1 2 1\n2 2 2 1 1 2 1 1 1 1", 2)
    assert (table[:, 0].sum(), table[:, 1].sum()) == (14, 6)
    assert krippendorff_alpha(table) == pytest.approx(0.095, abs=5e-4)


def test_alpha_without_variation_or_pairs_is_unknown() -> None:
    assert math.isnan(krippendorff_alpha(np.array([[3.0, 0], [3, 0]])))
    assert math.isnan(krippendorff_alpha(np.array([[1.0, 0], [0, 1]])))
    assert krippendorff_alpha(np.array([[2.0, 0], [0, 2]])) == 1.0
    assert krippendorff_alpha(np.array([[1.0, 1], [1, 1]])) < 0


def test_kappa_of_fleiss_own_table() -> None:
    # Fleiss (1971): ten subjects, fourteen raters, five categories; kappa 0.210.
    table = np.array(
        [
            *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
            *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
        ]
    )
    assert fleiss_kappa(table) == pytest.approx(0.210, abs=5e-4)


def test_agreement_counts_three_answers_and_skips_unpaired_edits() -> None:
    answers = {"color/1": (YES, YES, YES), "color/2": (NO, NO, UNSURE), "reasoning/1": (NO, NO, NO)}
    ratings = [rating(s, r, a) for s, given in answers.items() for r, a in zip("abc", given, strict=True)]
    agreement = measure_agreement(build_cube([*ratings, rating("left_right/1", "a", YES)], SAMPLES), resamples=200)
    table = np.array([[3.0, 0, 0], [0, 2, 1], [0, 3, 0]])
    assert agreement.alpha == pytest.approx(krippendorff_alpha(table))
    assert agreement.kappa == pytest.approx(fleiss_kappa(table))
    assert (agreement.edits, agreement.kappa_edits) == (3, 3)
    assert agreement.observed == pytest.approx(14 / 18)
    assert agreement.alpha_low <= agreement.alpha <= agreement.alpha_high


def simulated(
    truth: np.ndarray, accuracies: list[float], generator: np.random.Generator, seconds: float = 3.0
) -> list[Rating]:
    ratings = []
    for r, accuracy in enumerate(accuracies):
        right = generator.random(len(truth)) < accuracy
        ratings += [
            rating(f"color/{i}", f"rater-{r}", YES if t == ok else NO, seconds=seconds)
            for i, (t, ok) in enumerate(zip(truth, right, strict=True))
        ]
    return ratings


def test_simulated_raters_give_back_the_truth_95_times_in_100() -> None:
    """The share of right edits, from raters whose known accuracy a is corrected for: (mean - (1 - a)) / (2 a - 1)."""
    generator = np.random.default_rng(7)
    truth_share, accuracy, count, studies = 0.7, 0.9, 80, 400
    samples = {f"color/{i}": Category.COLOR for i in range(count)}
    held = 0
    for _ in range(studies):
        truth = generator.random(count) < truth_share
        cube = build_cube(simulated(truth, [accuracy] * 4, generator), samples)
        overall = next(s for s in summarise_ratings(cube, samples, resamples=200) if s.group == "overall")
        low, high = ((end - (1 - accuracy)) / (2 * accuracy - 1) for end in (overall.low, overall.high))
        held += low <= truth_share <= high
    # Two standard errors below 95 % with 400 studies; and not so wide that it says nothing.
    assert 0.928 <= held / studies <= 0.99


def test_a_careless_rater_is_named_and_still_counted() -> None:
    generator = np.random.default_rng(3)
    truth = generator.random(120) < 0.6
    samples = {f"color/{i}": Category.COLOR for i in range(120)}
    ratings = simulated(truth, [0.95, 0.95, 0.93, 0.5], generator)
    profiles = profile_raters(build_cube(ratings, samples), ratings, [])
    assert [bool(p.concerns) for p in profiles] == [False, False, False, True]
    assert "agrees with the others' majority" in profiles[3].concerns[0]
    assert profiles[3].answers == 120


def test_leaning_haste_attention_and_indecision_are_named() -> None:
    generator = np.random.default_rng(4)
    truth = generator.random(100) < 0.5
    samples = {f"color/{i}": Category.COLOR for i in range(100)}
    good = simulated(truth, [0.95] * 4, generator)
    ratings = [
        replace(r, answer=YES) if r.rater == "rater-0" else replace(r, seconds=0.2) if r.rater == "rater-1" else r
        for r in good
    ]
    ratings = [
        replace(r, answer=UNSURE) if r.rater == "rater-2" and int(r.sample_id.split("/")[1]) % 5 else r for r in ratings
    ]
    attention = [
        AttentionAnswer(kind="attention copy", sample_id=f"color/{i}", rater="rater-3", answer=YES, expected=NO)
        for i in range(3)
    ]
    concerns = {p.rater: " ".join(p.concerns) for p in profile_raters(build_cube(ratings, samples), ratings, attention)}
    assert "says aligned on 100%" in concerns["rater-0"]
    assert concerns["rater-1"] == "answers within 0.20 s (median)"
    assert concerns["rater-2"] == "cannot tell on 80% of edits"
    assert concerns["rater-3"] == "passed 0 of 3 attention items"


def test_a_single_rater_has_an_interval_over_samples_and_no_agreement() -> None:
    generator = np.random.default_rng(5)
    samples = {f"color/{i}": Category.COLOR for i in range(50)}
    cube = build_cube(simulated(generator.random(50) < 0.5, [1.0], generator), samples)
    overall = summarise_ratings(cube, samples)[-1]
    assert 0.2 < overall.high - overall.low < 0.35
    assert math.isnan(measure_agreement(cube).alpha)


def test_the_same_ratings_give_the_same_numbers_in_any_order() -> None:
    generator = np.random.default_rng(6)
    samples = {f"color/{i}": Category.COLOR for i in range(40)}
    ratings = simulated(generator.random(40) < 0.5, [0.9] * 3, generator)
    assert summarise_ratings(build_cube(ratings, samples), samples) == summarise_ratings(
        build_cube(ratings[::-1], dict(reversed(samples.items()))), samples
    )
