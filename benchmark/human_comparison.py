"""Methods against one another in the eyes of people: paired permutation tests, intervals over samples and raters."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmark.comparison import EXACT_UP_TO, FLIPS, holm, permutation_p
from benchmark.statistics import Values
from reason_edit.rating.ins_align import CONFIDENCE, GROUPS, RESAMPLES, Cube, percentile_interval, resample_groups
from reason_edit.schema import Category
from smartedit.seeding import numpy_generator

TESTED_GROUPS = ("understanding", "reasoning", "overall")
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """Two methods on the samples that people scored for both.

    Attributes:
        group: The categories.
        first: One method.
        second: The other.
        difference: Mean over samples of first minus second, each the mean over raters.
        low: Lower end of its 95 % interval (bootstrap over samples and raters, as for Ins-align itself).
        high: Upper end.
        p: Two-sided p of the paired permutation test over samples.
        p_holm: p after Holm's correction over all pairs of the group.
        pairs: Samples with a score for both (n).
        total: Samples of the group (N).
    """

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


def compare_ratings(
    cube: Cube, samples: Mapping[str, Category], *, resamples: int = RESAMPLES, groups: Sequence[str] = TESTED_GROUPS
) -> list[PairedTest]:
    """Compare all pairs of methods in every scenario and overall.

    Args:
        cube: The answers.
        samples: The category of every sample.
        resamples: Bootstrap draws.
        groups: Keys of `reason_edit.rating.ins_align.GROUPS`.

    Returns:
        One test a group and pair; the interval is NaN where the methods are not scored on the same samples, because
        their means then are not those of the pairs.
    """
    means = cube.sample_means
    draws = resample_groups(cube, samples, resamples)
    found: list[PairedTest] = []
    for group in groups:
        if group not in draws:
            continue
        where = np.flatnonzero([samples[s] in GROUPS[group] for s in cube.samples])
        pairs = list(itertools.combinations(range(len(cube.methods)), 2))
        differences = np.array([means[a, where] - means[b, where] for a, b in pairs]).reshape(len(pairs), len(where))
        values = _permutation_ps(differences, group)
        tests = []
        for (a, b), difference, p in zip(pairs, differences, values, strict=True):
            used = np.isfinite(difference)
            same = bool((np.isfinite(means[a, where]) == np.isfinite(means[b, where])).all())
            spread = draws[group][:, a] - draws[group][:, b]
            low, high = percentile_interval(spread, TAILS) if same else (math.nan, math.nan)
            tests.append(
                PairedTest(
                    group=group,
                    first=cube.methods[a],
                    second=cube.methods[b],
                    difference=float(difference[used].mean()) if used.any() else math.nan,
                    low=low,
                    high=high,
                    p=p,
                    p_holm=math.nan,
                    pairs=int(used.sum()),
                    total=len(where),
                )
            )
        adjusted = holm([t.p for t in tests])
        found += [replace(t, p_holm=p) for t, p in zip(tests, adjusted, strict=True)]
    return found


def _permutation_ps(differences: Values, group: str) -> list[float]:
    """One p a row of [pairs, samples]; all rows share the flips, and a missing pair is a zero, which no flip moves."""
    filled = np.nan_to_num(differences)
    counts = np.isfinite(differences).sum(axis=1)
    bits = numpy_generator("rating flips", group).integers(0, 2, size=(FLIPS, differences.shape[1]), dtype=np.int8)
    signs = (2 * bits - 1).astype(np.float64)
    flipped = np.abs(signs @ filled.T)
    # As in `permutation_p`: sums in another order differ in the last bits, and a tie counts as extreme.
    bounds = np.abs(filled.sum(axis=1)) - 1e-9 * np.abs(filled).sum(axis=1)
    extreme = (flipped >= bounds).sum(axis=0)
    return [
        permutation_p(row[np.isfinite(row)], signs[:, np.isfinite(row)])
        if n <= EXACT_UP_TO
        else (1 + int(k)) / (1 + FLIPS)
        for row, n, k in zip(differences, counts, extreme, strict=True)
    ]
