"""The report on trained ablations beside the paper's tables, as Markdown."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from benchmark.ablations import GROUPS, ROWS, Agreement, CellScores, Finding, find_agreements, mean_over_seeds
from benchmark.report.columns import MetricColumn, is_opinion, main_columns, minus
from benchmark.report.layout import MISSING, Cell, Heading, Table, summary_cell
from benchmark.report.literature import published_tables
from benchmark.report.tables import markdown_table
from benchmark.statistics import Summary, summarise
from reason_edit.schema import EditSample
from smartedit.training.ablations import VARIANTS

TITLES = {"smartedit-table-2": "Table 2: the interaction module", "smartedit-table-3": "Table 3: the training data"}


def ablation_report(
    cells: Sequence[CellScores],
    samples: Sequence[EditSample],
    *,
    protocol: str,
    dataset: str,
    notes: Sequence[str] = (),
) -> str:
    """The report as Markdown: for each table ours, the paper's, every seed, and what agrees.

    Args:
        cells: The trained cells.
        samples: The samples that they edited.
        protocol: Of the metrics.
        dataset: The name of the data set.
        notes: What else a reader must know, for example the cells that failed.
    """
    cells = [
        replace(cell, scores=[s for s in cell.scores if s.protocol == protocol or is_opinion(s.metric)])
        for cell in cells
    ]
    parts = ["# Ablations", ""]
    parts += [f"{note}\n" for note in (*_notes(cells, protocol, dataset), *notes)]
    published = {table.name: table for table in published_tables(protocol, dataset)}
    summaries = summarise(mean_over_seeds(cells), samples)
    by_seed = {
        (cell.variant, cell.seed): summarise(mean_over_seeds([cell]), samples, resamples=2)
        for cell in sorted(cells, key=lambda cell: (list(VARIANTS).index(cell.variant), cell.seed))
    }
    for block, rows in ROWS.items():
        trained = [variant for variant in rows if any(cell.variant == variant for cell in cells)]
        if len(trained) < 2:
            continue  # The whole model is a row of both tables, and one row compares with nothing.
        agreements = find_agreements(cells, samples, block)
        counts = Counter(agreement.finding for agreement in agreements)
        parts += [f"## {TITLES[block]}", ""]
        parts += [f"Of {len(agreements)} differences {', '.join(f'{counts[f]} {f.value}' for f in Finding)}.", ""]
        parts += [markdown_table(_ours(block, {v: (VARIANTS[v].title, summaries, v) for v in trained}, True)), ""]
        parts += [markdown_table(published[f"published-{block}"]), ""]
        each = {
            f"{v} {seed}": (f"{VARIANTS[v].title}, seed {seed}", own, v)
            for (v, seed), own in by_seed.items()
            if v in trained
        }
        parts += [markdown_table(replace(_ours(block, each, False), title="Every seed")), ""]
        parts += [markdown_table(_agreement_table(block, agreements)), ""]
    return "\n".join(parts)


def _notes(cells: Sequence[CellScores], protocol: str, dataset: str) -> list[str]:
    seeds = {variant: sorted(c.seed for c in cells if c.variant == variant) for variant in VARIANTS}
    trained = "; ".join(f"{v}: {', '.join(map(str, found))}" for v, found in seeds.items() if found)
    return [
        f"Measured on {dataset} under {protocol}. Seeds that were trained: {trained}.",
        "A number is the mean over seeds; its interval is over samples (bootstrap, 95 %) with these seeds given. A "
        "difference counts as found where its interval does not hold 0 and every seed shows its sign; differences are "
        "not corrected for their number.",
    ]


def _columns(summaries: Iterable[Summary]) -> list[MetricColumn]:
    return main_columns({summary.metric for summary in summaries})


def _ours(block: str, rows: Mapping[str, tuple[str, Sequence[Summary], str]], intervals: bool) -> Table:
    """Variants (or single cells) x scenarios and metrics; a row is its title, its summaries and their method."""
    columns = _columns(summary for _, summaries, _ in rows.values() for summary in summaries)
    headings = [Heading(title="Variant", numeric=False)]
    headings += [Heading(title=c.heading, group=group.title) for group in GROUPS for c in columns]
    body = []
    for title, summaries, method in rows.values():
        found = {(s.group, s.metric): s for s in summaries if s.method == method}
        cells = [summary_cell(found.get((group.name, c.name)), c) for group in GROUPS for c in columns]
        body.append((Cell(text=title), *(cells if intervals else [replace(c, interval="") for c in cells])))
    return Table(
        name=f"ours-{block}",
        title="Ours, mean over seeds",
        headings=tuple(headings),
        sections=(("", tuple(body)),),
        intervals=intervals,
    )


def _agreement_table(block: str, agreements: Sequence[Agreement]) -> Table:
    titles = ("Difference", "Scenario", "Metric", "Paper", "Ours", "p (Holm)", "Seeds", "Finding")
    body = []
    for found in agreements:
        (column,) = main_columns({found.metric})
        ours = found.ours
        p = ours.p_holm
        body.append(
            (
                Cell(text=f"{VARIANTS[found.first].title} − {VARIANTS[found.second].title}"),
                Cell(text=found.scenario),
                Cell(text=column.title),
                Cell(text=minus(f"{found.paper:+.{column.digits}f}")),
                Cell(
                    text=minus(f"{ours.difference:+.{column.digits}f}"),
                    interval=column.format_interval(ours.low, ours.high),
                ),
                Cell(text=MISSING if math.isnan(p) else f"{p:.4f}"),
                Cell(text=f"{found.seeds[0]}/{found.seeds[1]}"),
                Cell(text=found.finding.value),
            )
        )
    return Table(
        name=f"agreement-{block}",
        title="The paper's differences and ours",
        headings=tuple(Heading(title=title, numeric=title in titles[3:6]) for title in titles),
        sections=(("", tuple(body)),),
        intervals=True,
    )
