"""The HTML report: one file with tables, plots and every picture, which needs neither a network nor a server."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from benchmark.report.columns import MetricColumn, column_of, further_columns, main_columns
from benchmark.report.content import ReportContent
from benchmark.report.coverage import coverage_table, gaps, provenance
from benchmark.report.layout import Heading, Table, category_tables, main_table, registration_table, scenario_tables
from benchmark.report.literature import published_tables
from benchmark.report.pairs import pair_tables
from benchmark.report.pictures import DEFAULT_EDGE, MAX_MEGABYTES, PictureStore, fitting_edge
from benchmark.report.plots import interval_plots, method_colors, trade_off_plot
from benchmark.runs import Run

STYLES = ("page.css", "gallery.css")
SCRIPTS = ("page.js", "gallery.js", "viewer.js")


def html_report(
    run: Run, content: ReportContent, *, edge: int = DEFAULT_EDGE, max_megabytes: float = MAX_MEGABYTES
) -> str:
    """The report as one HTML document; the same run gives the same text.

    Args:
        run: The run folder, which holds the pictures.
        content: What the report says.
        edge: Wanted longer side of the pictures in pixels.
        max_megabytes: Smaller pictures are taken where all of them would not fit.

    Returns:
        HTML with styles, scripts and pictures inside, and a policy that forbids any other source.
    """
    import jinja2
    from markupsafe import Markup

    folder = resources.files("benchmark.report.templates")

    def part(name: str) -> Markup:
        return Markup(folder.joinpath(name).read_text(encoding="utf-8"))

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
    )
    environment.filters["spans"] = _spans
    environment.filters["titled"] = _titled
    data, pictures = gallery_data(run, content, edge=edge, max_megabytes=max_megabytes)
    return environment.get_template("report.html").render(
        content=content,
        protocols=[_protocol_parts(run, content, p) for p in content.protocols],
        colors=method_colors(content.methods),
        published=published_tables(content.protocols[0], content.dataset_name),
        provenance=provenance(content.settings),
        styles=[part(name) for name in STYLES],
        scripts=[part(name) for name in SCRIPTS],
        data=Markup(_script_json(data)),
        pictures=Markup(_script_json(pictures)),
    )


def _spans(headings: Sequence[Heading]) -> list[tuple[str, int]]:
    """The groups of headings with how many columns each spans."""
    return [(group, len(list(members))) for group, members in itertools.groupby(headings, key=lambda h: h.group)]


def _titled(tables: Sequence[Table]) -> list[tuple[Table, str]]:
    """Tables about one metric each, with the metric's name as the title of a tab."""
    return [(table, column_of(table.name.partition("-")[2]).title) for table in tables]


def _protocol_parts(run: Run, content: ReportContent, protocol: str) -> dict[str, Any]:
    """Everything of one protocol that the page shows outside the gallery."""
    columns = main_columns(content.metrics(protocol))
    incomplete = [
        (
            m.label,
            len({i for g in gaps(content, protocol) if g.method == m.label for i in _failed(content, m.label, g)}),
        )
        for m in content.methods
    ]
    return {
        "name": protocol,
        "main": main_table(content, protocol),
        "scenarios": scenario_tables(content, protocol),
        "categories": category_tables(content, protocol),
        "registration": registration_table(content, protocol),
        "pairs": pair_tables(run, content, protocol, [c.name for c in columns]),
        "coverage": coverage_table(content, protocol),
        "plots": interval_plots(content, protocol),
        "trade_off": trade_off_plot(content, protocol),
        "incomplete": [(label, count) for label, count in incomplete if count],
    }


def _failed(content: ReportContent, method: str, gap: Any) -> list[str]:
    """The samples of a gap for which there is no picture."""
    found = [(i, content.edits.get((method, i))) for i in gap.sample_ids]
    return [i for i, edit in found if edit is None or edit.image is None]


def gallery_data(
    run: Run, content: ReportContent, *, edge: int, max_megabytes: float
) -> tuple[dict[str, Any], list[str]]:
    """What the gallery's script works on, and the pictures in base64.

    Args:
        run: The run folder.
        content: The report's content.
        edge: Wanted longer side of the pictures.
        max_megabytes: Limit for all pictures together.

    Returns:
        A JSON value, in which pictures are numbers, and the list that they index.
    """
    edited = {key: run.folder / e.image for key, e in content.edits.items() if e.image is not None}
    sources = [s.image for s in content.samples]
    store = PictureStore(fitting_edge([*sources, *edited.values()], edge, max_megabytes))
    source_numbers = store.add_files(sources)
    mask_numbers = store.add_files([s.mask for s in content.samples], masks=True)
    edited_numbers = dict(zip(edited, store.add_files(list(edited.values())), strict=True))
    columns = {p: _gallery_columns(content, p) for p in content.protocols}
    values = {(s.protocol, s.method, s.sample_id, s.metric): s.value for s in content.scores}
    reasons = {(u.protocol, u.method, u.sample_id, u.metric): u.reason for u in content.unscored}
    samples = []
    for sample, source, mask in zip(content.samples, source_numbers, mask_numbers, strict=True):
        edits = []
        for method in content.methods:
            key = (method.label, sample.sample_id)
            edit = content.edits.get(key)
            edits.append(
                {
                    "picture": edited_numbers.get(key),
                    "error": _error(edit, edited_numbers.get(key)),
                    "response": edit.response if edit else None,
                    "scores": {
                        p: [_number(values.get((content.protocol_of(p, c.name), *key, c.name))) for c in columns[p]]
                        for p in columns
                    },
                    "reasons": {
                        p: [reasons.get((content.protocol_of(p, c.name), *key, c.name)) for c in columns[p]]
                        for p in columns
                    },
                }
            )
        samples.append(
            {
                "id": sample.sample_id,
                "category": sample.category.value,
                "instruction": sample.instruction,
                "label": sample.target_label,
                "source": source,
                "mask": mask,
                "edits": edits,
            }
        )
    colors = method_colors(content.methods)
    methods = [{"label": m.label, "tags": list(m.tags), "color": colors[m.label]} for m in content.methods]
    metrics = {p: [_metric(c) for c in found] for p, found in columns.items()}
    return {"methods": methods, "metrics": metrics, "samples": samples, "edge": store.edge}, store.encoded


def _gallery_columns(content: ReportContent, protocol: str) -> list[MetricColumn]:
    """The metrics that anything was scored with."""
    metrics = content.metrics(protocol)
    extra = [column_of(m) for m in ("background_psnr_registered",) if m in metrics]
    scored = {key[3] for key, s in content.summaries.items() if key[0] == protocol and s.scored}
    return [c for c in [*main_columns(metrics), *extra, *further_columns(metrics)] if c.name in scored]


def _metric(column: MetricColumn) -> Mapping[str, Any]:
    return {"title": column.title, "digits": column.digits, "better": column.higher_is_better, "unit": column.unit}


def _error(edit: Any, picture: int | None) -> str | None:
    if edit is None:
        return "not edited"
    if edit.error is not None:
        return str(edit.error)
    return None if picture is not None else "the picture is missing or broken"


def _number(value: float | None) -> float | str | None:
    """A score for JSON, which knows neither NaN nor infinity."""
    if value is None or math.isnan(value):
        return None
    return "inf" if math.isinf(value) else round(value, 6)


def _script_json(value: Any) -> str:
    """JSON that can stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
