"""Several runs on one data set as one set of methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmark.judges.judging import judge_identity
from benchmark.records import Score
from benchmark.report.columns import JUDGE_PREFIX
from benchmark.runs import Run, RunError
from reason_edit.schema import EditSample

NETWORKS = {"clip_score": "clip", "background_lpips": "lpips"}
"""The network of the protocol that a metric rests on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JoinedRuns:
    """The scores of several runs.

    Attributes:
        samples: The samples, which all runs share.
        scores: All scores; a method whose label several runs use is called `RUN/METHOD`.
        measured_by: By protocol and metric, for each run folder that has such scores the network or judge behind them.
    """

    samples: tuple[EditSample, ...]
    scores: tuple[Score, ...]
    measured_by: Mapping[tuple[str, str], Mapping[str, str]]

    def protocol(self, metric: str, name: str | None = None) -> str:
        """The protocol to compare a metric under.

        Args:
            metric: The metric.
            name: The protocol asked for; None takes the only one that has scores of the metric.

        Raises:
            RunError: There are no such scores, several protocols have some and none was asked for, or the runs' scores
                rest on different networks or judges.
        """
        found = sorted({score.protocol for score in self.scores if score.metric == metric})
        if not found:
            metrics = sorted({score.metric for score in self.scores})
            raise RunError(f"no {metric} scores; there are scores of {', '.join(metrics)}")
        if name is None and len(found) == 1:
            name = found[0]
        if name is None:
            raise RunError(f"{metric} scores under {', '.join(found)}; choose one with --protocol")
        if name not in found:
            raise RunError(f"no {metric} scores under {name}; there are some under {', '.join(found)}")
        behind = self.measured_by.get((name, metric), {})
        if len(set(behind.values())) > 1:
            raise RunError(
                f"{metric} under {name} is measured by different ones, and only numbers of one compare: "
                + "; ".join(f"{folder} by {one}" for folder, one in behind.items())
            )
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
    return JoinedRuns(samples=tuple(first.samples()), scores=tuple(scores), measured_by=_measured_by(runs))


def _measured_by(runs: Sequence[Run]) -> dict[tuple[str, str], dict[str, str]]:
    """What stands behind each run's numbers, where they rest on more than the protocol's definition."""
    behind: dict[tuple[str, str], dict[str, str]] = {}
    for run in runs:
        protocols = run.settings().get("protocols", {})
        for protocol, metric in sorted({(s.protocol, s.metric) for s in run.scores()}):
            if metric.startswith(JUDGE_PREFIX):
                one = judge_identity(run, metric.removeprefix(JUDGE_PREFIX))
            else:
                network = protocols.get(protocol, {}).get("networks", {}).get(NETWORKS.get(metric), {})
                one = f"{network['name']} ({network['sha256'][:12]})" if "sha256" in network else None
            if one is not None:
                behind.setdefault((protocol, metric), {})[str(run.folder)] = one
    return behind


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
