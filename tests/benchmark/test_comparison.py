import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import permutation_test

from benchmark.comparison import compare_methods, holm, minimal_detectable_difference, permutation_p
from benchmark.records import Score
from benchmark.statistics import StatisticsError
from reason_edit.schema import PAPER_CATEGORIES, EditSample

PROTOCOL, METRIC = "strict-v1", "background_psnr"


def signs_of(count: int, flips: int = 999) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 2, size=(flips, count)) * 2.0 - 1


def make(columns: dict[str, list[float]]) -> tuple[list[Score], list[EditSample]]:
    samples = []
    for place in range(len(next(iter(columns.values())))):
        category = PAPER_CATEGORIES[place % len(PAPER_CATEGORIES)]
        sample_id = f"{category.value}/{place:03d}"
        samples.append(
            EditSample(
                sample_id=sample_id,
                category=category,
                instruction="x",
                target_label="x",
                image=Path("x"),
                mask=Path("x"),
            )
        )
    scores = [
        Score(method=method, sample_id=sample.sample_id, protocol=PROTOCOL, metric=METRIC, value=value)
        for method, values in columns.items()
        for sample, value in zip(samples, values, strict=True)
    ]
    return scores, samples


def test_exact_p_agrees_with_scipy() -> None:
    generator = np.random.default_rng(2)
    first, second = generator.normal(0.6, 1, 9), generator.normal(0, 1, 9)
    expected = permutation_test(
        (first, second), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=np.inf, rng=0
    )
    assert permutation_p(first - second, signs_of(9)) == pytest.approx(expected.pvalue, rel=1e-12)


def test_random_flips_agree_with_scipy() -> None:
    generator = np.random.default_rng(3)
    differences = generator.normal(0.3, 1, 40)
    expected = permutation_test(
        (differences, np.zeros(40)), lambda a, b: (a - b).mean(), permutation_type="samples", n_resamples=9_999, rng=1
    )
    assert permutation_p(differences, signs_of(40, 9_999)) == pytest.approx(expected.pvalue, abs=0.015)


def test_known_cases() -> None:
    assert permutation_p(np.ones(5), signs_of(5)) == 2 / 32
    assert permutation_p(np.array([1.0, -1.0]), signs_of(2)) == 1
    assert permutation_p(np.zeros(30), signs_of(30)) == 1
    assert permutation_p(np.full(30, 0.1), signs_of(30)) == 1 / 1000
    assert math.isnan(permutation_p(np.empty(0), signs_of(0)))


def test_false_alarms_come_as_often_as_they_may() -> None:
    """Under the null, with heavy tails, p <= 0.05 in 5 % of the trials."""
    generator = np.random.default_rng(4)
    signs = signs_of(25)
    trials = 1_000
    alarms = sum(permutation_p(generator.standard_t(3, 25), signs) <= 0.05 for _ in range(trials))
    assert 0.03 <= alarms / trials <= 0.072


def test_the_minimal_detectable_difference_is_found_with_the_stated_power() -> None:
    generator = np.random.default_rng(6)
    signs = signs_of(60)
    difference = minimal_detectable_difference(np.array([-1.0, 1.0] * 30)) / np.std([-1.0, 1.0] * 30, ddof=1)
    assert difference == pytest.approx(2.8016 / math.sqrt(60), rel=1e-4)
    trials = 600
    found = sum(permutation_p(generator.normal(difference, 1, 60), signs) <= 0.05 for _ in range(trials))
    assert 0.74 <= found / trials <= 0.86


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    adjusted = holm([0.02, math.nan, 0.03])
    assert adjusted[0] == pytest.approx(0.04)
    assert math.isnan(adjusted[1])


def test_only_samples_that_both_score_are_paired_and_infinite_ones_are_counted() -> None:
    nan, inf = math.nan, math.inf
    first = [5.0, 6.0, nan, inf, inf, 7.0, 8.0, nan, 9.0, 9.0, 9.0, 9.0]
    second = [4.0, nan, 3.0, 3.0, inf, inf, 7.0, inf, 8.0, 8.0, 8.0, 8.0]
    scores, samples = make({"a": first, "b": second})
    (pair,) = compare_methods(scores, samples, protocol=PROTOCOL, metric=METRIC)
    assert (pair.pairs, pair.total) == (6, 12)
    assert (pair.infinite_first, pair.infinite_second, pair.infinite_both) == (1, 1, 1)
    assert pair.difference == 1
    assert pair.p == 2 / 2**6
    assert pair.p_holm == pair.p


def test_pairs_are_corrected_together_and_antisymmetric() -> None:
    generator = np.random.default_rng(7)
    base = generator.normal(25, 3, 60)
    columns = {m: list(base + shift + generator.normal(0, 1, 60)) for m, shift in {"a": 0, "b": 0.5, "c": 3}.items()}
    scores, samples = make(columns)
    pairs = compare_methods(scores, samples, protocol=PROTOCOL, metric=METRIC)
    assert [(p.first, p.second) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(p.p_holm >= p.p for p in pairs)
    assert pairs[1].p == 1e-4
    assert pairs[1].p_holm == pytest.approx(3e-4)
    assert all(p.low < p.difference < p.high for p in pairs)
    (swapped,) = compare_methods(scores, samples, protocol=PROTOCOL, metric=METRIC, methods=["b", "a"])
    assert swapped.difference == pytest.approx(-pairs[0].difference)
    assert swapped.p == pairs[0].p


def test_what_cannot_be_compared_is_said() -> None:
    scores, samples = make({"a": [1.0] * 6, "b": [2.0] * 6})
    with pytest.raises(StatisticsError, match="unknown group 'sideways'"):
        compare_methods(scores, samples, protocol=PROTOCOL, metric=METRIC, group="sideways")
    with pytest.raises(StatisticsError, match="no background_psnr scores under strict-v1 for c"):
        compare_methods(scores, samples, protocol=PROTOCOL, metric=METRIC, methods=["a", "c"])
    with pytest.raises(StatisticsError, match="two methods"):
        compare_methods(scores, samples, protocol="other", metric=METRIC)
