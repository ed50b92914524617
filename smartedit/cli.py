"""`smartedit`: build data, train, convert, edit."""

import logging

import typer

from smartedit.commands import miniature

app = typer.Typer(
    help="Build data for SmartEdit, train it, and edit pictures by complex instructions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(miniature.app, name="miniature")


@app.callback()
def configure() -> None:
    """Set up logging for every command."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)


def main() -> None:
    """Run the command line."""
    app()
