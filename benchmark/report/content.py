"""What a report says: a run folder read once, summarised, with what is known about its methods and its data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.records import EditRecord, Score, Unscored
from benchmark.runs import Run, RunError
from benchmark.statistics import Summary, summarise
from reason_edit.schema import Category, EditSample

REFERENCE = "reference"
REWRITES = "prompt-rewrite"
SEES_MASK = frozenset({"mask-given", "compositing"})


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodInfo:
    """A method of the run.

    Attributes:
        label: Its label in this run.
        tags: What it is and what it was given, for example `direct`, `mask-given`, `reference`.
    """

    label: str
    tags: tuple[str, ...]

    @property
    def section(self) -> str:
        """Which methods it competes with; the titles are `SECTIONS`."""
        if REFERENCE in self.tags:
            return "References"
        if SEES_MASK & set(self.tags):
            return "Given the mask, or compositing"
        return "Rewriting the prompt" if REWRITES in self.tags else "Editors"


CATEGORY_ORDER = {category: place for place, category in enumerate(Category)}
SECTIONS = ("Editors", "Rewriting the prompt", "Given the mask, or compositing", "References")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContent:
    """Everything that the formats show.

    Attributes:
        settings: `run.json`.
        samples: The samples, ordered by category and id.
        methods: The methods, editors first.
        protocols: Names of the protocols with scores.
        edits: Edit records by (method, sample id).
        scores: All scores.
        unscored: Why scores are NaN or infinite.
        summaries: By (protocol, method, group, metric).
    """

    settings: Mapping[str, Any]
    samples: tuple[EditSample, ...]
    methods: tuple[MethodInfo, ...]
    protocols: tuple[str, ...]
    edits: Mapping[tuple[str, str], EditRecord]
    scores: tuple[Score, ...]
    unscored: tuple[Unscored, ...]
    summaries: Mapping[tuple[str, str, str, str], Summary]

    def metrics(self, protocol: str) -> set[str]:
        """The metrics that have rows under a protocol."""
        return {key[3] for key in self.summaries if key[0] == protocol}

    @property
    def dataset_name(self) -> str:
        """What the data set is called."""
        dataset = self.settings.get("dataset", {})
        return str(dataset.get("name", "unnamed")) if isinstance(dataset, Mapping) else str(dataset)

    def reason(self, protocol: str, method: str, metric: str) -> str | None:
        """The most frequent reason for a method's missing scores of one metric."""
        reasons = [u.reason for u in self.unscored if (u.protocol, u.method, u.metric) == (protocol, method, metric)]
        return max(sorted(set(reasons)), key=reasons.count) if reasons else None


def load_content(run: Run) -> ReportContent:
    """Read a run folder and summarise its scores.

    Args:
        run: A run that has been scored.

    Returns:
        What the reports are made of.

    Raises:
        RunError: A table is missing, or there is no score in it.
        StatisticsError: The scores contradict the samples.
    """
    settings = run.settings()
    samples = tuple(sorted(run.samples(), key=lambda s: (CATEGORY_ORDER[s.category], s.sample_id)))
    scores = tuple(run.scores())
    if not scores:
        raise RunError(f"{run.scores_path}: holds no score; run `smartedit-bench score` again")
    tags = _tags(settings)
    edits = run.edits()
    found = {s.method for s in scores} | {e.method for e in edits}
    methods = [MethodInfo(label=m, tags=tags.get(m, ())) for m in [*tags, *sorted(found - set(tags))]]
    return ReportContent(
        settings=settings,
        samples=samples,
        methods=tuple(sorted(methods, key=lambda m: SECTIONS.index(m.section))),
        protocols=tuple(sorted({s.protocol for s in scores})),
        edits={(e.method, e.sample_id): e for e in edits},
        scores=scores,
        unscored=tuple(run.unscored()),
        summaries={(s.protocol, s.method, s.group, s.metric): s for s in summarise(scores, samples)},
    )


def _tags(settings: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Tags by method label, from `run.json`."""
    methods = settings.get("methods", {})
    entries = methods.items() if isinstance(methods, Mapping) else ((m["label"], m) for m in methods)
    return {str(label): tuple(entry.get("tags", ())) for label, entry in entries}
