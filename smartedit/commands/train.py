"""`smartedit train`: trains one stage, and goes on with it where it was interrupted."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartedit.commands.plain_errors import plain_words
from smartedit.config.loading import ConfigError, parse_override
from smartedit.config.model import load_model_config
from smartedit.config.training import StageName, load_training_config

if TYPE_CHECKING:
    from smartedit.training.journal import Progress as Step


def train(
    stage: Annotated[StageName, typer.Argument(help="align, joint, full, or baseline for an InstructPix2Pix editor.")],
    manifest: Annotated[Path, typer.Option(help="The manifest, or the folder that it was built in.")],
    start: Annotated[
        Path, typer.Option(help="The pipeline's folder to start from: the RUN/model of the stage before.")
    ],
    run: Annotated[Path, typer.Option(help="The run's folder; the trained pipeline will be RUN/model.")],
    preset: Annotated[str, typer.Option("--preset", "--config", help="A preset's name or a TOML file.")] = "miniature",
    text_encoder: Annotated[
        Path | None, typer.Option(help="For align: CLIP's text model, with its tokenizer in the same folder.")
    ] = None,
    mixture: Annotated[
        str | None,
        typer.Option(help="Which rows are drawn how often: a preset or a TOML file; the preset's if left out."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="training.KEY=VALUE or model.KEY=VALUE.")
    ] = None,
) -> None:
    """Train a stage; the same command goes on where it was interrupted, with the same numbers."""
    with plain_words(), _shown(stage) as show:
        ours, models = [], []
        for override in overrides or []:
            section = parse_override(override)[0][0]
            if section not in {"training", "model"}:
                raise ConfigError(f"--set {override!r}: settings start with training. or model.")
            (models if section == "model" else ours).append(override)
        training = load_training_config(stage, preset, ours)
        model = load_model_config(preset, models)
        from smartedit.inference.loading import quiet_libraries
        from smartedit.training.train import train as train_stage

        quiet_libraries()
        folder = train_stage(
            stage,
            start=start,
            manifest=manifest,
            run=run,
            model=model,
            training=training,
            text_encoder=text_encoder,
            mixture=mixture,
            on_step=show,
        )
    typer.echo(f"wrote {folder}")


@contextmanager
def _shown(stage: StageName) -> "Iterator[Callable[[Step], None]]":
    """A bar on the error stream with the loss, samples a second, and the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.4f}, {task.fields[rate]:.1f} samples/s"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(stage.value, total=None, loss=float("nan"), rate=float("nan"))

        def show(step: "Step") -> None:
            bar.update(
                task,
                completed=step.step,
                total=step.steps,
                loss=step.values["loss"],
                rate=step.values["samples_per_second"],
            )

        yield show
