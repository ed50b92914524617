"""What could not be scored and why, and what a run was made with."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.report.columns import column_of
from benchmark.report.content import ReportContent
from benchmark.report.layout import Cell, Heading, Table


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """One reason for which scores of a method are missing or infinite.

    Attributes:
        method: The method.
        reason: Why.
        metrics: The metrics that it concerns.
        sample_ids: The samples, in the order of the report.
    """

    method: str
    reason: str
    metrics: tuple[str, ...]
    sample_ids: tuple[str, ...]


def gaps(content: ReportContent, protocol: str) -> list[Gap]:
    """All reasons under a protocol; a score without a row has the reason that it was not computed.

    Args:
        content: The report's content.
        protocol: The protocol.

    Returns:
        By method in the report's order, then by reason.
    """
    found: dict[tuple[str, str], tuple[set[str], set[str]]] = {}

    def add(method: str, reason: str, metric: str, sample_id: str) -> None:
        metrics, ids = found.setdefault((method, reason), (set(), set()))
        metrics.add(metric)
        ids.add(sample_id)

    for u in content.unscored:
        if u.protocol == content.protocol_of(protocol, u.metric):
            add(u.method, u.reason, u.metric, u.sample_id)
    explained = {
        (u.method, u.sample_id, u.metric)
        for u in content.unscored
        if u.protocol == content.protocol_of(protocol, u.metric)
    }
    present = {
        (s.method, s.sample_id, s.metric): s.value
        for s in content.scores
        if s.protocol == content.protocol_of(protocol, s.metric)
    }
    for (method, sample_id, metric), reason in _unexplained(content, protocol, present):
        if (method, sample_id, metric) not in explained:
            add(method, reason, metric, sample_id)
    order = {m.label: i for i, m in enumerate(content.methods)}
    places = {s.sample_id: i for i, s in enumerate(content.samples)}
    return [
        Gap(
            method=method,
            reason=reason,
            metrics=tuple(sorted(metrics)),
            sample_ids=tuple(sorted(ids, key=lambda i: places.get(i, len(places)))),
        )
        for (method, reason), (metrics, ids) in sorted(found.items(), key=lambda item: (order[item[0][0]], item[0][1]))
    ]


def _unexplained(
    content: ReportContent, protocol: str, present: Mapping[tuple[str, str, str], float]
) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Missing scores with the best reason that the other tables give."""
    measured = {(key[1], key[3]) for key in content.summaries if key[0] == protocol}
    for method, metric in sorted(measured):
        for sample in content.samples:
            key = (method, sample.sample_id, metric)
            value = present.get(key)
            if value is not None and value == value:
                continue
            edit = content.edits.get(key[:2])
            if edit is not None and edit.error:
                yield key, f"no picture: {edit.error}"
            else:
                yield key, "no score row" if value is None else "NaN without a reason"


def coverage_table(content: ReportContent, protocol: str) -> Table | None:
    """The reasons as a table, one row for methods that share all of it; None where every score is there and finite."""
    together: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for gap in gaps(content, protocol):
        together.setdefault((gap.reason, gap.metrics, gap.sample_ids), []).append(gap.method)
    rows = []
    for (reason, metrics, ids), methods in together.items():
        every = len(methods) == len(content.methods) > 1
        which = "all" if len(ids) == len(content.samples) else ", ".join(ids[:3]) + (" ..." if len(ids) > 3 else "")
        rows.append(
            (
                Cell(text=f"all {len(methods)} methods" if every else ", ".join(methods)),
                Cell(text=reason),
                Cell(text=", ".join(column_of(m).title for m in metrics)),
                Cell(text=f"{len(ids)}/{len(content.samples)}", value=len(ids)),
                Cell(text=which),
            )
        )
    if not rows:
        return None
    names = ("Methods", "Reason", "Metrics", "Samples", "Which")
    return Table(
        name="coverage",
        title="Scores that are missing or infinite, and why",
        headings=tuple(Heading(title=t, numeric=t == "Samples") for t in names),
        sections=(("", tuple(rows)),),
    )


def provenance(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`run.json` as (dotted key, value) pairs, sorted; not the command, which names the folder that this stands in."""
    pairs: list[tuple[str, str]] = []

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key in sorted(value):
                walk(f"{prefix}.{key}" if prefix else str(key), value[key])
        else:
            pairs.append((prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)))

    walk("", {key: value for key, value in settings.items() if key != "command"})
    return pairs
