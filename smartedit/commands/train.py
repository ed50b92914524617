"""`smartedit train`: trains one stage, and goes on with it where it was interrupted."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartedit.commands.plain_errors import plain_words
from smartedit.commands.train_defaults import drawn_manifest, starting_point
from smartedit.config.loading import ConfigError, parse_override
from smartedit.config.model import ModelConfig, load_model_config
from smartedit.config.training import StageName, TrainingConfig, load_training_config
from smartedit.folders import refuse_other_content

if TYPE_CHECKING:
    from smartedit.training.journal import Progress as Step

LINE_SECONDS = 30.0
"""Between two lines of progress where the error stream is no terminal."""


def train(
    stage: Annotated[StageName, typer.Argument(help="align, joint, full, or baseline for an InstructPix2Pix editor.")],
    preset: Annotated[str, typer.Option("--preset", "--config", help="A preset's name or a TOML file.")] = "miniature",
    start: Annotated[
        str | None,
        typer.Option(
            help="What to start from: RUN/model of the stage before; the preset's weights or checkpoints if left out."
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="What to train on; small drawn data, made in the cache, if left out.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder, runs/train-STAGE if left out; the result is RUN/model.")
    ] = None,
    text_encoder: Annotated[
        Path | None, typer.Option(help="For align: CLIP's text model with its tokenizer, or a pipeline that has both.")
    ] = None,
    mixture: Annotated[
        str | None, typer.Option(help="Which rows how often: a preset or a TOML file; the stage's own if left out.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="training.KEY=VALUE or model.KEY=VALUE.")
    ] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Print the memory of a GPU, and train nothing.")] = False,
    gpus: Annotated[int, typer.Option(min=1, help="For --estimate: GPUs.")] = 1,
    sharding: Annotated[str, typer.Option(help="For --estimate: none, zero2, fsdp or deepspeed.")] = "none",
    tokens: Annotated[int | None, typer.Option(min=1, help="For --estimate: tokens of a row.")] = None,
) -> None:
    """Train a stage; the same command goes on where it was interrupted, with the same numbers."""
    with plain_words():
        ours, models = _sorted(overrides or [])
        training = load_training_config(stage, preset, ours)
        model = load_model_config(preset, models)
        if estimate:
            _print_estimate(stage, model, training, gpus, sharding, tokens)
            return
        from smartedit.data.manifest import Manifest
        from smartedit.inference.loading import quiet_libraries
        from smartedit.training.stages import check_mixture, text_encoder_of
        from smartedit.training.train import RUN_KEY
        from smartedit.training.train import train as train_stage

        quiet_libraries()
        if manifest is not None:
            Manifest(manifest)  # Its faults are told before a start is fetched or put together.
        folder = run or Path("runs") / f"train-{stage.value}"
        refuse_other_content(folder, RUN_KEY, "--run")
        encoder = text_encoder_of(text_encoder, stage, model)
        mixtures = [] if mixture is None else [f"--mixture {mixture}"]
        mixtures += [f"--set {text}" for text in ours if parse_override(text)[0][-1] == "mixture"]
        check_mixture(mixtures, stage)
        place = starting_point(start, stage, model, folder, training.seed)
        if manifest is None:
            manifest = drawn_manifest(model.sampling.image_size, lambda text: typer.echo(text, err=True))
        with _shown(stage) as show:
            trained = train_stage(
                stage,
                start=place,
                manifest=manifest,
                run=folder,
                model=model,
                training=training,
                text_encoder=encoder,
                mixture=mixture,
                on_step=show,
            )
    from accelerate import PartialState

    if PartialState().is_main_process:
        typer.echo(f"wrote {trained}")


def _sorted(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings of the stage and of the model."""
    ours: list[str] = []
    models: list[str] = []
    for override in overrides:
        section = parse_override(override)[0][0]
        if section not in {"training", "model"}:
            raise ConfigError(f"--set {override!r}: settings start with training. or model.")
        (models if section == "model" else ours).append(override)
    return ours, models


def _print_estimate(
    stage: StageName, model: ModelConfig, training: TrainingConfig, gpus: int, sharding: str, tokens: int | None
) -> None:
    from smartedit.inference.loading import quiet_libraries
    from smartedit.training.estimate import estimate, format_estimate
    from smartedit.training.memory_lines import Sharding

    if sharding not in set(Sharding):
        raise ConfigError(f"--sharding {sharding}: there are {', '.join(Sharding)}")
    quiet_libraries()
    found = estimate(stage, model=model, training=training, num_gpus=gpus, sharding=Sharding(sharding), tokens=tokens)
    typer.echo(format_estimate(found))


@contextmanager
def _shown(stage: StageName) -> "Iterator[Callable[[Step], None]]":
    """A bar on the error stream with the loss, samples a second, and the time that is left; in a log, lines."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(stage)
        return
    if os.environ.get("RANK", "0") != "0":  # The first process's bar is the only one that moves.
        yield lambda step: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("loss {task.fields[loss]:.4f}, {task.fields[rate]:.1f} samples/s"),
    )
    with Progress(*columns, console=console) as bar:
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


def _lines(stage: StageName) -> "Callable[[Step], None]":
    """A line every half a minute, for logs; the time that is left is by the step that it tells of."""
    told = time.monotonic()

    def show(step: "Step") -> None:
        nonlocal told
        now = time.monotonic()
        if now - told < LINE_SECONDS and step.step != step.steps:
            return
        told = now
        left = timedelta(seconds=round(step.values["seconds"] * (step.steps - step.step)))
        loss, rate = step.values["loss"], step.values["samples_per_second"]
        typer.echo(
            f"{stage.value}: step {step.step} of {step.steps}, loss {loss:.4f}, {rate:.1f} samples/s, {left} left",
            err=True,
        )

    return show
