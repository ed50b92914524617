"""`smartedit-bench`: measure any editor on Reason-Edit."""

import logging
from typing import Annotated

import typer

from benchmark.commands import compare, data_sets, evaluate, judge, methods, rate, report, verify

app = typer.Typer(
    help="Measure any editor on Reason-Edit: background, foreground and Ins-align, per category, with intervals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(evaluate.evaluate)
app.command()(evaluate.edit)
app.command()(evaluate.score)
app.command()(data_sets.check)
app.command()(data_sets.inputs)
app.command()(methods.methods)
app.command()(report.report)
app.command()(compare.compare)
app.command()(verify.verify)
app.add_typer(rate.app, name="rate")
app.add_typer(judge.app, name="judge")


@app.callback()
def configure(quiet: Annotated[bool, typer.Option("--quiet", help="Only errors on the error stream.")] = False) -> None:
    """Set up logging for every command."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.ERROR if quiet else logging.WARNING)


def main() -> None:
    """Run the command line."""
    app()
