"""`smartedit-bench verify`: whether a run still says the truth."""

from pathlib import Path
from typing import Annotated

import typer

from smartedit.commands.plain_errors import plain_errors


@plain_errors
def verify(
    run: Annotated[Path, typer.Argument(help="A scored run folder.")],
    samples: Annotated[int, typer.Option(min=0, help="How many samples to score again.")] = 12,
    device: Annotated[str, typer.Option(help="auto (cuda, mps, cpu) or a torch device.")] = "auto",
) -> None:
    """Hash the files again, score some samples again, and say what changed; exit code 1 when something did."""
    from benchmark.runs import Run
    from benchmark.verify import verify_run

    faults, notes = verify_run(Run(run), samples, device)
    for note in notes:
        typer.echo(f"note: {note}")
    for fault in faults:
        typer.echo(f"changed: {fault}")
    if faults:
        raise typer.Exit(1)
    typer.echo(f"the run's files and {samples} samples scored again agree with the record")
