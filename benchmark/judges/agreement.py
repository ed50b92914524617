"""Whether a judge may stand in for people: accuracy, kappa and bias on the edits that people rated, with intervals."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.human_ratings import left_out, plain_json, read_ratings
from benchmark.judges.judging import read_judgements
from benchmark.judges.verdicts import JudgeError, Judgement
from benchmark.runs import Run
from benchmark.standing import standing
from reason_edit.files import write_text
from reason_edit.rating.ins_align import (
    CONFIDENCE,
    GROUPS,
    RESAMPLES,
    Cube,
    build_cube,
    multinomial_draws,
    percentile_interval,
)
from reason_edit.rating.study import Answer, Rating
from reason_edit.schema import Category

Values = NDArray[np.float64]
TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A number with its 95 % interval (bootstrap over samples, all methods' edits of a sample together)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeAgreement:
    """A judge against people on one part of the edits.

    Attributes:
        part: `all`, a group of categories, or `method LABEL`.
        edits: Edits with a majority among people and an answer of the judge.
        unanswered: Edits with a majority among people on which the judge gave no answer.
        undecided: Edits on which people are split evenly.
        accuracy: Share of edits on which the judge says what the majority says.
        kappa: Cohen's kappa of judge and majority; NaN where neither varies.
        bias: Share that the judge calls aligned minus the people's mean, on the same edits; above 0 it is lenient.
    """

    part: str
    edits: int
    unanswered: int
    undecided: int
    accuracy: Estimate
    kappa: Estimate
    bias: Estimate


def compare_with_people(
    judgements: Sequence[Judgement],
    ratings: Sequence[Rating],
    samples: Mapping[str, Category],
    *,
    resamples: int = RESAMPLES,
) -> list[JudgeAgreement]:
    """Set a judge's answers against people's majority.

    Args:
        judgements: The judge's rows.
        ratings: The people's.
        samples: The category of every sample.
        resamples: Bootstrap draws.

    Returns:
        All edits first, then each group of categories, then each method.

    Raises:
        JudgeError: No edit was judged by both.
    """
    methods = sorted({j.method for j in judgements} & {r.method for r in ratings})
    if not methods:
        raise JudgeError("no method was judged by both; the judge has other methods than the ratings")
    cube = build_cube([r for r in ratings if r.method in methods], samples, methods)
    said = _judge_plane(judgements, cube)
    people = cube.sample_means
    parts: list[tuple[str, NDArray[np.intp], NDArray[np.intp]]] = []
    everything, all_methods = np.arange(len(cube.samples)), np.arange(len(cube.methods))
    parts.append(("all", all_methods, everything))
    for group, categories in GROUPS.items():
        where = np.flatnonzero([samples[s] in categories for s in cube.samples])
        if len(where) and group != "overall":
            parts.append((group, all_methods, where))
    parts += [(f"method {m}", np.array([i]), everything) for i, m in enumerate(cube.methods)]
    return [_part(name, said[np.ix_(m, s)], people[np.ix_(m, s)], resamples) for name, m, s in parts]


def _judge_plane(judgements: Sequence[Judgement], cube: Cube) -> Values:
    """Float [methods, samples]: 1 aligned, 0 not, NaN no answer."""
    plane = np.full((len(cube.methods), len(cube.samples)), np.nan)
    place_m = {m: i for i, m in enumerate(cube.methods)}
    place_s = {s: i for i, s in enumerate(cube.samples)}
    for j in judgements:
        if j.answer is not None and j.method in place_m and j.sample_id in place_s:
            plane[place_m[j.method], place_s[j.sample_id]] = j.answer is Answer.ALIGNED
    return plane


def _part(name: str, said: Values, people: Values, resamples: int) -> JudgeAgreement:
    decided = np.isfinite(people) & (people != 0.5)
    majority = people > 0.5
    both = decided & np.isfinite(said)
    judged = np.where(both, said, 0) > 0.5
    rated = np.isfinite(people) & np.isfinite(said)
    # Everything below is a function of sums over samples, so that a resample is one matrix product.
    terms = np.stack(
        [
            (both & judged & majority).sum(axis=0),
            (both & judged & ~majority).sum(axis=0),
            (both & ~judged & majority).sum(axis=0),
            (both & ~judged & ~majority).sum(axis=0),
            np.where(rated, said - people, 0).sum(axis=0),
            rated.sum(axis=0),
        ],
        axis=-1,
    ).astype(np.float64)
    drawn = multinomial_draws(len(terms), resamples, "judge", name) @ terms
    total = terms.sum(axis=0)[None]
    accuracy, kappa, bias = (_estimate(float(f(total)[0]), f(drawn), len(terms)) for f in (_accuracy, _kappa, _bias))
    return JudgeAgreement(
        part=name,
        edits=int(both.sum()),
        unanswered=int((decided & ~np.isfinite(said)).sum()),
        undecided=int((np.isfinite(people) & ~decided).sum()),
        accuracy=accuracy,
        kappa=kappa,
        bias=bias,
    )


def _estimate(value: float, draws: Values, units: int) -> Estimate:
    low, high = percentile_interval(draws, TAILS) if units > 1 and math.isfinite(value) else (math.nan, math.nan)
    return Estimate(value=value, low=low, high=high)


def _accuracy(sums: Values) -> Values:
    return _ratio(sums[:, 0] + sums[:, 3], sums[:, :4].sum(axis=1))


def _kappa(sums: Values) -> Values:
    """Cohen's kappa of two-by-two counts."""
    n = sums[:, :4].sum(axis=1)
    observed = _ratio(sums[:, 0] + sums[:, 3], n)
    judge_yes, people_yes = _ratio(sums[:, 0] + sums[:, 1], n), _ratio(sums[:, 0] + sums[:, 2], n)
    chance = judge_yes * people_yes + (1 - judge_yes) * (1 - people_yes)
    return _ratio(observed - chance, 1 - chance)


def _bias(sums: Values) -> Values:
    return _ratio(sums[:, 4], sums[:, 5])


def _ratio(above: Values, below: Values) -> Values:
    ratio: Values = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 1e-12)
    return ratio


def store_agreement(run: Run, name: str, *, resamples: int = RESAMPLES) -> list[JudgeAgreement]:
    """Compare a judge of a run with the run's ratings, on the pictures that are there, and keep the result.

    The raters are those of Ins-align: whom `rate aggregate` left out is left out here too.

    Args:
        run: The run folder, with `ratings.parquet`.
        name: The judge.
        resamples: Bootstrap draws.

    Returns:
        The agreement, all edits first.

    Raises:
        RatingError: There are no ratings, or they do not say of which pictures they are.
        JudgeError: There are no judgements, or no edit has both.
    """
    without = left_out(run)
    ratings = [r for r in standing([run], read_ratings(run)) if r.rater not in without]
    samples = {s.sample_id: s.category for s in run.samples()}
    found = compare_with_people(read_judgements(run, name), ratings, samples, resamples=resamples)
    content = {
        "judge": name,
        "raters": sorted({r.rater for r in ratings}),
        "without": sorted(without),
        "resamples": resamples,
        "parts": [asdict(part) for part in found],
    }
    target = run.folder / "judges" / f"{name}.agreement.json"
    write_text(target, json.dumps(plain_json(content), indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    return found
