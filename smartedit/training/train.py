"""Trains a stage: from a pipeline's folder and a manifest to a pipeline's folder."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from reason_edit.files import write_text
from smartedit.config.model import ModelConfig
from smartedit.config.training import StageName, TrainingConfig
from smartedit.training.caching import EncoderCache
from smartedit.training.journal import Journal, Progress
from smartedit.training.loop import Loop, build_accelerator
from smartedit.training.saving import CheckpointFolder, Identity
from smartedit.training.trainee import Trainee
from smartedit.training.validation import Validation

logger = logging.getLogger(__name__)

MODEL, CHECKPOINTS, CONFIG, SAMPLES = "model", "checkpoints", "config.json", "samples"
CACHE = ".encoded"

_FREE = {
    "steps", "max_unreadable", "cache", "cache_gib", "num_workers", "log_every", "checkpoint_every", "keep_checkpoints",
    "validate_every", "validation_samples", "gradient_checkpointing", "batch_size", "gradient_accumulation",
}  # fmt: skip
"""Settings that may change between two calls for the same run."""


def train(
    stage: StageName | str,
    *,
    start: Path,
    manifest: Path,
    run: Path,
    model: ModelConfig,
    training: TrainingConfig,
    text_encoder: Path | None = None,
    mixture: str | Path | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a stage; the same call goes on where it was killed, and a finished run is left as it is.

    Args:
        stage: Which.
        start: The pipeline to start from: SmartEdit's, or an InstructPix2Pix pipeline of diffusers for `baseline`.
        manifest: What to train on.
        run: The run's folder: `model`, `checkpoints`, `samples`, `metrics.jsonl`, `config.json`.
        model: Settings of the model: LoRA and BIM where `start` has none yet, prompts, lengths.
        training: Settings of the stage.
        text_encoder: CLIP's text model with its tokenizer, for `align`.
        mixture: A mixture instead of the one that `training` names.
        on_step: Called behind every step.

    Returns:
        The trained pipeline's folder, `run/model`.

    Raises:
        ValueError: Something does not fit; the subclasses name it.
        OSError: The disk is full.
    """
    stage = StageName(stage)
    if mixture is not None:
        training = replace(training, mixture=str(mixture))
    finished = run / MODEL
    accelerator = build_accelerator(training)
    from smartedit.training.build import build_trainee  # heavy

    built = build_trainee(
        stage, start=start, manifest=manifest, model=model, training=training, text_encoder=text_encoder
    )
    checkpoints = CheckpointFolder(
        run / CHECKPOINTS,
        _identity(stage, built.trainee, training, accelerator.num_processes),
        keep=training.keep_checkpoints,
    )
    newest = checkpoints.newest()
    if newest is not None and newest.step >= training.steps and finished.is_dir():
        logger.info("%s: is finished", finished)
        return finished
    del newest
    if accelerator.is_main_process:
        for left in run.glob(f".{MODEL}.tmp-*"):
            shutil.rmtree(left)
        write_text(run / CONFIG, _described(stage, start, manifest, model, training))
    for part in built.frozen:
        part.to(accelerator.device)
    cache = _cache(built, manifest, training)
    loop = Loop(
        trainee=built.trainee,
        training=training,
        accelerator=accelerator,
        checkpoints=checkpoints,
        journal=Journal(
            run=run,
            log_every=training.log_every,
            max_unreadable=training.max_unreadable,
            writes=accelerator.is_main_process,
            on_step=on_step,
        ),
        cache=cache,
        validate=_validation(built, run, training, accelerator.is_main_process),
    )
    aside = run / f".{MODEL}.tmp-{os.getpid()}"
    loop.run(aside)
    if accelerator.is_main_process:
        shutil.rmtree(finished, ignore_errors=True)
        aside.rename(finished)
    accelerator.wait_for_everyone()
    return finished


def _identity(stage: StageName, trainee: Trainee, training: TrainingConfig, processes: int) -> Identity:
    settings = {name: _plain(value) for name, value in asdict(training).items() if name not in _FREE}
    settings["rows_a_step"] = training.batch_size * training.gradient_accumulation * processes
    shapes = {name: tuple(parameter.shape) for name, parameter in trainee.trained.items()}
    return Identity(stage=stage, settings=settings, shapes=shapes)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _described(stage: StageName, start: Path, manifest: Path, model: ModelConfig, training: TrainingConfig) -> str:
    content = {
        "stage": stage.value,
        "start": str(start),
        "manifest": str(manifest),
        "training": asdict(training),
        "model": asdict(model),
    }
    return json.dumps(content, indent=1) + "\n"


def _validation(built: Any, run: Path, training: TrainingConfig, writes: bool) -> Validation | None:
    if built.shown is None:
        return None
    rows, edit = built.shown
    return Validation(rows=rows, edit=edit, count=training.validation_samples, folder=run / SAMPLES, writes=writes)


def _cache(built: Any, manifest: Path, training: TrainingConfig) -> EncoderCache | None:
    if not training.cache or built.encoders is None:
        return None
    folder = (manifest if manifest.is_dir() else manifest.parent) / CACHE
    autoencoder, vision = built.encoders()
    with torch.no_grad():
        return EncoderCache(folder, autoencoder=autoencoder, vision=vision, limit=int(training.cache_gib * 2**30))
