"""People's ratings in a run folder: the rating tables, and Ins-align among the scores.

RUN/ratings.parquet, ratings.csv   Rating rows: every standing answer on an edit
RUN/attention.parquet              AttentionAnswer rows: every answer on a planted item
RUN/ins_align.json                 means with intervals, agreement, raters, paired tests
RUN/scores.parquet                 Score rows of metric `ins_align` under protocol `human-v1`
"""

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.human_comparison import PairedTest, compare_ratings
from benchmark.records import Score, Unscored
from benchmark.runs import Run
from benchmark.standing import standing
from reason_edit.files import atomic_path, write_text
from reason_edit.rating.agreement import Agreement, RaterProfile, measure_agreement, profile_raters
from reason_edit.rating.ins_align import GROUPS, PROTOCOL, RESAMPLES, Cube, InsAlign, build_cube, summarise_ratings
from reason_edit.rating.returns import AttentionAnswer, Returns
from reason_edit.rating.study import Rating, RatingError
from reason_edit.schema import Category
from reason_edit.tables import TableError, read_rows, to_table, write_rows

METRIC = "ins_align"


@dataclass(frozen=True, kw_only=True, slots=True)
class Aggregate:
    """Ins-align of a study.

    Attributes:
        protocol: How it was measured.
        raters: Who counted.
        without: Who was left out by the caller's wish.
        outdated: Answers that do not count, because the runs have another picture there now, or none.
        summaries: By method and group.
        agreement: Among the raters.
        profiles: Each rater beside the others.
        comparisons: Paired tests between methods.
        resamples: Bootstrap draws.
    """

    protocol: str
    raters: tuple[str, ...]
    without: tuple[str, ...]
    outdated: int
    summaries: tuple[InsAlign, ...]
    agreement: Agreement
    profiles: tuple[RaterProfile, ...]
    comparisons: tuple[PairedTest, ...]
    resamples: int


def export_ratings(runs: Sequence[Run], returns: Returns) -> list[tuple[Path, int]]:
    """Write the standing answers into the run folders that hold their methods.

    Args:
        runs: The run folders.
        returns: The answers.

    Returns:
        Each rating table with its number of rows.

    Raises:
        RatingError: A rated method is in none of the runs.
    """
    owned = _methods(runs)
    if strangers := sorted({r.method for r in returns.ratings} - {m for own in owned for m in own}):
        raise RatingError(
            f"ratings of {', '.join(strangers)}, which none of these runs has; name all runs of the study"
        )
    written = []
    for run, own in zip(runs, owned, strict=True):
        rows = [r for r in returns.ratings if r.method in own]
        path = run.folder / "ratings.parquet"
        write_rows(path, rows, Rating, {"protocol": PROTOCOL})
        with atomic_path(run.folder / "ratings.csv") as temporary:
            to_table(rows, Rating).to_pandas().to_csv(temporary, index=False)
        if returns.attention:
            write_rows(run.folder / "attention.parquet", returns.attention, AttentionAnswer)
        written.append((path, len(rows)))
    return written


def read_ratings(run: Run) -> list[Rating]:
    """The rating table of a run; answers on pictures that are gone are in it too.

    Raises:
        RatingError: There is none, or it does not say which pictures were rated.
    """
    path = run.folder / "ratings.parquet"
    if not path.is_file():
        raise RatingError(f"{run.folder}: no ratings.parquet; `smartedit-bench rate export` writes it")
    try:
        return read_rows(path, Rating)
    except TableError as error:
        raise RatingError(f"{error}; `smartedit-bench rate export` writes it anew from the study") from error


def left_out(run: Run) -> tuple[str, ...]:
    """The raters that the last `rate aggregate` of a run left out by the caller's wish."""
    path = run.folder / "ins_align.json"
    return tuple(json.loads(path.read_text(encoding="utf-8"))["without"]) if path.is_file() else ()


def _methods(runs: Sequence[Run]) -> list[set[str]]:
    return [{e.method for e in run.edits()} for run in runs]


def aggregate_ratings(
    runs: Sequence[Run], returns: Returns, *, without: Sequence[str] = (), resamples: int = RESAMPLES
) -> Aggregate:
    """Compute Ins-align of the pictures that the runs have now and write it into the run folders.

    Args:
        runs: The run folders of the study.
        returns: The answers.
        without: Raters to leave out.
        resamples: Bootstrap draws.

    Returns:
        What was found; each run folder holds it as `ins_align.json`, and its methods' numbers among its scores.

    Raises:
        RatingError: There is no rating of these pictures, a rater to leave out is unknown, or the runs disagree on a
            sample.
    """
    known = {r.rater for r in returns.ratings}
    if strangers := sorted(set(without) - known):
        raise RatingError(f"no rater {', '.join(strangers)}; there are {', '.join(sorted(known)) or 'none'}")
    asked = [r for r in returns.ratings if r.rater not in without]
    if not asked:
        raise RatingError("there is no rating yet")
    export_ratings(runs, returns)
    ratings = standing(runs, asked)
    if not ratings:
        raise RatingError(f"all {len(asked)} answers are on pictures that these runs no longer have")
    samples = _samples(runs)
    cube = build_cube(ratings, samples)
    attention = [a for a in returns.attention if a.rater not in without]
    held = _held(runs)

    def total(group: str, methods: Iterable[str]) -> int:
        """Samples of a group that the methods' runs all have (N)."""
        return sum(samples[i] in GROUPS[group] for i in set.intersection(*(held[m] for m in methods)))

    result = Aggregate(
        protocol=PROTOCOL,
        raters=cube.raters,
        without=tuple(sorted(without)),
        outdated=len(asked) - len(ratings),
        summaries=tuple(
            replace(s, total=total(s.group, [s.method])) for s in summarise_ratings(cube, samples, resamples=resamples)
        ),
        agreement=measure_agreement(cube, resamples=resamples),
        profiles=tuple(profile_raters(cube, ratings, attention)),
        comparisons=tuple(
            replace(c, total=total(c.group, [c.first, c.second]))
            for c in compare_ratings(cube, samples, resamples=resamples)
        ),
        resamples=resamples,
    )
    content = json.dumps(plain_json(asdict(result)), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    for run, own in zip(runs, _methods(runs), strict=True):
        store_scores(run, *_scores(cube, own, {s.sample_id for s in run.samples()}), replaced={(PROTOCOL, METRIC)})
        if left_out(run) != result.without:
            for path in (run.folder / "judges").glob("*.agreement.json"):
                path.unlink()  # it is with other people
        write_text(run.folder / "ins_align.json", content)
    return result


def _held(runs: Sequence[Run]) -> dict[str, set[str]]:
    """The samples of each method's run; runs on parts of a data set have other ones."""
    held: dict[str, set[str]] = {}
    for run, own in zip(runs, _methods(runs), strict=True):
        ids = {s.sample_id for s in run.samples()}
        for method in own:
            held[method] = held.get(method, set()) | ids
    return held


def _samples(runs: Sequence[Run]) -> dict[str, Category]:
    samples: dict[str, Category] = {}
    for run in runs:
        for sample in run.samples():
            if samples.setdefault(sample.sample_id, sample.category) is not sample.category:
                raise RatingError(f"{run.folder}: another category of {sample.sample_id} than in {runs[0].folder}")
    return samples


def _scores(cube: Cube, methods: set[str], samples: set[str]) -> tuple[list[Score], list[Unscored]]:
    """A score of the methods for every one of their run's samples; NaN, with the reason, where nobody decided."""
    scores, unscored = [], []
    means = cube.sample_means
    undecided = cube.undecided.sum(axis=0)
    for m, method in enumerate(cube.methods):
        if method not in methods:
            continue
        for s, sample in enumerate(cube.samples):
            if sample not in samples:
                continue
            key = {"method": method, "sample_id": sample, "protocol": PROTOCOL, "metric": METRIC}
            scores.append(Score(**key, value=float(means[m, s])))
            if math.isnan(means[m, s]):
                reason = "no rater could tell" if undecided[m, s] else "not rated"
                unscored.append(Unscored(**key, reason=reason))
    return scores, unscored


def store_scores(
    run: Run, scores: Sequence[Score], unscored: Sequence[Unscored], *, replaced: Collection[tuple[str, str]]
) -> None:
    """Put scores among those of a run, in the place of what was there under the same protocols and metrics.

    Args:
        run: The run folder.
        scores: The new rows.
        unscored: The new reasons.
        replaced: Protocols and metrics whose old rows go, also where no new ones come.
    """
    with run.turn():
        old = run.scores() if run.scores_path.is_file() else []
        run.write_scores(
            [s for s in old if (s.protocol, s.metric) not in replaced] + list(scores),
            [u for u in run.unscored() if (u.protocol, u.metric) not in replaced] + list(unscored),
        )


def plain_json(value: Any) -> Any:
    """JSON has no NaN: None stands for it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: plain_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(v) for v in value]
    return value
