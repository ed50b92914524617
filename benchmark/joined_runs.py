"""Several runs on one data set as one set of methods."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmark.records import Score
from benchmark.runs import Run, RunError
from reason_edit.schema import EditSample


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedRuns:
    """The scores of several runs.

    Attributes:
        samples: The samples, which all runs share.
        scores: All scores; a method whose label several runs use is called `RUN/METHOD`.
    """

    samples: tuple[EditSample, ...]
    scores: tuple[Score, ...]

    def protocol(self, metric: str, name: str | None = None) -> str:
        """The protocol to compare a metric under.

        Args:
            metric: The metric.
            name: The protocol asked for; None takes the only one that has scores of the metric.

        Raises:
            RunError: There are no such scores, or several protocols have some and none was asked for.
        """
        found = sorted({score.protocol for score in self.scores if score.metric == metric})
        if not found:
            metrics = sorted({score.metric for score in self.scores})
            raise RunError(f"no {metric} scores; there are scores of {', '.join(metrics)}")
        if name is None and len(found) == 1:
            return found[0]
        if name is None:
            raise RunError(f"{metric} scores under {', '.join(found)}; choose one with --protocol")
        if name not in found:
            raise RunError(f"no {metric} scores under {name}; there are some under {', '.join(found)}")
        return name


def join_runs(runs: Sequence[Run]) -> JoinedRuns:
    """Read runs that share a data set.

    Args:
        runs: Scored runs; at least one.

    Returns:
        Their scores with labels that differ.

    Raises:
        RunError: A run is not scored, is given twice, or is on other samples than the first.
    """
    folders = [run.folder.resolve() for run in runs]
    if len(set(folders)) < len(folders):
        raise RunError("a run folder is given twice; name each run once")
    for run in runs:
        run.settings()
    first = runs[0]
    for run in runs[1:]:
        _same_data(first, run)
    labels = [(run, label) for run in runs for label in sorted({s.method for s in run.scores()})]
    shared = {label for _, label in labels if sum(label == other for _, other in labels) > 1}
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.folder) for run in runs]
    scores = [
        replace(score, method=f"{name}/{score.method}") if score.method in shared else score
        for run, name in zip(runs, names, strict=True)
        for score in run.scores()
    ]
    return JoinedRuns(samples=tuple(first.samples()), scores=tuple(scores))


def _same_data(first: Run, other: Run) -> None:
    """Both fingerprints in `run.json`, and the samples themselves, must agree."""
    prints = [_fingerprint(run) for run in (first, other)]
    if prints[0] != prints[1]:
        raise RunError(
            f"{other.folder}: on another data set than {first.folder} (fingerprints {prints[1]!r} and {prints[0]!r}); "
            "only runs on the same samples compare"
        )
    described = [{(s.sample_id, s.instruction, s.target_label) for s in run.samples()} for run in (first, other)]
    if described[0] != described[1]:
        differing = sorted({sample_id for sample_id, _, _ in described[0] ^ described[1]})
        raise RunError(
            f"{other.folder}: holds other samples than {first.folder}, for example {', '.join(differing[:3])}; "
            "only runs on the same samples compare"
        )


def _fingerprint(run: Run) -> str | None:
    dataset = run.settings().get("dataset")
    return dataset.get("fingerprint") if isinstance(dataset, dict) else None
