"""Checkpoints of a training run: written whole or not at all, the newest found again, those of other runs refused."""

import errno
import json
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from reason_edit.files import atomic_path, sweep_unfinished, write_text
from smartedit.config.training import StageName
from smartedit.model.checkpoints import CheckpointError

SUFFIX = ".pt"
TRAINED = ".trained"
"""A file of a model's folder: of which run it is, and behind which step. Not a name that loaders, marks of content and
shipping read."""
_SHOWN = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What a checkpoint must agree in with the run that goes on from it.

    Attributes:
        stage: The stage.
        settings: Settings that decide what comes out, by name.
        shapes: Shapes of the trained parameters by name.
        former: What a setting was before it had a name, where a checkpoint does not name it.
    """

    stage: StageName
    settings: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    former: Mapping[str, Any] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """What is written of it."""
        return {
            "stage": self.stage.value,
            "settings": dict(self.settings),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingState:
    """Where a run stands behind a step.

    Attributes:
        step: Steps that are done.
        weights: Trained parameters by name.
        optimizer: The optimizer's state.
        schedule: The learning rate's state.
        ema: The averaged weights' state, or None.
        journal: What is to be logged and counted further, as plain values.
        buffers: What the trained parts keep besides their parameters, by name; checkpoints of old have none.
    """

    step: int
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    ema: dict[str, Any] | None
    journal: dict[str, Any]
    buffers: dict[str, Tensor] = field(default_factory=dict)


class CheckpointFolder:
    """The checkpoints of one run, `step-00000100.pt` and so on; a file of such a name is complete."""

    def __init__(self, folder: Path, identity: Identity, *, keep: int) -> None:
        """Take a folder.

        Args:
            folder: The folder; need not exist.
            identity: Of the run.
            keep: How many checkpoints stay.
        """
        self.folder = folder
        self.identity = identity
        self.keep = keep

    def paths(self) -> list[Path]:
        """The complete checkpoints, oldest first."""
        return sorted(self.folder.glob(f"step-*{SUFFIX}"))

    def save(self, state: TrainingState) -> Path:
        """Write a checkpoint aside, give it its name, and remove the oldest ones.

        Raises:
            OSError: The disk is full; what was written before stays.
        """
        path = self.folder / f"step-{state.step:08d}{SUFFIX}"
        content = {name: getattr(state, name) for name in TrainingState.__slots__}
        content["identity"] = self.identity.described()
        with atomic_path(path) as temporary:
            _write(content, temporary)
        for old in self.paths()[: -self.keep]:
            old.unlink()
        return path

    def newest(self) -> TrainingState | None:
        """The newest checkpoint; None where there is none.

        Raises:
            CheckpointError: It is of another stage, size or setting, or damaged.
        """
        if self.folder.is_dir():
            sweep_unfinished(self.folder)
        paths = self.paths()
        if not paths:
            return None
        path = paths[-1]
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except (OSError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, EOFError) as error:
            raise CheckpointError(
                f"{path}: cannot be read ({error}); remove it to go on from the one before"
            ) from error
        self._check(path, content.pop("identity"))
        return TrainingState(**content)

    def mark(self, model: Path, step: int) -> None:
        """Note in a model's folder that it is of this run, and behind which step."""
        write_text(model / TRAINED, json.dumps({"step": step, "identity": self.identity.described()}) + "\n")

    def has_finished(self, model: Path, newest: int | None, steps: int) -> bool:
        """Whether a run's model has all the steps that are asked for.

        Args:
            model: The model's folder; need not exist.
            newest: The newest checkpoint's step; None where there is none.
            steps: What is asked for.

        Raises:
            CheckpointError: It is of another stage, size or setting; or it has fewer steps, and no checkpoint to go on
                from.
        """
        if not model.is_dir():
            return False
        trained = self._trained_steps(model)
        if newest is None and (trained is None or trained < steps):
            known = "an unknown number of" if trained is None else trained
            raise CheckpointError(
                f"{model}: has {known} steps, and {steps} are asked for, but there is no checkpoint in {self.folder} "
                "to go on from; put the checkpoints back, name another --run, or remove the model to train it anew"
            )
        done = newest if trained is None else trained  # Models of old do not tell; they count as the checkpoint.
        return done is not None and done >= steps

    def _trained_steps(self, model: Path) -> int | None:
        """Behind which step a model was written; None where it does not tell."""
        path = model / TRAINED
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            step, identity = int(content["step"]), content["identity"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error}); remove it") from error
        self._check(path, identity)
        return step

    def _check(self, path: Path, found: Mapping[str, Any]) -> None:
        ours = self.identity
        if found["stage"] != ours.stage.value:
            raise CheckpointError(
                f"{path}: is of stage {found['stage']}, not {ours.stage.value}; name another --run for this stage, and "
                "the other stage's RUN/model as --start"
            )
        shapes = {name: tuple(shape) for name, shape in found["shapes"].items()}
        faults = [
            f"{name} is {list(shapes[name])} there and {list(shape)} here"
            for name, shape in ours.shapes.items()
            if name in shapes and shapes[name] != shape
        ]
        faults += [f"{name} is new" for name in ours.shapes if name not in shapes]
        faults += [f"{name} is gone" for name in shapes if name not in ours.shapes]
        if faults:
            shown = "; ".join(faults[:_SHOWN]) + (f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else "")
            raise CheckpointError(f"{path}: is of a model of another size: {shown}; name another --run")
        settings = {**ours.settings, **ours.former, **found["settings"]}
        changed = [
            f"{name} was {settings[name]!r} and is {value!r}"
            for name, value in ours.settings.items()
            if settings[name] != value
        ]
        if changed:
            raise CheckpointError(
                f"{path}: was trained with other settings: {'; '.join(changed)}; give the former, or another --run"
            )


def _write(content: Mapping[str, Any], path: Path) -> None:
    with full_disk_in_plain(path), path.open("wb") as file:
        torch.save(content, file)


@contextmanager
def full_disk_in_plain(path: Path) -> Iterator[None]:
    """Within it a full disk is the OSError that it is: torch's and safetensors' writers end in errors of their own."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(cause, OSError):
            raise OSError(cause.errno, cause.strerror, cause.filename or str(path)) from error
        if os.strerror(errno.ENOSPC) in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
