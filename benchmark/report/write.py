"""Write the reports of a run: Markdown, LaTeX, CSV, one HTML page and figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.report.content import ReportContent, load_content
from benchmark.report.coverage import coverage_table, provenance
from benchmark.report.figure import write_figure
from benchmark.report.gallery import html_report
from benchmark.report.layout import Table, category_tables, main_table, registration_table, scenario_tables
from benchmark.report.literature import published_tables
from benchmark.report.pictures import DEFAULT_EDGE, MAX_MEGABYTES
from benchmark.report.tables import csv_rows, csv_value, latex_document, latex_table, markdown_table
from benchmark.runs import Run
from benchmark.statistics import Summary
from reason_edit.files import write_text


class ReportError(ValueError):
    """A report cannot be written as asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportOptions:
    """How reports are made.

    Attributes:
        picture_edge: Wanted longer side in pixels of the pictures in the HTML page.
        max_megabytes: Smaller pictures are taken where the page's would be larger than this together.
        figure_samples: The rows of the figure; one sample of each category by default.
        figure_methods: The columns of the figure; all methods by default.
    """

    picture_edge: int = DEFAULT_EDGE
    max_megabytes: float = MAX_MEGABYTES
    figure_samples: tuple[str, ...] = ()
    figure_methods: tuple[str, ...] = ()


DEFAULT_OPTIONS = ReportOptions()
DEFAULT_FORMATS = ("markdown", "latex", "csv", "html")


def write_report(
    run: Run, formats: Sequence[str] = DEFAULT_FORMATS, options: ReportOptions = DEFAULT_OPTIONS
) -> list[Path]:
    """Write the reports of a scored run into its folder.

    The same run always gives the same bytes.

    Args:
        run: The run folder.
        formats: Any of `markdown`, `latex`, `csv`, `html`, `figure`.
        options: Sizes and choices.

    Returns:
        The files written: `report.md`, `report.tex`, `tables/*.csv`, `report.html`, `figure.png` and `figure.pdf`.

    Raises:
        ReportError: A format is unknown.
        FigureError: A sample or method of the figure is not in the run.
        RunError: The run is not scored yet.
    """
    if unknown := [f for f in formats if f not in WRITERS]:
        raise ReportError(f"unknown format {unknown[0]!r}; there are {', '.join(WRITERS)}")
    content = load_content(run)
    return [path for name in dict.fromkeys(formats) for path in WRITERS[name](run, content, options)]


def protocol_tables(content: ReportContent, protocol: str) -> list[Table]:
    """All tables of one protocol, in the order of a report."""
    tables = [
        main_table(content, protocol),
        *scenario_tables(content, protocol),
        *category_tables(content, protocol),
        registration_table(content, protocol),
        coverage_table(content, protocol),
    ]
    return [table for table in tables if table is not None]


def _introduction(content: ReportContent) -> str:
    return (
        f"{len(content.methods)} methods on {len(content.samples)} samples of the data set {content.dataset_name}. "
        "Bold: the best of the editors that score every sample; references and methods that see masks do not compete."
    )


def _write_markdown(run: Run, content: ReportContent, options: ReportOptions) -> list[Path]:
    parts = ["# Reason-Edit report", "", _introduction(content), ""]
    for protocol in content.protocols:
        parts += [f"## Protocol `{protocol}`", ""]
        parts += [markdown_table(table) for table in protocol_tables(content, protocol)]
    parts += ["## Published numbers", "", "Each block is a measurement of its own; blocks are not ranked together.", ""]
    parts += [markdown_table(t) for t in published_tables(content.protocols[0], content.dataset_name)]
    parts += ["## What this run was made with", ""]
    parts += [f"- `{key}`: {value}" for key, value in provenance(content.settings)]
    path = run.folder / "report.md"
    write_text(path, "\n".join(parts) + "\n")
    return [path]


def _write_latex(run: Run, content: ReportContent, options: ReportOptions) -> list[Path]:
    tables = [latex_table(t, p) for p in content.protocols for t in protocol_tables(content, p)]
    protocol = content.protocols[0]
    tables += [latex_table(t, "published") for t in published_tables(protocol, content.dataset_name)]
    path = run.folder / "report.tex"
    write_text(path, latex_document(tables, _introduction(content)))
    return [path]


def _write_csv(run: Run, content: ReportContent, options: ReportOptions) -> list[Path]:
    paths = []
    for protocol in sorted({s.protocol for s in content.scores}):
        path = run.folder / "tables" / f"{protocol}-means.csv"
        write_text(
            path, csv_rows([s for key, s in content.summaries.items() if key[0] == s.protocol == protocol], Summary)
        )
        paths.append(path)
        path = run.folder / "tables" / f"{protocol}-samples.csv"
        write_text(path, _samples_csv(content, protocol))
        paths.append(path)
    return paths


def _samples_csv(content: ReportContent, protocol: str) -> str:
    """One line a method and sample, one column a metric; what is not scored is empty."""
    import csv
    import io

    metrics = sorted({s.metric for s in content.scores if s.protocol == protocol})
    values = {(s.method, s.sample_id, s.metric): s.value for s in content.scores if s.protocol == protocol}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["protocol", "method", "sample_id", "category", "error", *metrics])
    for method in content.methods:
        for sample in content.samples:
            edit = content.edits.get((method.label, sample.sample_id))
            numbers = [csv_value(values.get((method.label, sample.sample_id, m), float("nan"))) for m in metrics]
            error = (edit.error or "") if edit else "not edited"
            writer.writerow([protocol, method.label, sample.sample_id, sample.category.value, error, *numbers])
    return out.getvalue()


def _write_html(run: Run, content: ReportContent, options: ReportOptions) -> list[Path]:
    path = run.folder / "report.html"
    write_text(path, html_report(run, content, edge=options.picture_edge, max_megabytes=options.max_megabytes))
    return [path]


def _write_figure(run: Run, content: ReportContent, options: ReportOptions) -> list[Path]:
    return write_figure(run, content, samples=options.figure_samples, methods=options.figure_methods)


WRITERS: dict[str, Callable[[Run, ReportContent, ReportOptions], list[Path]]] = {
    "markdown": _write_markdown,
    "latex": _write_latex,
    "csv": _write_csv,
    "html": _write_html,
    "figure": _write_figure,
}
