"""`smartedit-bench compare`: which differences between methods are more than chance."""

from pathlib import Path
from typing import Annotated

import typer

from smartedit.commands.plain_errors import plain_errors

FORMATS = ("terminal", "markdown", "latex", "csv")


@plain_errors
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Scored run folders on one data set.")],
    metric: Annotated[str, typer.Option(help="A metric of scores.parquet.")] = "background_psnr",
    group: Annotated[str, typer.Option(help="overall, understanding, reasoning or another category.")] = "overall",
    protocol: Annotated[str | None, typer.Option(help="Needed where the metric was scored under several.")] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="Compare only these; may be given several times.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help=", ".join(FORMATS))] = "terminal",
) -> None:
    """Test all pairs of methods: paired permutation tests on shared samples, Holm-corrected, with intervals."""
    from rich.console import Console

    from benchmark.comparison import Comparison, compare_methods
    from benchmark.joined_runs import join_runs
    from benchmark.report.pairs import comparison_table
    from benchmark.report.people import with_people_differences
    from benchmark.report.tables import csv_rows, latex_table, markdown_table
    from benchmark.report.terminal import TerminalTable
    from benchmark.runs import Run

    if format_ not in FORMATS:
        raise typer.BadParameter(f"unknown format {format_!r}; there are {', '.join(FORMATS)}", param_hint="--format")
    opened = [Run(folder) for folder in runs]
    joined = join_runs(opened)
    name = joined.protocol(metric, protocol)
    comparisons = compare_methods(
        joined.scores, joined.samples, protocol=name, metric=metric, group=group, methods=method
    )
    comparisons = with_people_differences(opened, comparisons)
    table = comparison_table(comparisons)
    if format_ == "terminal":
        Console().print(TerminalTable(table, name))
    elif format_ == "markdown":
        typer.echo(markdown_table(table), nl=False)
    elif format_ == "latex":
        typer.echo(latex_table(table, name), nl=False)
    else:
        typer.echo(csv_rows(comparisons, Comparison), nl=False)
