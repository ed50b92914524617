"""Means of scores with bootstrap intervals and coverage, for every category, scenario and the whole benchmark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.records import Score
from reason_edit.schema import PAPER_CATEGORIES, Category, EditSample, Scenario
from smartedit.seeding import numpy_generator

Values = NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95


class StatisticsError(ValueError):
    """Scores cannot be summarised or compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A set of categories that a number is averaged over.

    Attributes:
        name: What tables and files call it, for example `understanding`.
        title: What a person reads.
        categories: The categories in it.
    """

    name: str
    title: str
    categories: tuple[Category, ...]


UNDERSTANDING = Group(
    name="understanding",
    title="Understanding",
    categories=tuple(c for c in PAPER_CATEGORIES if c.scenario is Scenario.UNDERSTANDING),
)
REASONING = Group(name="reasoning", title="Reasoning", categories=(Category.REASONING,))
OVERALL = Group(name="overall", title="Overall", categories=PAPER_CATEGORIES)
CATEGORY_GROUPS = tuple(
    REASONING
    if category is Category.REASONING
    else Group(name=category.value, title=category.value.replace("_", " ").capitalize(), categories=(category,))
    for category in Category
)
GROUPS = {group.name: group for group in (UNDERSTANDING, *CATEGORY_GROUPS, OVERALL)}
"""Every group by name; the category and the scenario `reasoning` are one and the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """One metric of one method over one group of categories under one protocol.

    Attributes:
        protocol: How it was measured.
        method: The method's label.
        group: A key of `GROUPS`.
        metric: The metric.
        mean: Micro mean, over the finite values of all samples of the group; infinite where every score is, NaN where
            there is none.
        low: Lower end of the 95 % interval of `mean`; NaN where a category holds a single finite value.
        high: Upper end.
        macro_mean: Mean of the categories' means; NaN where a category of the group has no score at all.
        macro_low: Lower end of its interval.
        macro_high: Upper end.
        scored: How many samples have a score (n), infinite ones included.
        total: How many samples the group has (N).
        infinite: How many of the scores are infinite; they count in `scored` and enter no mean of finite values.
    """

    protocol: str
    method: str
    group: str
    metric: str
    mean: float
    low: float
    high: float
    macro_mean: float
    macro_low: float
    macro_high: float
    scored: int
    total: int
    infinite: int


@dataclass(frozen=True, slots=True)
class _CategoryValues:
    """What one category contributes: its finite values, their resampled means, and the counts."""

    finite: Values
    means: Values
    infinite: int
    total: int


def index_scores(
    scores: Iterable[Score], samples: Sequence[EditSample]
) -> dict[tuple[str, str, str], dict[str, float]]:
    """Scores by (protocol, method, metric) and then by sample id, checked.

    Args:
        scores: The scores of a run.
        samples: Its samples.

    Returns:
        The values; keys are sorted.

    Raises:
        StatisticsError: A score belongs to no sample, or is there twice.
    """
    known = {sample.sample_id for sample in samples}
    index: dict[tuple[str, str, str], dict[str, float]] = {}
    for score in scores:
        if score.sample_id not in known:
            raise StatisticsError(f"{score.method}: a score for {score.sample_id!r}, which is no sample of this run")
        values = index.setdefault((score.protocol, score.method, score.metric), {})
        if score.sample_id in values:
            raise StatisticsError(
                f"{score.method}: two {score.metric} scores for {score.sample_id} under {score.protocol}"
            )
        values[score.sample_id] = score.value
    return dict(sorted(index.items()))


def summarise(
    scores: Iterable[Score],
    samples: Sequence[EditSample],
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> list[Summary]:
    """Micro and macro means with intervals and coverage for every protocol, method, metric and group.

    The interval is the percentile interval of a bootstrap stratified by category: in each category of m finite values,
    m - 1 are drawn with replacement (Rao and Wu, 1988; drawing m would make the interval too short by (m - 1) / m in
    variance). The draws of a category are seeded by protocol, method, metric and category.

    Args:
        scores: The scores; a sample without a row is as unscored as one with NaN.
        samples: The samples, which say what N is.
        resamples: How many bootstrap resamples.
        confidence: Of the intervals.

    Returns:
        One summary for each combination whose group has samples.

    Raises:
        StatisticsError: A score belongs to no sample, or is there twice.
    """
    members: dict[Category, list[str]] = {}
    for sample in samples:
        members.setdefault(sample.category, []).append(sample.sample_id)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    summaries = []
    for (protocol, method, metric), values in index_scores(scores, samples).items():
        parts = {}
        for category, ids in sorted(members.items()):
            column = np.array([values.get(i, math.nan) for i in sorted(ids)], dtype=np.float64)
            generator = numpy_generator("bootstrap", protocol, method, metric, category.value)
            finite = column[np.isfinite(column)]
            parts[category] = _CategoryValues(
                finite, resampled_means(finite, generator, resamples), int(np.isinf(column).sum()), len(column)
            )
        for group in GROUPS.values():
            present = [parts[c] for c in group.categories if c in parts]
            if present:
                summaries.append(_summary(protocol, method, group.name, metric, present, tails))
    return summaries


def _summary(
    protocol: str, method: str, group: str, metric: str, parts: list[_CategoryValues], tails: tuple[float, float]
) -> Summary:
    infinite = sum(p.infinite for p in parts)
    used = [p for p in parts if len(p.finite)]
    scored = sum(len(p.finite) for p in used) + infinite
    nothing = math.inf if infinite else math.nan
    mean, low, high = nothing, math.nan, math.nan
    macro, macro_low, macro_high = nothing, math.nan, math.nan
    if used:
        weights = np.array([len(p.finite) for p in used], dtype=np.float64)
        weights /= weights.sum()
        category_means = np.array([p.finite.mean() for p in used])
        resampled = np.stack([p.means for p in used])
        mean, macro = float(weights @ category_means), float(category_means.mean())
        low, high = _interval(weights @ resampled, tails)
        macro_low, macro_high = _interval(resampled.mean(axis=0), tails)
    if any(len(p.finite) + p.infinite == 0 for p in parts):
        macro, macro_low, macro_high = math.nan, math.nan, math.nan
    return Summary(
        protocol=protocol,
        method=method,
        group=group,
        metric=metric,
        mean=mean,
        low=low,
        high=high,
        macro_mean=macro,
        macro_low=macro_low,
        macro_high=macro_high,
        scored=scored,
        total=sum(p.total for p in parts),
        infinite=infinite,
    )


def resampled_means(values: Values, generator: np.random.Generator, resamples: int = RESAMPLES) -> Values:
    """Bootstrap means of one stratum: m - 1 draws with replacement out of m values.

    Args:
        values: Float [m], finite.
        generator: Where the draws come from.
        resamples: How many means.

    Returns:
        Float [resamples]; NaN where fewer than two values tell nothing about their spread.
    """
    if len(values) < 2:
        return np.full(resamples, np.nan)
    draws = generator.integers(0, len(values), size=(resamples, len(values) - 1), dtype=np.uint32)
    means: Values = values.take(draws).mean(axis=1)
    return means


def _interval(means: Values, tails: tuple[float, float]) -> tuple[float, float]:
    if np.isnan(means).any():
        return math.nan, math.nan
    low, high = np.quantile(means, tails)
    return float(low), float(high)


def stratified_interval(
    strata: Sequence[Values],
    generator: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> tuple[float, float]:
    """Percentile interval of the mean of all values, resampled within each stratum.

    Args:
        strata: The finite values of each stratum.
        generator: Where the draws come from.
        resamples: How many resamples.
        confidence: Of the interval.

    Returns:
        Both ends; NaN where a stratum holds a single value or there is none.
    """
    used = [s for s in strata if len(s)]
    if not used:
        return math.nan, math.nan
    weights = np.array([len(s) for s in used], dtype=np.float64)
    means = np.stack([resampled_means(s, generator, resamples) for s in used])
    return _interval(weights / weights.sum() @ means, ((1 - confidence) / 2, (1 + confidence) / 2))
