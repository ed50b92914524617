"""Ins-align: the share of edits that people call aligned, with intervals over samples and raters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from reason_edit.rating.study import Answer, Rating, RatingError
from reason_edit.schema import PAPER_CATEGORIES, Category, Scenario

Values = NDArray[np.float64]

PROTOCOL = "human-v1"
"""Per sample the mean over raters of aligned = 1 and not = 0; "cannot tell" is no vote; then the mean over samples."""

RESAMPLES = 2000
CONFIDENCE = 0.95

GROUPS: dict[str, tuple[Category, ...]] = {
    Scenario.UNDERSTANDING.value: tuple(c for c in PAPER_CATEGORIES if c.scenario is Scenario.UNDERSTANDING),
    **{c.value: (c,) for c in Category},
    "overall": PAPER_CATEGORIES,
}
"""What means are taken over; the category `reasoning` is the scenario of that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InsAlign:
    """Ins-align of one method over one group of categories.

    Attributes:
        method: The method's label.
        group: A key of `GROUPS`.
        mean: Mean over the scored samples; NaN where there is none.
        low: Lower end of the 95 % interval; NaN where a category has fewer than two scored samples.
        high: Upper end.
        scored: Samples with at least one vote for aligned or not (n).
        total: Samples of the group (N).
        votes: Votes for aligned or not.
        cannot_tell: Answers "cannot tell".
    """

    method: str
    group: str
    mean: float
    low: float
    high: float
    scored: int
    total: int
    votes: int
    cannot_tell: int


@dataclass(frozen=True, slots=True)
class Cube:
    """All answers of a study as arrays.

    Attributes:
        raters: Names, first axis.
        methods: Labels, second axis.
        samples: Ids, third axis.
        aligned: Float [raters, methods, samples]; 1 where the answer is aligned.
        voted: Float of the same shape; 1 where the answer is aligned or not.
        undecided: Float of the same shape; 1 where it is cannot tell.
    """

    raters: tuple[str, ...]
    methods: tuple[str, ...]
    samples: tuple[str, ...]
    aligned: Values
    voted: Values
    undecided: Values

    @property
    def sample_means(self) -> Values:
        """Float [methods, samples]: the mean over raters; NaN without a vote."""
        votes = self.voted.sum(axis=0)
        means: Values = np.divide(self.aligned.sum(axis=0), votes, out=np.full(votes.shape, np.nan), where=votes > 0)
        return means


def build_cube(ratings: Sequence[Rating], samples: Mapping[str, Category], methods: Sequence[str] = ()) -> Cube:
    """Arrange ratings by rater, method and sample.

    Args:
        ratings: The answers, one a rater, method and sample.
        samples: The category of every sample of the benchmark, rated or not.
        methods: Methods to hold even where nobody rated them.

    Returns:
        The cube; all three axes are sorted.

    Raises:
        RatingError: A rating is there twice, or is on a sample that is not among `samples`.
    """
    raters = sorted({r.rater for r in ratings})
    labels = sorted({r.method for r in ratings} | set(methods))
    ids = sorted(samples)
    place_r, place_m, place_s = ({name: i for i, name in enumerate(axis)} for axis in (raters, labels, ids))
    planes = np.zeros((3, len(raters), len(labels), len(ids)))
    for rating in ratings:
        if rating.sample_id not in place_s:
            raise RatingError(f"a rating of {rating.method} on {rating.sample_id!r}, which is no sample of this run")
        at = (place_r[rating.rater], place_m[rating.method], place_s[rating.sample_id])
        if planes[1][at] or planes[2][at]:
            raise RatingError(f"two ratings of {rating.method} on {rating.sample_id} by {rating.rater}")
        planes[0][at] = rating.answer is Answer.ALIGNED
        planes[1][at] = rating.answer is not Answer.CANNOT_TELL
        planes[2][at] = rating.answer is Answer.CANNOT_TELL
    return Cube(tuple(raters), tuple(labels), tuple(ids), *planes)


def summarise_ratings(
    cube: Cube, samples: Mapping[str, Category], *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> list[InsAlign]:
    """Mean, interval and coverage of every method over every group.

    The interval is the percentile interval of a bootstrap that draws raters and samples independently of one another
    (the "pigeonhole" bootstrap of Owen, 2007), samples within their category. Of n units n - 1 are drawn (Rao and Wu,
    1988): with four raters, drawing four would make their part of the variance a quarter too small. A single rater's
    own leaning cannot be known; the interval then is over samples only. Small panels: see docs/ins_align.md on how
    often the interval holds the truth.

    Args:
        cube: The answers.
        samples: The category of every sample.
        resamples: How many bootstrap draws.
        confidence: Of the intervals.

    Returns:
        One summary for each method and group that has samples.
    """
    means = cube.sample_means
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    found = []
    for group, draws in resample_groups(cube, samples, resamples).items():
        where = _members(cube, samples, GROUPS[group])
        for m, method in enumerate(cube.methods):
            scored = int(np.isfinite(means[m, where]).sum())
            low, high = percentile_interval(draws[:, m], tails)
            found.append(
                InsAlign(
                    method=method,
                    group=group,
                    mean=float(np.nanmean(means[m, where])) if scored else math.nan,
                    low=low,
                    high=high,
                    scored=scored,
                    total=len(where),
                    votes=int(cube.voted[:, m, where].sum()),
                    cannot_tell=int(cube.undecided[:, m, where].sum()),
                )
            )
    return found


def resample_groups(cube: Cube, samples: Mapping[str, Category], resamples: int = RESAMPLES) -> dict[str, Values]:
    """Bootstrap means of every group that has samples; one draw is the same raters and samples for all methods.

    Args:
        cube: The answers.
        samples: The category of every sample.
        resamples: How many draws.

    Returns:
        Float [resamples, methods] by group; NaN for a method with a category of which a single sample is scored, whose
        spread nobody knows.
    """
    means = cube.sample_means
    drawn_raters = multinomial_draws(len(cube.raters), resamples, "raters")
    members = {c: _members(cube, samples, (c,)) for c in Category}
    resampled = {c: _resampled_means(cube, where, drawn_raters, c) for c, where in members.items() if len(where)}
    groups = {}
    for group, categories in GROUPS.items():
        present = [c for c in categories if c in resampled]
        if not present:
            continue
        counts = np.stack([np.isfinite(means[:, members[c]]).sum(axis=1) for c in present])
        weights = counts / np.maximum(1, counts.sum(axis=0))
        weights[:, (counts == 1).any(axis=0) | (counts.sum(axis=0) == 0)] = np.nan
        # A category without a score has weight 0, and its draws are NaN.
        parts = [np.where(w == 0, 0, resampled[c] * w) for c, w in zip(present, weights, strict=True)]
        groups[group] = np.sum(parts, axis=0)
    return groups


def _members(cube: Cube, samples: Mapping[str, Category], categories: Sequence[Category]) -> NDArray[np.intp]:
    return np.flatnonzero([samples[s] in categories for s in cube.samples])


def multinomial_draws(count: int, resamples: int, *keys: str) -> Values:
    """How often each unit is drawn when count - 1 of them are; a single unit is always there.

    Args:
        count: How many units there are.
        resamples: How many draws.
        keys: What seeds the draws.

    Returns:
        Float [resamples, count].
    """
    if count < 2:
        return np.ones((resamples, count))
    seed = int.from_bytes(sha256("\x1f".join(("ins_align", *keys)).encode()).digest()[:8], "little")
    generator = np.random.Generator(np.random.Philox(seed))
    return generator.multinomial(count - 1, np.full(count, 1 / count), size=resamples).astype(np.float64)


def _resampled_means(cube: Cube, members: NDArray[np.intp], drawn_raters: Values, category: Category) -> Values:
    """Float [resamples, methods]: means of one category; NaN where a draw holds no vote on a method."""
    shape = (len(drawn_raters), len(cube.methods), len(members))
    raters = len(cube.raters)
    aligned = (drawn_raters @ cube.aligned[:, :, members].reshape(raters, -1)).reshape(shape)
    votes = (drawn_raters @ cube.voted[:, :, members].reshape(raters, -1)).reshape(shape)
    drawn_samples = multinomial_draws(len(members), len(drawn_raters), "samples", category.value)
    per_sample = np.divide(aligned, votes, out=np.zeros(shape), where=votes > 0)
    total = np.einsum("dms,ds->dm", per_sample, drawn_samples)
    weight = np.einsum("dms,ds->dm", (votes > 0).astype(np.float64), drawn_samples)
    means: Values = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
    return means


def percentile_interval(draws: Values, tails: tuple[float, float]) -> tuple[float, float]:
    """The quantiles at both tails of the finite draws; NaN where there is none."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return math.nan, math.nan
    low, high = np.quantile(finite, tails)
    return float(low), float(high)
