"""The tables of a report before they have a format: rows of cells with means, intervals, coverage and notes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.protocols import PROTOCOLS
from benchmark.report.columns import REGISTRATION, MetricColumn, column_of, further_columns, main_columns
from benchmark.report.content import SECTIONS, MethodInfo, ReportContent
from benchmark.statistics import CATEGORY_GROUPS, OVERALL, REASONING, UNDERSTANDING, Group, Summary

MISSING = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: What it says.
        interval: The 95 % interval, shown where there is room.
        mark: What must be said with the number: a smaller n, infinite values.
        best: The best of the methods that may be compared.
        value: What a sortable table sorts by.
    """

    text: str
    interval: str = ""
    mark: str = ""
    best: bool = False
    value: float = math.nan


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """A column's heading, under the heading of a group of columns."""

    title: str
    group: str = ""
    numeric: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of one protocol.

    Attributes:
        name: Names its file or anchor.
        title: Its caption's first sentence.
        headings: One for each column.
        sections: Rows under a section title each.
        notes: What a reader must know.
        intervals: Whether formats with little room show the intervals.
    """

    name: str
    title: str
    headings: tuple[Heading, ...]
    sections: tuple[tuple[str, tuple[tuple[Cell, ...], ...]], ...]
    notes: tuple[str, ...] = ()
    intervals: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """Columns over one group of categories.

    Attributes:
        group: What is averaged over.
        columns: The metrics.
        title: The heading above them.
        macro: Means of the categories' means instead of means over samples.
        covers: The group whose n/N follows the block, or None where a later block's n/N covers this one too.
    """

    group: Group
    columns: Sequence[MetricColumn]
    title: str
    macro: bool = False
    covers: Group | None


def summary_cell(summary: Summary | None, column: MetricColumn, *, macro: bool = False) -> Cell:
    """A mean as a cell: `–` where nothing was scored, `∞` where everything is infinite."""
    if summary is None or not summary.scored:
        return Cell(text=MISSING)
    mean = summary.macro_mean if macro else summary.mean
    low, high = (summary.macro_low, summary.macro_high) if macro else (summary.low, summary.high)
    marks = []
    if summary.scored < summary.total:
        marks.append(f"n={summary.scored}/{summary.total}")
    if summary.infinite and math.isfinite(mean):
        marks.append(f"+{summary.infinite} ∞")
    text = MISSING if math.isnan(mean) else "∞" if math.isinf(mean) else column.format(mean)
    return Cell(text=text, interval=column.format_interval(low, high), mark=", ".join(marks), value=mean)


def methods_table(
    content: ReportContent, protocol: str, name: str, title: str, blocks: Sequence[Block], *, intervals: bool = False
) -> Table:
    """Methods x (blocks of metrics), with coverage n/N on every row."""
    headings = [Heading(title="Method", numeric=False)]
    for block in blocks:
        several = len(block.columns) > 1
        headings += [
            Heading(title=c.heading if several else block.title, group=block.title * several) for c in block.columns
        ]
        if block.covers:
            headings.append(Heading(title="n/N", group=block.title * several))
    rows = {m.label: _method_row(content, protocol, m, blocks) for m in content.methods}
    sections = []
    for section in SECTIONS:
        labels = [m.label for m in content.methods if m.section == section]
        if labels:
            chosen = [rows[label] for label in labels]
            sections.append((section, tuple(mark_best(chosen, blocks) if section == SECTIONS[0] else chosen)))
    used = {c.name: c for block in blocks for c in block.columns}
    notes = _notes(content, protocol, used.values(), [cell for row in rows.values() for cell in row])
    return Table(
        name=name,
        title=title,
        headings=tuple(headings),
        sections=tuple(sections),
        notes=notes,
        intervals=intervals,
    )


def _method_row(content: ReportContent, protocol: str, method: MethodInfo, blocks: Sequence[Block]) -> tuple[Cell, ...]:
    cells = [Cell(text=method.label, mark=", ".join(method.tags))]
    for block in blocks:
        scored = _scored(content, protocol, method, block.group, block.columns)
        own_n = f"n={scored}/{_total(content, block.group)}"
        for column in block.columns:
            summary = content.summaries.get((protocol, method.label, block.group.name, column.name))
            cell = summary_cell(summary, column, macro=block.macro)
            if len(block.columns) > 1:
                # The row's own n/N says how many samples were scored; a mark is for a cell that has fewer.
                cell = replace(cell, mark=", ".join(m for m in cell.mark.split(", ") if m != own_n))
            cells.append(cell)
        if block.covers:
            n = _scored(content, protocol, method, block.covers, block.columns)
            cells.append(Cell(text=f"{n}/{_total(content, block.covers)}", value=n))
    return tuple(cells)


def _scored(
    content: ReportContent, protocol: str, method: MethodInfo, group: Group, columns: Sequence[MetricColumn]
) -> int:
    """How many samples of the group's categories have the block's best covered metric."""
    names = [g.name for g in CATEGORY_GROUPS if g.categories[0] in group.categories]
    found = [[content.summaries.get((protocol, method.label, name, c.name)) for name in names] for c in columns]
    return max((sum(s.scored for s in summaries if s) for summaries in found), default=0)


def _total(content: ReportContent, group: Group) -> int:
    return sum(sample.category in group.categories for sample in content.samples)


def mark_best(rows: Sequence[tuple[Cell, ...]], blocks: Sequence[Block]) -> list[tuple[Cell, ...]]:
    """Mark the best of each column among rows that score all samples of it with finite values, where there are two."""
    columns: list[MetricColumn | None] = [None]
    coverage: list[int | None] = [None]
    for block in blocks:
        columns += [*block.columns, *([None] if block.covers else [])]
        # A cell without neighbours is marked itself where it has fewer samples than its group.
        coverage += [0 if len(block.columns) > 1 else None] * len(block.columns)
        if block.covers:
            end = len(coverage)
            coverage = [end if place == 0 else place for place in coverage] + [None]
    marked = [list(row) for row in rows]
    for index, column in enumerate(columns):
        if column is None or column.higher_is_better is None:
            continue
        at = coverage[index]
        fit = [
            row
            for row in marked
            if not row[index].mark and not math.isnan(row[index].value) and (at is None or _complete(row[at]))
        ]
        if len(fit) < 2:
            continue
        best = (max if column.higher_is_better else min)(row[index].value for row in fit)
        for row in fit:
            row[index] = replace(row[index], best=row[index].value == best)
    return [tuple(row) for row in marked]


def _complete(cell: Cell) -> bool:
    scored, _, total = cell.text.partition("/")
    return scored == total


def _notes(
    content: ReportContent, protocol: str, columns: Iterable[MetricColumn], cells: Sequence[Cell]
) -> tuple[str, ...]:
    notes = []
    for column in columns:
        if all(not s.scored for key, s in content.summaries.items() if key[0] == protocol and key[3] == column.name):
            reasons = {content.reason(protocol, m.label, column.name) for m in content.methods} - {None}
            why = "; ".join(sorted(str(r).removeprefix("not available: ") for r in reasons)) or "no reason given"
            notes.append(f"{column.title}: not available ({why}).")
    if any("∞" in cell.mark or cell.text == "∞" for cell in cells):
        notes.append(
            "∞: an edit that leaves the background exactly as it was has infinite PSNR. Such samples are counted "
            "(+k ∞), enter no mean of finite values, and make the mean ∞ where all are so."
        )
    if any("n=" in cell.mark for cell in cells):
        notes.append("n=k/N: this number rests on fewer samples than its row's n/N.")
    return tuple(notes)


def main_table(content: ReportContent, protocol: str) -> Table:
    """The layout of the paper's Table 1: both scenarios, micro means over samples."""
    columns = main_columns(content.metrics(protocol))
    blocks = [Block(group=g, columns=columns, title=g.title, covers=g) for g in (UNDERSTANDING, REASONING)]
    title = "Means over samples (micro), in the layout of the paper's Table 1"
    table = methods_table(content, protocol, "main", title, blocks)
    return replace(table, notes=(*protocol_notes(content, protocol), *table.notes))


def protocol_notes(content: ReportContent, protocol: str) -> list[str]:
    """What the protocol does, and the networks behind its scores."""
    notes = [f"{protocol}: {PROTOCOLS[protocol].summary}"] if protocol in PROTOCOLS else []
    notes += [
        f"{column_of(metric).title}: scored under {other}, unlike the other columns."
        for metric in sorted(content.metrics(protocol))
        if (other := content.protocol_of(protocol, metric)) != protocol
    ]
    notes += [note for metric, note in content.opinion_notes if metric in content.metrics(protocol)]
    return notes + network_notes(content.settings, protocol)


def network_notes(settings: Mapping[str, Any], protocol: str) -> list[str]:
    """The networks behind a run's scores, by the run's settings."""
    networks = settings.get("protocols", {}).get(protocol, {}).get("networks", {})
    named = [
        f"{kind.upper()} is {n['name']} (sha256 {n['sha256'][:12]})" for kind, n in networks.items() if "name" in n
    ]
    return [f"Networks: {', '.join(named)}."] if named else []


def scenario_tables(content: ReportContent, protocol: str) -> list[Table]:
    """For each scenario and the whole: micro and macro means with intervals."""
    columns = main_columns(content.metrics(protocol))
    tables = []
    for group in (UNDERSTANDING, REASONING, OVERALL):
        several = len(group.categories) > 1
        blocks = [Block(group=group, columns=columns, title="Mean over samples", covers=None if several else group)]
        if several:
            blocks.append(Block(group=group, columns=columns, title="Mean of category means", macro=True, covers=group))
        title = f"{group.title}: means with 95 % bootstrap intervals"
        tables.append(methods_table(content, protocol, f"scenario-{group.name}", title, blocks, intervals=True))
    return tables


def category_tables(content: ReportContent, protocol: str) -> list[Table]:
    """One table a metric: methods x categories, with intervals."""
    present = {s.category for s in content.samples}
    groups = [g for g in CATEGORY_GROUPS if g.categories[0] in present]
    metrics = content.metrics(protocol)
    tables = []
    for column in main_columns(metrics) + further_columns(metrics):
        whole = Group(name=OVERALL.name, title=OVERALL.title, categories=tuple(g.categories[0] for g in groups))
        blocks = [
            Block(group=g, columns=[column], title=g.title, covers=whole if g is groups[-1] else None) for g in groups
        ]
        title = f"{column.heading} by category, with 95 % bootstrap intervals"
        tables.append(methods_table(content, protocol, f"category-{column.name}", title, blocks, intervals=True))
    return tables


def registration_table(content: ReportContent, protocol: str) -> Table | None:
    """Raw beside registered background PSNR, for editors that shift or zoom; None where it was not measured."""
    metrics = content.metrics(protocol)
    columns = [column_of(m) for m in ("background_psnr", *REGISTRATION) if m in metrics]
    if len(columns) < 2:
        return None
    blocks = [Block(group=OVERALL, columns=columns, title=OVERALL.title, covers=OVERALL)]
    title = "Background PSNR before and after registration, and the mean estimated shift and scale"
    return methods_table(content, protocol, "registration", title, blocks, intervals=True)
