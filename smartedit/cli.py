"""`smartedit`: build data, train, convert, edit."""

import logging

import typer

from smartedit.commands import manifest, miniature, model, synth, train

app = typer.Typer(
    help="Build data for SmartEdit, train it, and edit pictures by complex instructions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(model.edit)
app.command()(model.convert)
app.command()(model.doctor)
app.command()(train.train)
app.add_typer(manifest.app, name="manifest")
app.add_typer(synth.app, name="synth")
app.add_typer(miniature.app, name="miniature")


@app.callback()
def configure() -> None:
    """Set up logging for every command."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)


def main() -> None:
    """Run the command line."""
    app()
