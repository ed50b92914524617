"""What the trainings here share: plan, learning rate, journal, and states and parts that survive a kill."""

import json
import logging
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smartedit.training.saving import full_disk_in_plain

logger = logging.getLogger(__name__)


MARK = "config.json"
"""What the folder of a finished network has."""


class NotFiniteError(ValueError):
    """A loss is no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How long and how fast one network is trained.

    Attributes:
        steps: Steps.
        batch_size: Rows of a step.
        learning_rate: Highest learning rate.
        warmup: Steps of linear rise; afterwards the rate falls along a cosine to a fiftieth.
        seed: Of weights, order and noise.
        save_every: Steps between saved states.
        log_every: Steps between lines of the journal.
        bf16: Whether the passes run under bfloat16 autocast, where the training knows how.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 100
    seed: int = 0
    save_every: int = 500
    log_every: int = 50
    bf16: bool = False


def cosine(step: int, plan: Plan) -> float:
    """The learning rate of a step."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    progress = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return plan.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Journal:
    """Losses of a training, averaged between lines, with the seconds since it began or went on."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "metrics.jsonl"
        self._plan = plan
        self._values: dict[str, list[float]] = {}
        self._begun = time.monotonic()

    def note(self, step: int, **losses: float) -> None:
        """Take the losses of one step; every `log_every` steps the means of those that there were are written.

        Raises:
            NotFiniteError: One of the means is no number.
        """
        for name, value in losses.items():
            self._values.setdefault(name, []).append(value)
        if step % self._plan.log_every and step != self._plan.steps:
            return
        means = {name: round(sum(values) / len(values), 6) for name, values in self._values.items()}
        if not all(math.isfinite(value) for value in means.values()):
            raise NotFiniteError(
                f"{self._path}: step {step}: the loss is not finite ({means}); the same command goes on from the last "
                "state that was saved; a lower learning rate of its plan (recipe.py) may help, in another folder"
            )
        seconds = round(time.monotonic() - self._begun, 1)
        line = json.dumps({"step": step, "steps": self._plan.steps, "seconds": seconds, **means})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        logger.info("%s %s", self._path.parent.name, line)
        self._values = {}


def save_state(folder: Path, module: nn.Module, optimizer: Any, step: int, **more: Any) -> None:
    """Write weights and optimizer beside each other's old ones, then rename."""
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step, **more}
    save_tensors(state, folder / "state.pt")


def save_tensors(content: Any, file: Path) -> None:
    """Write what `torch.load` reads, aside first and then renamed.

    Raises:
        OSError: The disk is full.
    """
    part = file.with_suffix(".part")
    with full_disk_in_plain(part):
        torch.save(content, part)
    part.replace(file)


def resume(folder: Path, module: nn.Module, optimizer: Any) -> int:
    """Take up the saved state, if there is one; returns the step to go on from."""
    state = read_state(folder)
    if state is None:
        return 0
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def read_state(folder: Path) -> dict[str, Any] | None:
    """The saved state, or None."""
    path = folder / "state.pt"
    return torch.load(path, weights_only=True) if path.is_file() else None


def save_finished(made: Any, folder: Path, mark: str = MARK) -> None:
    """Write a trained network beside its states, aside first; the file by which it counts as finished comes last.

    Args:
        made: Has `save_pretrained`.
        folder: Of the training.
        mark: Name of that file.

    Raises:
        OSError: The disk is full.
    """
    part = folder / "finished.part"
    shutil.rmtree(part, ignore_errors=True)
    with full_disk_in_plain(part):
        made.save_pretrained(part)
    for file in sorted(part.iterdir(), key=lambda file: file.name == mark):
        file.replace(folder / file.name)
    part.rmdir()


def is_finished(folder: Path, mark: str = MARK) -> bool:
    """Whether `save_finished` has come to its end there."""
    return (folder / mark).is_file()
