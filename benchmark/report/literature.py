"""Published numbers as tables of their own, one a block, with what sets them apart from the run."""

from collections.abc import Sequence

from benchmark.published import METRICS, SMARTEDIT_V1, PublishedRow, PublishedValue, published_blocks
from benchmark.report.layout import MISSING, Cell, Heading, Table

TITLES = {
    "psnr": "PSNR (dB) ↑",
    "ssim": "SSIM ↑",
    "lpips": "LPIPS ↓",
    "clip_score": "CLIP ↑",
    "ins_align": "Ins-align ↑",
    "judge_score": "judge ↑",
}
MINIATURE = "miniature"
"""A word in the name of the data set that is drawn, which is not Reason-Edit."""


def published_tables(protocol: str, dataset: str) -> list[Table]:
    """The published numbers, one table a block.

    Args:
        protocol: The run's protocol.
        dataset: The name of the run's data set.

    Returns:
        Tables whose notes say their protocol, their sources and whether they can be held against the run.
    """
    return [_table(name, rows, protocol, dataset) for name, rows in published_blocks().items()]


def comparability(published_protocol: str, protocol: str, dataset: str) -> str:
    """Whether numbers of a published protocol can be held against a run's."""
    if MINIATURE in dataset.lower():
        return (
            "Measured on Reason-Edit; this run is on the drawn miniature set, which is not Reason-Edit: not comparable."
        )
    if published_protocol != SMARTEDIT_V1 or protocol != SMARTEDIT_V1:
        return f"Measured under another protocol than this run's {protocol}: not to be ranked together."
    return (
        "The same protocol as this run's. Comparable where this run's data set is the released Reason-Edit with all "
        "its samples; the authors' draws, seeds and fine-tuned weights of other methods are not public."
    )


def _table(name: str, rows: Sequence[PublishedRow], protocol: str, dataset: str) -> Table:
    scenarios = list(dict.fromkeys(row.scenario for row in rows))
    columns = {s: [m for m in METRICS if any(getattr(r, m) for r in rows if r.scenario == s)] for s in scenarios}
    headings = [Heading(title=title, numeric=False) for title in ("Method", "Training")]
    headings += [Heading(title=TITLES[m], group=s.capitalize()) for s in scenarios for m in columns[s]]
    by_method: dict[str, dict[str, PublishedRow]] = {}
    for row in rows:
        by_method.setdefault(row.method, {})[row.scenario] = row
    body = []
    for method, found in by_method.items():
        first = next(iter(found.values()))
        cells = [Cell(text=method, mark=", ".join(first.tags)), Cell(text=first.training)]
        for scenario in scenarios:
            values = [getattr(found[scenario], m) if scenario in found else None for m in columns[scenario]]
            cells += [_value_cell(value) for value in values]
        body.append(tuple(cells))
    sources = {row.source: row.verified for row in rows}
    notes = [
        f"Protocol: {rows[0].protocol}. Aggregation: {rows[0].aggregation}."
        + (f" Samples: {rows[0].samples}." if rows[0].samples else ""),
        comparability(rows[0].protocol, protocol, dataset),
        "Source: " + "; ".join(f"{s} ({_verified(v)})" for s, v in sources.items()) + ".",
    ]
    remarks: dict[str, list[str]] = {}
    for row in rows:
        if row.remark and row.method not in remarks.setdefault(row.remark, []):
            remarks[row.remark].append(row.method)
    notes += [f"{', '.join(methods)}: {remark}." for remark, methods in remarks.items()]
    return Table(
        name=f"published-{name}",
        title=f"Published: {' and '.join(dict.fromkeys(row.source for row in rows))}",
        headings=tuple(headings),
        sections=(("", tuple(body)),),
        notes=tuple(notes),
    )


def _value_cell(value: PublishedValue | None) -> Cell:
    return Cell(text=MISSING) if value is None else Cell(text=value.shown, value=value.value)


def _verified(kind: str) -> str:
    return {"paper": "read there", "readme": "read there", "note": "from third-party notes, not verified"}[kind]
