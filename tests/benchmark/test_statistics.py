import math
from pathlib import Path

import numpy as np
import pytest

from benchmark.records import Score
from benchmark.statistics import GROUPS, StatisticsError, Summary, resampled_means, stratified_interval, summarise
from reason_edit.schema import Category, EditSample

PROTOCOL, METHOD, METRIC = "strict-v1", "painter", "background_psnr"


def samples_of(counts: dict[Category, int]) -> list[EditSample]:
    return [
        EditSample(
            sample_id=f"{category.value}/{number:03d}",
            category=category,
            instruction="x",
            target_label="x",
            image=Path("x"),
            mask=Path("x"),
        )
        for category, count in counts.items()
        for number in range(count)
    ]


def scores_of(values: dict[str, float]) -> list[Score]:
    return [
        Score(method=METHOD, sample_id=sample_id, protocol=PROTOCOL, metric=METRIC, value=value)
        for sample_id, value in values.items()
    ]


def summary_of(values: dict[str, float], counts: dict[Category, int], group: str) -> Summary:
    found = [s for s in summarise(scores_of(values), samples_of(counts), resamples=200) if s.group == group]
    assert len(found) == 1
    return found[0]


COUNTS = {Category.LEFT_RIGHT: 2, Category.COLOR: 4, Category.REASONING: 3}
VALUES = {
    **{f"left_right/{i:03d}": v for i, v in enumerate((10.0, 20.0))},
    **{f"color/{i:03d}": v for i, v in enumerate((30.0, 30.0, 40.0, 40.0))},
    **{f"reasoning/{i:03d}": v for i, v in enumerate((1.0, 2.0, 6.0))},
}


def test_micro_and_macro_means_by_hand() -> None:
    understanding = summary_of(VALUES, COUNTS, "understanding")
    assert understanding.mean == pytest.approx((10 + 20 + 140) / 6)
    assert understanding.macro_mean == pytest.approx((15 + 35) / 2)
    assert summary_of(VALUES, COUNTS, "overall").mean == pytest.approx((170 + 9) / 9)
    assert summary_of(VALUES, COUNTS, "overall").macro_mean == pytest.approx((15 + 35 + 3) / 3)
    assert summary_of(VALUES, COUNTS, "reasoning").mean == pytest.approx(3)
    assert understanding.low <= understanding.mean <= understanding.high


def test_groups_without_samples_are_absent() -> None:
    groups = {s.group for s in summarise(scores_of(VALUES), samples_of(COUNTS), resamples=10)}
    assert groups == {"understanding", "left_right", "color", "reasoning", "overall"}
    assert "add_supplement" in GROUPS
    assert Category.ADD_SUPPLEMENT not in GROUPS["overall"].categories


def test_unscored_samples_show_as_coverage_and_never_as_zero() -> None:
    values = VALUES | {"color/000": math.nan}
    del values["color/001"]
    color = summary_of(values, COUNTS, "color")
    assert (color.mean, color.scored, color.total) == (40.0, 2, 4)
    nothing = summary_of({k: v for k, v in VALUES.items() if "reas" not in k}, COUNTS, "reasoning")
    assert math.isnan(nothing.mean)
    assert (nothing.scored, nothing.total) == (0, 3)


def test_a_category_without_any_score_leaves_the_macro_mean_unknown() -> None:
    values = {k: v for k, v in VALUES.items() if not k.startswith("color")}
    understanding = summary_of(values, COUNTS, "understanding")
    assert understanding.mean == 15
    assert math.isnan(understanding.macro_mean)


def test_infinite_values_are_counted_and_enter_no_finite_mean() -> None:
    some = summary_of(VALUES | {"color/000": math.inf}, COUNTS, "color")
    assert (some.mean, some.infinite, some.scored) == (pytest.approx(110 / 3), 1, 4)
    every = summary_of(dict.fromkeys(VALUES, math.inf), COUNTS, "understanding")
    assert (every.mean, every.macro_mean, every.infinite, every.scored) == (math.inf, math.inf, 6, 6)
    assert math.isnan(every.low)


def test_a_single_value_has_no_interval() -> None:
    one = summary_of({"left_right/000": 5.0}, {Category.LEFT_RIGHT: 1}, "left_right")
    assert one.mean == 5
    assert math.isnan(one.low)
    assert math.isnan(one.high)


def test_neither_order_nor_other_methods_change_a_number() -> None:
    scores = scores_of(VALUES)
    others = [
        Score(method="a", sample_id=s.sample_id, protocol=PROTOCOL, metric=METRIC, value=1.0 + i)
        for i, s in enumerate(scores)
    ]
    alone = summarise(scores, samples_of(COUNTS), resamples=200)
    among = summarise([*others, *reversed(scores)], list(reversed(samples_of(COUNTS))), resamples=200)
    assert [s for s in among if s.method == METHOD] == alone


def test_contradicting_scores_are_refused() -> None:
    with pytest.raises(StatisticsError, match=r"mirror/009.*no sample"):
        summarise(scores_of({"mirror/009": 1.0}), samples_of(COUNTS))
    with pytest.raises(StatisticsError, match=r"two background_psnr scores for color/000"):
        summarise(scores_of(VALUES) + scores_of({"color/000": 1.0}), samples_of(COUNTS))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Strata of 8 to 40 with different means and spreads: 95 % of the intervals hold the true weighted mean."""
    generator = np.random.default_rng(0)
    sizes, means, spreads = (8, 12, 25, 40), (0.0, 3.0, -2.0, 10.0), (1.0, 4.0, 2.0, 0.5)
    truth = np.average(means, weights=sizes)
    covered = 0
    trials = 600
    for _ in range(trials):
        strata = [generator.normal(m, s, n) for n, m, s in zip(sizes, means, spreads, strict=True)]
        low, high = stratified_interval(strata, generator, resamples=400)
        covered += low <= truth <= high
    # Three standard errors of 600 trials are 0.027.
    assert 0.92 <= covered / trials <= 0.975


@pytest.mark.parametrize("size", [2, 5, 30])
def test_resampled_means_spread_as_the_standard_error(size: int) -> None:
    """Drawing all m values instead of m - 1 would be short by sqrt((m - 1) / m): 29 % for two values, 11 % for five."""
    values = np.random.default_rng(size).normal(0, 3, size)
    means = resampled_means(values, np.random.default_rng(0), 40_000)
    assert means.std() == pytest.approx(values.std(ddof=1) / math.sqrt(size), rel=0.015)


def test_micro_and_macro_means_have_their_own_intervals() -> None:
    sizes, levels = {Category.LEFT_RIGHT: 4, Category.COLOR: 40}, {Category.LEFT_RIGHT: 0.0, Category.COLOR: 100.0}
    generator = np.random.default_rng(8)
    samples = samples_of(sizes)
    values = {s.sample_id: levels[s.category] + generator.normal() for s in samples}
    found = summary_of(values, sizes, "understanding")
    assert found.low < found.mean < found.high < found.low + 2
    assert found.macro_low < found.macro_mean < found.macro_high < found.macro_low + 2
    assert found.macro_high < found.low


def test_stratification_matters() -> None:
    """Means that differ between categories widen no interval."""
    generator = np.random.default_rng(1)
    strata = [generator.normal(mean, 0.1, 30) for mean in (0.0, 100.0)]
    low, high = stratified_interval(strata, generator, resamples=500)
    assert high - low < 0.2
