"""Comparisons of methods as a table."""

import math
from collections.abc import Sequence

from benchmark.comparison import ALPHA, FLIPS, POWER, Comparison, compare_methods
from benchmark.human_ratings import METRIC as INS_ALIGN
from benchmark.report.columns import column_of, minus
from benchmark.report.content import ReportContent
from benchmark.report.layout import MISSING, Cell, Heading, Table
from benchmark.report.people import with_people_differences
from benchmark.runs import Run
from benchmark.statistics import GROUPS


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """Pairs of methods with difference, interval, p, corrected p, n and minimal detectable difference.

    Args:
        comparisons: Of one metric, protocol and group; at least one.

    Returns:
        The table; differences that stay significant after Holm's correction are bold.
    """
    first = comparisons[0]
    column = column_of(first.metric)
    rows = []
    infinite = any(c.infinite_first or c.infinite_second or c.infinite_both for c in comparisons)
    names = ("First", "Second", "Difference", "p", "p (Holm)", "n/N", "Detectable", *(["Infinite"] if infinite else []))
    testable = [c for c in comparisons if c.pairs]
    for c in testable:
        significant = c.p_holm <= ALPHA
        rows.append(
            (
                Cell(text=c.first),
                Cell(text=c.second),
                Cell(
                    text=_signed(c.difference, column.digits),
                    interval=column.format_interval(c.low, c.high),
                    best=significant,
                    value=c.difference,
                ),
                Cell(text=format_p(c.p), value=c.p),
                Cell(text=format_p(c.p_holm), best=significant, value=c.p_holm),
                Cell(text=f"{c.pairs}/{c.total}", value=c.pairs),
                Cell(text=_number(c.minimal_detectable, column.digits), value=c.minimal_detectable),
                *([_infinite_cell(c)] if infinite else []),
            )
        )
    people = first.metric == INS_ALIGN
    spread = "bootstrap over samples and raters" if people else "bootstrap of the differences by category"
    notes = [
        f"Paired permutation test ({FLIPS} random sign flips, all for few pairs) on the samples that both methods "
        f"score; Holm's correction over the pairs of this table; intervals: {spread}.",
        f"Difference: first − second. Detectable: the true difference that such a test finds with power {POWER} at "
        f"alpha {ALPHA}. "
        "Bold: significant after correction.",
    ]
    if infinite:
        notes.append(
            "Infinite: samples left out because the score is infinite for the first only / the second only / both. "
            "background_mse is finite for all of them and compares them too."
        )
    if untested := [f"{c.first} / {c.second}" for c in comparisons if not c.pairs]:
        notes.append(f"No sample with two finite scores, so no test: {', '.join(untested)}.")
    return Table(
        name=f"pairs-{first.metric}",
        title=f"{column.heading}: paired differences, {GROUPS[first.group].title.lower()}",
        headings=tuple(Heading(title=name, numeric=name not in ("First", "Second")) for name in names),
        sections=(("", tuple(rows)),),
        notes=tuple(notes),
        intervals=True,
    )


def _infinite_cell(comparison: Comparison) -> Cell:
    counts = comparison.infinite_first, comparison.infinite_second, comparison.infinite_both
    return Cell(text=" / ".join(map(str, counts)) if any(counts) else "0", value=sum(counts))


def pair_tables(run: Run, content: ReportContent, protocol: str, metrics: Sequence[str]) -> list[Table]:
    """One table a metric that at least two methods have scores for, over the whole benchmark."""
    tables = []
    for metric in metrics:
        methods = [m.label for m in content.methods if _scored(content, protocol, m.label, metric)]
        if len(methods) > 1:
            comparisons = compare_methods(
                content.scores,
                content.samples,
                protocol=content.protocol_of(protocol, metric),
                metric=metric,
                methods=methods,
            )
            tables.append(comparison_table(with_people_differences([run], comparisons)))
    return tables


def _scored(content: ReportContent, protocol: str, method: str, metric: str) -> bool:
    summary = content.summaries.get((protocol, method, "overall", metric))
    return summary is not None and summary.scored > 0


def format_p(p: float) -> str:
    """A p value with two digits that matter."""
    if math.isnan(p):
        return MISSING
    return f"{p:.3f}" if p >= 0.01 else f"{p:.1e}" if p < 0.0001 else f"{p:.4f}"


def _number(value: float, digits: int) -> str:
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float, digits: int) -> str:
    return MISSING if math.isnan(value) else minus(f"{value:+.{digits}f}")
