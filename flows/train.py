"""Flow `train`: SmartEdit's stages one after the other, each from what the one before made, and a baseline beside them.

The task is `smartedit.training.train.train`; this file only orders the stages and shows how they went.
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flows.quiet  # noqa: F401  (Prefect reads its settings when it is imported)

# isort: split
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_image_artifact, create_table_artifact

from flows.synth_data import GPU_TAG, RETRYING
from smartedit.config.loading import ConfigError
from smartedit.config.model import load_model_config
from smartedit.config.training import StageName, load_training_config
from smartedit.training.journal import METRICS
from smartedit.training.train import SAMPLES
from smartedit.training.train import train as train_one

STAGES = (StageName.ALIGN, StageName.JOINT, StageName.FULL)
LINES = 20
"""Lines of a stage's losses that are shown."""


def run_stage(
    stage: str,
    start: str,
    manifest: str,
    run: str,
    preset: str,
    settings: Sequence[str] = (),
    text_encoder: str | None = None,
    mixture: str | None = None,
) -> str:
    """Train a stage as `smartedit train` does, from its last checkpoint where it has one.

    Args:
        stage: align, joint, full or baseline.
        start: The pipeline to start from: a folder, a hub's name, or the name of weights that ship.
        manifest: What to train on.
        run: The stage's own folder.
        preset: A preset or a TOML file.
        settings: `model.key=value` and `training.key=value` texts, and `STAGE.training.key=value` for one stage.
        text_encoder: CLIP's text model, for align.
        mixture: A mixture instead of the preset's.

    Returns:
        The trained pipeline's folder.
    """
    ours = settings_of(stage, settings)
    return str(
        train_one(
            stage,
            start=start,
            manifest=Path(manifest),
            run=Path(run),
            model=load_model_config(preset, [text for text in ours if text.startswith("model.")]),
            training=load_training_config(
                StageName(stage), preset, [text for text in ours if text.startswith("training.")]
            ),
            text_encoder=text_encoder if stage == StageName.ALIGN else None,
            mixture=mixture if stage != StageName.ALIGN else None,
        )
    )


def settings_of(stage: str, settings: Sequence[str]) -> list[str]:
    """The settings that hold for a stage, its own name taken off.

    Raises:
        ConfigError: A text is about nothing that can be set.
    """
    chosen = []
    for text in settings:
        first, _, rest = text.partition(".")
        if first in list(StageName):
            chosen += [rest] * (first == stage)
        elif first in ("model", "training"):
            chosen.append(text)
        else:
            stages = ", ".join(StageName)
            raise ConfigError(f"settings {text!r}: starts with model., training. or a stage ({stages})")
    return chosen


def chosen_stages(names: Sequence[str] | None) -> list[StageName]:
    """The stages of SmartEdit that a flow trains; all where none are named.

    Raises:
        ConfigError: One is no stage of SmartEdit, comes twice, or before a stage that it is trained after.
    """
    given = list(names or STAGES)
    chosen = [stage for stage in STAGES if stage in given]
    if given != chosen:
        raise ConfigError(
            f"stages {', '.join(given)}: takes some of {', '.join(STAGES)}, each once and in this order; a pipeline to "
            "be fine-tuned as a baseline is named by the parameter baseline"
        )
    return chosen


def losses_of(run: str | Path, lines: int = LINES) -> list[dict[str, Any]]:
    """Lines of a stage's metrics, evenly spread, the last one among them."""
    path = Path(run) / METRICS
    if not path.is_file():
        return []
    read = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    every = max(1, -(-len(read) // lines))
    return read[::-1][::every][::-1]


def newest_grid(run: str | Path) -> Path | None:
    """The last picture of edits that a stage made while it trained."""
    return max((Path(run) / SAMPLES).glob("*.png"), key=lambda path: path.name, default=None)


stage_task = task(
    name="stage",
    task_run_name="{stage}",
    tags=[GPU_TAG],
    retries=2,
    **RETRYING,
)(run_stage)


@flow(name="train")
def train(
    start: str,
    manifest: str,
    run: str,
    preset: str = "miniature",
    stages: list[str] | None = None,
    text_encoder: str | None = None,
    mixture: str | None = None,
    baseline: str | None = None,
    settings: list[str] | None = None,
) -> str:
    """Train SmartEdit, and a baseline on the same rows if one is named.

    Args:
        start: The pipeline that the first stage starts from.
        manifest: What to train on.
        run: Folder of the run; the same run again goes on where it was killed.
        preset: A preset or a TOML file.
        stages: Some of align, joint, full, in this order; None for all.
        text_encoder: CLIP's text model with its tokenizer, for align.
        mixture: A mixture preset or file; None for the preset's.
        baseline: An InstructPix2Pix pipeline to be fine-tuned on the same manifest; None for none.
        settings: As in `run_stage`.

    Returns:
        The folder of the last stage's pipeline.

    Raises:
        ConfigError: `stages` are no stages of SmartEdit, or not in their order.
    """
    root = Path(run).resolve()
    chosen = chosen_stages(stages)
    texts = settings or []
    model = start
    for stage in [*chosen, *([StageName.BASELINE] if baseline is not None else [])]:
        begin = baseline if stage is StageName.BASELINE else model
        made = stage_task(
            stage.value, str(begin), manifest, str(root / stage.value), preset, texts, text_encoder, mixture
        )
        model = model if stage is StageName.BASELINE else made
        report(stage.value, root / stage.value)
    return model


def report(stage: str, run: Path) -> None:
    """A stage's losses and its last edits, as artifacts of the flow run."""
    table = losses_of(run)
    create_table_artifact(table=table, key=f"train-{stage}-losses", description=f"Losses of stage {stage}")
    grid = newest_grid(run)
    if grid is not None:
        address = "data:image/png;base64," + base64.b64encode(grid.read_bytes()).decode()
        create_image_artifact(image_url=address, key=f"train-{stage}-edits", description=f"Edits after stage {stage}")
    if table:
        get_run_logger().info("stage %s: step %d, loss %.4f", stage, table[-1]["step"], table[-1]["loss"])


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Run the flow train without a deployment.")
    parser.add_argument("start")
    parser.add_argument("manifest")
    parser.add_argument("run")
    parser.add_argument("--preset", default="miniature")
    parser.add_argument("--stage", action="append", dest="stages", metavar="align|joint|full")
    parser.add_argument("--text-encoder")
    parser.add_argument("--mixture")
    parser.add_argument("--baseline")
    parser.add_argument("--set", action="append", dest="settings", metavar="[STAGE.]SECTION.KEY=VALUE")
    train(**vars(parser.parse_args()))
