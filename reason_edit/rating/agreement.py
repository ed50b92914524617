"""How far raters agree: Krippendorff's alpha, Fleiss' kappa, and raters who are far from the rest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reason_edit.rating.ins_align import CONFIDENCE, RESAMPLES, Cube, multinomial_draws, percentile_interval
from reason_edit.rating.returns import AttentionAnswer
from reason_edit.rating.study import Rating

Values = NDArray[np.float64]

FAR = 0.10
"""A rater whose agreement with the others' majority lies this much below the other raters' own is named ..."""

LEANING = 0.15
"""... and so is one who says aligned this much more or less often than the others' majority, ..."""

NOISE = 3.0
"""... if the distance is also this many standard errors."""

ATTENTION_SHARE = 0.8
"""A rater who passes less of at least three attention items is named."""

HASTY_SECONDS = 1.0
"""A rater whose median answer came sooner is named."""

UNDECIDED_SHARE = 0.5
"""A rater who cannot tell more often is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement among the raters of a study, over the three answers.

    Attributes:
        alpha: Krippendorff's alpha for nominal data, over all edits with at least two answers; NaN where all answers
            are the same or no edit has two.
        alpha_low: Lower end of its 95 % interval (bootstrap over samples).
        alpha_high: Upper end.
        kappa: Fleiss' kappa, over the edits that most raters answered; NaN as above.
        kappa_edits: How many edits that is.
        edits: How many edits have at least two answers.
        observed: The share of pairs of answers on one edit that are the same.
    """

    alpha: float
    alpha_low: float
    alpha_high: float
    kappa: float
    kappa_edits: int
    edits: int
    observed: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RaterProfile:
    """One rater beside the others.

    Attributes:
        rater: The name.
        answers: Answers on edits.
        aligned: Share of aligned among the votes on edits where the others have a majority.
        others_aligned: Share of those edits that the others' majority calls aligned.
        agreement: Share of votes that equal the majority of the others; ties do not count.
        undecided: Share of "cannot tell".
        median_seconds: Median time of an answer.
        attention_passed: Attention items answered as expected.
        attention_answered: Attention items answered.
        concerns: Why the rater is named; nobody is left out for it.
    """

    rater: str
    answers: int
    aligned: float
    others_aligned: float
    agreement: float
    undecided: float
    median_seconds: float
    attention_passed: int
    attention_answered: int
    concerns: tuple[str, ...]


def krippendorff_alpha(table: Values) -> float:
    """Krippendorff's alpha for nominal data (Krippendorff, 2011, "Computing Krippendorff's Alpha-Reliability").

    alpha = 1 - observed / expected disagreement. Units with fewer than two values pair with nothing and do not count,
    which is how missing values enter.

    Args:
        table: Float [units, categories]: how many values of each category a unit has.

    Returns:
        At most 1; NaN where nothing can be paired or all values are the same.
    """
    return float(_alpha(_alpha_terms(table).sum(axis=0)[None])[0])


def _alpha_terms(table: Values) -> Values:
    """Float [units, 1 + categories]: a unit's disagreeing pairs over (values - 1), and its pairable values."""
    values = table.sum(axis=1, keepdims=True)
    pairable = table * (values >= 2)
    disagreeing = values[:, 0] ** 2 - (table**2).sum(axis=1)
    terms = np.divide(disagreeing, values[:, 0] - 1, out=np.zeros(len(table)), where=values[:, 0] >= 2)
    return np.concatenate([terms[:, None], pairable], axis=1)


def _alpha(sums: Values) -> Values:
    """Float [...] of alphas from summed terms [..., 1 + categories]."""
    counts = sums[..., 1:]
    n = counts.sum(axis=-1)
    expected = n**2 - (counts**2).sum(axis=-1)
    ratio = np.divide((n - 1) * sums[..., 0], expected, out=np.full(n.shape, np.nan), where=expected > 1e-12)
    alphas: Values = 1 - ratio
    return alphas


def measure_agreement(cube: Cube, *, resamples: int = RESAMPLES) -> Agreement:
    """Alpha with its interval, and kappa.

    Args:
        cube: The answers.
        resamples: Bootstrap draws over samples, all methods' edits of a sample together.

    Returns:
        The agreement.
    """
    from statsmodels.stats.inter_rater import fleiss_kappa

    by_answer = np.stack(
        [cube.aligned.sum(axis=0), (cube.voted - cube.aligned).sum(axis=0), cube.undecided.sum(axis=0)], axis=-1
    )  # methods, samples, answers
    table = by_answer.reshape(-1, 3)
    terms = _alpha_terms(table)
    per_sample = terms.reshape(*by_answer.shape[:2], -1).sum(axis=0)
    alphas = _alpha(multinomial_draws(len(cube.samples), resamples, "agreement") @ per_sample)
    low, high = percentile_interval(alphas, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    answers = table.sum(axis=1)
    most = answers.max(initial=0)
    full = table[answers == most] if most >= 2 else table[:0]
    varied = len(full) and (full.sum(axis=0) > 0).sum() > 1
    paired = answers >= 2
    pairs = (answers * (answers - 1))[paired].sum()
    same = (table * (table - 1))[paired].sum()
    return Agreement(
        alpha=float(_alpha(terms.sum(axis=0)[None])[0]),
        alpha_low=low,
        alpha_high=high,
        kappa=float(fleiss_kappa(full)) if varied else math.nan,
        kappa_edits=len(full),
        edits=int(paired.sum()),
        observed=float(same / pairs) if pairs else math.nan,
    )


def profile_raters(cube: Cube, ratings: Sequence[Rating], attention: Sequence[AttentionAnswer]) -> list[RaterProfile]:
    """Every rater beside the others, with reasons to look closer where there are any.

    Args:
        cube: The answers.
        ratings: The same as rows, for the times.
        attention: Answers on planted items.

    Returns:
        One profile a rater, by name.
    """
    compared = [_against_others(cube, r) for r in range(len(cube.raters))]
    profiles = []
    for r, (rater, own) in enumerate(zip(cube.raters, compared, strict=True)):
        others = [c.agreement for i, c in enumerate(compared) if i != r and not math.isnan(c.agreement)]
        seconds = [a.seconds for a in ratings if a.rater == rater]
        planted = [a for a in attention if a.rater == rater]
        answered = cube.voted[r].sum() + cube.undecided[r].sum()
        profile = RaterProfile(
            rater=rater,
            answers=int(answered),
            aligned=own.aligned,
            others_aligned=own.others_aligned,
            agreement=own.agreement,
            undecided=float(cube.undecided[r].sum() / answered) if answered else math.nan,
            median_seconds=float(np.median(seconds)) if seconds else math.nan,
            attention_passed=sum(a.passed for a in planted),
            attention_answered=len(planted),
            concerns=(),
        )
        profiles.append(_with_concerns(profile, own, float(np.median(others)) if others else math.nan))
    return profiles


@dataclass(frozen=True, kw_only=True, slots=True)
class _Comparison:
    aligned: float
    others_aligned: float
    agreement: float
    decided: int


def _against_others(cube: Cube, rater: int) -> _Comparison:
    others = [i for i in range(len(cube.raters)) if i != rater]
    votes = cube.voted[others].sum(axis=0)
    share = np.divide(cube.aligned[others].sum(axis=0), votes, out=np.full(votes.shape, np.nan), where=votes > 0)
    # The others' majority, not their mean: one of them who leans must not make the rest look as if they did.
    decided = (cube.voted[rater] > 0) & (votes > 0) & (share != 0.5)
    majority = (share > 0.5)[decided].astype(np.float64)
    own = cube.aligned[rater][decided]
    return _Comparison(
        aligned=_mean(own),
        others_aligned=_mean(majority),
        agreement=_mean((own == majority).astype(np.float64)),
        decided=int(decided.sum()),
    )


def _mean(values: Values) -> float:
    return float(values.mean()) if len(values) else math.nan


def _with_concerns(profile: RaterProfile, own: _Comparison, usual: float) -> RaterProfile:
    """The profile with the reasons to look closer; a comparison with NaN gives none."""
    reasons = []
    if own.decided and usual - own.agreement > max(FAR, NOISE * _standard_error(usual, own.decided)):
        reasons.append(f"agrees with the others' majority on {own.agreement:.0%} of edits; the others on {usual:.0%}")
    leaning = abs(own.aligned - own.others_aligned)
    if own.decided and leaning > max(LEANING, NOISE * _standard_error(own.others_aligned, own.decided)):
        reasons.append(f"says aligned on {own.aligned:.0%} of edits; the others' majority on {own.others_aligned:.0%}")
    if profile.attention_answered >= 3 and profile.attention_passed < ATTENTION_SHARE * profile.attention_answered:
        reasons.append(f"passed {profile.attention_passed} of {profile.attention_answered} attention items")
    if profile.median_seconds < HASTY_SECONDS:
        reasons.append(f"answers within {profile.median_seconds:.2f} s (median)")
    if profile.undecided > UNDECIDED_SHARE:
        reasons.append(f"cannot tell on {profile.undecided:.0%} of edits")
    return replace(profile, concerns=tuple(reasons))


def _standard_error(share: float, count: int) -> float:
    return math.sqrt(share * (1 - share) / count)
