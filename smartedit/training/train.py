"""Trains a stage: from a pipeline's folder and a manifest to a pipeline's folder."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from reason_edit.files import sole_holder, write_text
from smartedit.config.model import ModelConfig
from smartedit.config.training import StageName, TrainingConfig
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import load_mixture
from smartedit.folders import refuse_other_content
from smartedit.hub import ModelNotFoundError, fetch_model
from smartedit.model.prompts import prompts_of
from smartedit.training.caching import EncoderCache
from smartedit.training.journal import Journal, Progress
from smartedit.training.loop import Loop, build_accelerator
from smartedit.training.saving import CheckpointFolder, Identity
from smartedit.training.stages import StageError, check_mixture, read_settings, text_encoder_of
from smartedit.training.trainee import Trainee
from smartedit.training.validation import Validation
from smartedit.training.zero import chosen_zero

logger = logging.getLogger(__name__)

MODEL, CHECKPOINTS, CONFIG, SAMPLES = "model", "checkpoints", "config.json", "samples"
CACHE = ".encoded"
RUN_KEY = "stage"
"""What the configuration of a training run always has."""

_FREE = {
    "steps", "max_unreadable", "cache", "cache_gib", "num_workers", "log_every", "checkpoint_every", "keep_checkpoints",
    "validate_every", "validation_samples", "gradient_checkpointing", "batch_size", "gradient_accumulation",
    "length_groups",
}  # fmt: skip
"""Settings that may change between two calls for the same run."""
_PARTS = {".json", ".safetensors", ".bin", ".model", ".txt"}
"""Endings of a pipeline's files."""
_END = 2**20
"""Bytes of each end of a file that its mark reads."""


def train(
    stage: StageName | str,
    *,
    start: Path | str,
    manifest: Path,
    run: Path,
    model: ModelConfig,
    training: TrainingConfig,
    text_encoder: Path | str | None = None,
    mixture: str | Path | None = None,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train a stage; the same call goes on where it was killed, and a finished run is left as it is.

    Args:
        stage: Which.
        start: The pipeline to start from: SmartEdit's, or an InstructPix2Pix pipeline of diffusers for `baseline`; a
            folder, a hub's name, or the name of weights that ship.
        manifest: What to train on.
        run: The run's folder: `model`, `checkpoints`, `samples`, `metrics.jsonl`, `config.json`.
        model: Settings of the model: LoRA and BIM where `start` has none yet, prompts, lengths.
        training: Settings of the stage.
        text_encoder: CLIP's text model with its tokenizer, for `align`; named as `start`. None for the preset's
            checkpoint, or for the one that its weights know.
        mixture: A mixture instead of the one that `training` names; None for `align`.
        on_step: Called behind every step, by the first process.

    Returns:
        The trained pipeline's folder, `run/model`.

    Raises:
        ValueError: Something does not fit; the subclasses name it.
        OSError: The disk is full.
    """
    stage = StageName(stage)
    if mixture is not None:
        check_mixture([f"--mixture {mixture}"], stage)
        training = replace(training, mixture=str(mixture))
    finished = run / MODEL
    accelerator = build_accelerator(training)
    zero = chosen_zero(training, accelerator.num_processes)
    refuse_other_content(run, RUN_KEY, "--run")
    named = text_encoder_of(text_encoder, stage, model)  # A missing one is told before the start is fetched.
    start = _at_hand(start, "start")
    text_encoder = None if named is None else _at_hand(named, "text encoder")
    given = {"start": start, "manifest": Manifest(manifest).path, "text_encoder": text_encoder}
    from smartedit.training.build import build_trainee  # heavy

    built = build_trainee(
        stage, start=start, manifest=manifest, model=model, training=training, text_encoder=text_encoder
    )
    checkpoints = CheckpointFolder(
        run / CHECKPOINTS,
        _identity(stage, built.trainee, model, training, given, accelerator.num_processes),
        keep=training.keep_checkpoints,
    )
    newest = checkpoints.newest()
    done = None if newest is None else newest.step
    del newest
    if checkpoints.has_finished(finished, done, training.steps):
        logger.info("%s: is finished", finished)
        return finished
    with _only_training_in(run) if accelerator.is_main_process else nullcontext():
        if accelerator.is_main_process:
            for left in run.glob(f".{MODEL}.tmp-*"):
                shutil.rmtree(left)
            write_text(run / CONFIG, _described(stage, start, manifest, model, training))
        for part in built.frozen:
            part.to(accelerator.device)
        cache = _cache(built, manifest, training, accelerator.num_processes)
        loop = Loop(
            stage=stage,
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
            zero=zero,
            validate=_validation(built, run, training, accelerator.is_main_process),
        )
        aside = run / f".{MODEL}.tmp-{os.getpid()}"
        loop.run(aside)
        if accelerator.is_main_process:
            checkpoints.mark(aside, max(training.steps, done or 0))
            shutil.rmtree(finished, ignore_errors=True)
            aside.rename(finished)
        accelerator.wait_for_everyone()
        return finished


def _at_hand(named: Path | str, what: str) -> Path:
    """The local folder of a model."""
    try:
        return fetch_model(named)
    except ModelNotFoundError as error:
        raise StageError(f"{what} {error}") from error


def _only_training_in(run: Path) -> AbstractContextManager[None]:
    """Keep a second training out of a run."""
    run.mkdir(parents=True, exist_ok=True)
    return sole_holder(
        run / ".train.lock", f"{run}: another training is writing there; wait for it or name another --run"
    )


def _identity(
    stage: StageName,
    trainee: Trainee,
    model: ModelConfig,
    training: TrainingConfig,
    given: Mapping[str, Path | None],
    processes: int,
) -> Identity:
    # Mixture and prompts count by their content: their names may be paths. Align reads no mixture, baseline no prompts.
    settings = {name: _plain(value) for name, value in asdict(training).items() if name not in {*_FREE, "mixture"}}
    settings["rows_a_step"] = training.batch_size * training.gradient_accumulation * processes
    if stage is not StageName.ALIGN:
        settings["mixture's rows"] = _plain(asdict(load_mixture(training.mixture)))
    if stage is not StageName.BASELINE:
        settings["prompts' words"] = _plain(asdict(prompts_of(model.prompts)))
    settings |= {f"what lies at {name}": content_mark(path) for name, path in given.items() if path is not None}
    described = {name: value for name, value in asdict(model).items() if name not in {"weights", "sampling", "prompts"}}
    settings |= {f"model.{name}": value for name, value in _leaves(_plain(described))}
    shapes = {name: tuple(parameter.shape) for name, parameter in trainee.trained.items()}
    former = {name: _plain(value) for name, value in asdict(TrainingConfig()).items() if name in settings}
    return Identity(stage=stage, settings=settings, shapes=shapes, former=former)


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def content_mark(path: Path) -> str:
    """A short mark of a file's or folder's content: names, sizes, and both ends of each file.

    Whole checkpoints are not read for it; a Parquet file tells of its rows at its end, safetensors at its beginning.

    Raises:
        StageError: A configuration in it cannot be read.
    """
    root = path if path.is_dir() else path.parent
    files = sorted(f for f in path.rglob("*") if f.is_file() and f.suffix in _PARTS) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        if file.suffix == ".json":
            content = json.dumps(_told(read_settings(file)), sort_keys=True).encode()
            digest.update(f"{file.relative_to(root)} ".encode() + content)
            continue
        digest.update(f"{file.relative_to(root)} {size}\n".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(_END))
            stream.seek(max(0, size - _END))
            digest.update(stream.read(_END))
    return digest.hexdigest()[:16]


def _told(tree: Any) -> Any:
    """A configuration without what only tells where it was loaded from, such as `_name_or_path`."""
    if isinstance(tree, list):
        return [_told(item) for item in tree]
    if isinstance(tree, dict):
        return {name: _told(value) for name, value in tree.items() if not name.startswith("_")}
    return tree


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


def _cache(built: Any, manifest: Path, training: TrainingConfig, processes: int) -> EncoderCache | None:
    if not training.cache or built.encoders is None:
        return None
    folder = (manifest if manifest.is_dir() else manifest.parent) / CACHE
    autoencoder, vision = built.encoders()
    with torch.no_grad():
        limit = training.cache_gib * 2**30
        return EncoderCache(folder, autoencoder=autoencoder, vision=vision, limit=limit, processes=processes)
