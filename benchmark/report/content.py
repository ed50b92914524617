"""What a report says: a run folder read once, summarised, with what is known about its methods and its data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.records import EditRecord, Score, Unscored
from benchmark.report.columns import is_opinion
from benchmark.report.people import opinion_notes, with_people_intervals
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
        protocols: Names of the protocols with tables of their own.
        opinions: Metrics that people or judges scored under a protocol of their own, which it is named by; they are
            columns in the tables of every other protocol.
        edits: Edit records by (method, sample id).
        scores: All scores.
        unscored: Why scores are NaN or infinite.
        summaries: By (protocol, method, group, metric); an opinion stands under every protocol whose tables show it.
        opinion_notes: A sentence for each opinion's metric: who gave it, and how far they agree.
    """

    settings: Mapping[str, Any]
    samples: tuple[EditSample, ...]
    methods: tuple[MethodInfo, ...]
    protocols: tuple[str, ...]
    opinions: Mapping[str, str]
    edits: Mapping[tuple[str, str], EditRecord]
    scores: tuple[Score, ...]
    unscored: tuple[Unscored, ...]
    summaries: Mapping[tuple[str, str, str, str], Summary]
    opinion_notes: tuple[tuple[str, str], ...] = ()

    def metrics(self, protocol: str) -> set[str]:
        """The metrics that have rows under a protocol."""
        return {key[3] for key in self.summaries if key[0] == protocol}

    def protocol_of(self, protocol: str, metric: str) -> str:
        """The protocol that a column in the tables of `protocol` was scored under."""
        return self.opinions.get(metric, protocol)

    @property
    def dataset_name(self) -> str:
        """What the data set is called."""
        dataset = self.settings.get("dataset", {})
        return str(dataset.get("name", "unnamed")) if isinstance(dataset, Mapping) else str(dataset)

    def reason(self, protocol: str, method: str, metric: str) -> str | None:
        """The most frequent reason for a method's missing scores of one metric."""
        wanted = (self.protocol_of(protocol, metric), method, metric)
        reasons = [u.reason for u in self.unscored if (u.protocol, u.method, u.metric) == wanted]
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
    protocols, opinions = _split_protocols(scores)
    summaries = {(s.protocol, s.method, s.group, s.metric): s for s in summarise(scores, samples)}
    summaries = with_people_intervals(run, summaries)
    borrowed = {(p, *key[1:]): s for key, s in summaries.items() if key[3] in opinions for p in protocols}
    return ReportContent(
        settings=settings,
        samples=samples,
        methods=tuple(sorted(methods, key=lambda m: SECTIONS.index(m.section))),
        protocols=protocols,
        opinions=opinions,
        edits={(e.method, e.sample_id): e for e in edits},
        scores=scores,
        unscored=tuple(run.unscored()),
        summaries={**summaries, **borrowed},
        opinion_notes=opinion_notes(run, scores),
    )


def _split_protocols(scores: Sequence[Score]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The protocols that have tables, and the opinions that are shown in them."""
    found = {(s.protocol, s.metric) for s in scores}
    measured = {protocol for protocol, metric in found if not is_opinion(metric)}
    if not measured:
        return tuple(sorted({protocol for protocol, _ in found})), {}
    elsewhere: dict[str, list[str]] = {}
    for protocol, metric in sorted(found):
        if protocol not in measured:
            elsewhere.setdefault(metric, []).append(protocol)
    # An opinion under two protocols belongs to neither's column: those keep tables of their own.
    opinions = {metric: protocols[0] for metric, protocols in elsewhere.items() if len(protocols) == 1}
    apart = {p for protocols in elsewhere.values() if len(protocols) > 1 for p in protocols}
    return (*sorted(measured), *sorted(apart)), opinions


def _tags(settings: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Tags by method label, from `run.json`."""
    methods = settings.get("methods", {})
    entries = methods.items() if isinstance(methods, Mapping) else ((m["label"], m) for m in methods)
    return {str(label): tuple(entry.get("tags", ())) for label, entry in entries}
