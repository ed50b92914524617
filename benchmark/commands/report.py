"""`smartedit-bench report`: the tables, the page and the figure of a run."""

from pathlib import Path
from typing import Annotated

import typer

from smartedit.commands.plain_errors import plain_errors

FORMATS = ("markdown", "latex", "csv", "html", "figure")


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


@plain_errors
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder with scores.")],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format", help=f"{', '.join(FORMATS)}; may be given several times. Default: all but the figure."
        ),
    ] = None,
    samples: Annotated[
        str | None, typer.Option(help="Figure: ids with commas between, one row each. Default: one of each category.")
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Figure: labels with commas between, one column each. Default: all.")
    ] = None,
    picture_size: Annotated[
        int, typer.Option(min=32, max=4096, help="HTML: longer side in pixels of its pictures.")
    ] = 256,
    max_megabytes: Annotated[
        float, typer.Option(min=1, help="HTML: smaller pictures are taken where all of them would be larger.")
    ] = 50.0,
) -> None:
    """Write the reports of a scored run into its folder and print its main table."""
    from rich.console import Console

    from benchmark.report.terminal import run_tables
    from benchmark.report.write import DEFAULT_FORMATS, ReportOptions, write_report
    from benchmark.runs import Run

    options = ReportOptions(
        picture_edge=picture_size,
        max_megabytes=max_megabytes,
        figure_samples=_words(samples),
        figure_methods=_words(methods),
    )
    folder = Run(run)
    paths = write_report(folder, formats or DEFAULT_FORMATS, options)
    Console().print(run_tables(folder))
    for path in paths:
        typer.echo(str(path))
