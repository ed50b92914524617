"""Paired differences between methods: permutation tests, Holm correction, minimal detectable difference."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.records import Score
from benchmark.statistics import GROUPS, OVERALL, StatisticsError, Values, index_scores, stratified_interval
from reason_edit.schema import EditSample
from smartedit.seeding import numpy_generator

FLIPS = 9_999
EXACT_UP_TO = 13
"""With so few pairs all 2**n sign flips are tried, and p is exact."""

ALPHA = 0.05
POWER = 0.80


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two methods on one metric: the mean of first minus second over the samples that both have a finite score for.

    Attributes:
        protocol: How it was measured.
        metric: The metric.
        group: The categories, a key of `GROUPS`.
        first: One method.
        second: The other.
        difference: Mean of the paired differences, first - second.
        low: Lower end of its 95 % interval (bootstrap of the differences, stratified by category).
        high: Upper end.
        p: Two-sided p of the paired permutation test.
        p_holm: p after Holm's correction over all pairs of this call.
        pairs: The number of samples in the test (n).
        total: The number of samples of the group (N).
        infinite_first: Samples left out because only the first method's score is infinite.
        infinite_second: The same for the second.
        infinite_both: Samples left out because both are.
        minimal_detectable: The true difference that a test with this spread and n finds with power 0.8 at alpha 0.05.
    """

    protocol: str
    metric: str
    group: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    pairs: int
    total: int
    infinite_first: int
    infinite_second: int
    infinite_both: int
    minimal_detectable: float


def compare_methods(
    scores: Iterable[Score],
    samples: Sequence[EditSample],
    *,
    protocol: str,
    metric: str,
    group: str = OVERALL.name,
    methods: Sequence[str] | None = None,
) -> list[Comparison]:
    """Compare all pairs of methods on one metric.

    Args:
        scores: Scores of one data set.
        samples: Its samples.
        protocol: Only scores under it are used.
        metric: The metric.
        group: A key of `GROUPS`.
        methods: Which methods, in the order of the pairs; all by default.

    Returns:
        One comparison a pair.

    Raises:
        StatisticsError: The group or a method is unknown, or fewer than two methods have such scores.
    """
    if group not in GROUPS:
        raise StatisticsError(f"unknown group {group!r}; there are {', '.join(GROUPS)}")
    index = {key[1]: values for key, values in index_scores(scores, samples).items() if key[::2] == (protocol, metric)}
    chosen = list(methods) if methods is not None else sorted(index)
    if missing := [m for m in chosen if m not in index]:
        raise StatisticsError(
            f"no {metric} scores under {protocol} for {', '.join(missing)}; there are some for {', '.join(index)}"
        )
    if len(chosen) < 2:
        raise StatisticsError(f"comparing needs two methods with {metric} scores under {protocol}, not {chosen}")
    members = sorted(
        (s for s in samples if s.category in GROUPS[group].categories), key=lambda s: (s.category, s.sample_id)
    )
    columns = {m: np.array([index[m].get(s.sample_id, math.nan) for s in members]) for m in chosen}
    categories = np.array([s.category.value for s in members])
    signs = _random_signs(len(members), protocol, metric, group)
    pairs = [
        _compare_pair(protocol, metric, group, a, b, columns[a], columns[b], categories, signs)
        for a, b in itertools.combinations(chosen, 2)
    ]
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, holm([pair.p for pair in pairs]), strict=True)]


def _random_signs(count: int, *keys: str) -> Values:
    """Float [FLIPS, count] of -1 and 1, the same for all pairs of a comparison."""
    bits = numpy_generator("sign flips", *keys).integers(0, 2, size=(FLIPS, count), dtype=np.int8)
    return (2 * bits - 1).astype(np.float64)


def _compare_pair(
    protocol: str,
    metric: str,
    group: str,
    first: str,
    second: str,
    first_values: Values,
    second_values: Values,
    categories: np.ndarray,
    signs: Values,
) -> Comparison:
    used = np.isfinite(first_values) & np.isfinite(second_values)
    both = ~np.isnan(first_values) & ~np.isnan(second_values)
    infinite = np.isinf(first_values), np.isinf(second_values)
    differences = first_values[used] - second_values[used]
    strata = [differences[categories[used] == c] for c in np.unique(categories)]
    low, high = stratified_interval(strata, numpy_generator("difference", protocol, metric, group, first, second))
    return Comparison(
        protocol=protocol,
        metric=metric,
        group=group,
        first=first,
        second=second,
        difference=float(differences.mean()) if len(differences) else math.nan,
        low=low,
        high=high,
        p=permutation_p(differences, signs if used.all() else signs[:, used]),
        p_holm=math.nan,
        pairs=len(differences),
        total=len(first_values),
        infinite_first=int((both & infinite[0] & ~infinite[1]).sum()),
        infinite_second=int((both & infinite[1] & ~infinite[0]).sum()),
        infinite_both=int((infinite[0] & infinite[1]).sum()),
        minimal_detectable=minimal_detectable_difference(differences),
    )


def permutation_p(differences: Values, signs: Values) -> float:
    """Two-sided p of the paired permutation test on the mean difference.

    Under the null hypothesis the two labels of a sample may be exchanged, which flips the sign of its difference; being
    within a sample, the exchange is stratified by category as well. Up to `EXACT_UP_TO` pairs every flip is tried;
    beyond, p = (1 + extreme) / (1 + flips), which is never 0.

    Args:
        differences: Float [n].
        signs: Float [flips, n] of -1 and 1.

    Returns:
        p; NaN without pairs.
    """
    n = len(differences)
    if n == 0:
        return math.nan
    exact = n <= EXACT_UP_TO
    if exact:
        signs = np.where((np.arange(2**n)[:, None] >> np.arange(n)) & 1, -1.0, 1.0)
    flipped = np.abs(signs @ differences)
    # Sums of the same numbers in another order differ in the last bits; a tie must count as extreme.
    bound = abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    extreme = int((flipped >= bound).sum())
    return extreme / len(flipped) if exact else (1 + extreme) / (1 + len(flipped))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; NaN stays NaN and counts in no family."""
    from statsmodels.stats.multitest import multipletests

    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(len(p), np.nan)
    tested = ~np.isnan(p)
    if tested.any():
        adjusted[tested] = multipletests(p[tested], alpha=ALPHA, method="holm")[1]
    return [float(a) for a in adjusted]


def minimal_detectable_difference(differences: Values, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true mean difference that a two-sided paired test would find with the given power.

    (z(1 - alpha / 2) + z(power)) * s / sqrt(n), with s the standard deviation of the paired differences; 2.80 s/sqrt(n)
    for alpha 0.05 and power 0.8. One comparison, before Holm's correction.

    Args:
        differences: Float [n].
        alpha: Level of the test.
        power: Wanted probability of finding the difference.

    Returns:
        In the metric's unit; NaN below two pairs.
    """
    from scipy.stats import norm

    n = len(differences)
    if n < 2:
        return math.nan
    factor = norm.ppf(1 - alpha / 2) + norm.ppf(power)
    return float(factor * differences.std(ddof=1) / math.sqrt(n))
