"""What a run says of itself while it trains: `metrics.jsonl`, TensorBoard where it is installed, unreadable rows."""

import importlib.util
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reason_edit.files import write_text
from smartedit.training.visits import Unreadable

logger = logging.getLogger(__name__)

METRICS, UNREADABLE = "metrics.jsonl", "unreadable.jsonl"
DIVERGING = 5.0
"""By what factor a loss exceeds its lowest mean when it is said that it diverges."""


class UnreadableRowsError(ValueError):
    """More rows than allowed turned out unreadable while training."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a run is, for whoever shows it.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        values: Of this step: the losses, `gradient_norm`, `learning_rate`, `seconds`, `waited`, `samples_per_second`.
    """

    step: int
    steps: int
    values: Mapping[str, float]


@dataclass(kw_only=True)
class Journal:
    """The log of a run; of several processes only the first writes.

    Attributes:
        run: The run's folder.
        log_every: Steps of which a line is the mean.
        max_unreadable: Rows that may be unreadable.
        writes: Whether this process writes.
        on_step: Called behind every step.
    """

    run: Path
    log_every: int
    max_unreadable: int
    writes: bool
    on_step: Callable[[Progress], None] | None = None
    _window: list[dict[str, float]] = field(default_factory=list)
    _unreadable: dict[str, str] = field(default_factory=dict)
    _lowest: float = math.inf
    _warned: bool = False
    _board: Any = None

    def resume(self, step: int, state: Mapping[str, Any] | None) -> None:
        """Go on behind a step: lines of later steps, which will be made again, are taken back."""
        if state is not None:
            self._window = [dict(values) for values in state["window"]]
            self._unreadable = dict(state["unreadable"])
            self._lowest = state.get("lowest", math.inf)
        if not self.writes:
            return
        path = self.run / METRICS
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            write_text(path, "".join(f"{line}\n" for line in lines if _step(line) <= step))
        self._write_unreadable()
        if importlib.util.find_spec("tensorboard") is None:
            logger.warning("TensorBoard is not installed (extra: tensorboard): the curves are in %s only", path)
            return
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(self.run / "tensorboard"), purge_step=step + 1)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"window": self._window, "unreadable": list(self._unreadable.items()), "lowest": self._lowest}

    def record(self, step: int, steps: int, values: dict[str, float]) -> None:
        """Take a step's values."""
        self._window.append(values)
        if self.on_step is not None and self.writes:
            self.on_step(Progress(step=step, steps=steps, values=values))
        if step % self.log_every and step != steps:
            return
        means = {name: sum(row[name] for row in self._window) / len(self._window) for name in values}
        self._window = []
        self._watch(step, means["loss"])
        if not self.writes:
            return
        line = {"step": step, **means, "unreadable": len(self._unreadable)}
        with (self.run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._board is not None:
            for name, value in means.items():
                self._board.add_scalar(name, value, step)
            self._board.flush()

    def _watch(self, step: int, loss: float) -> None:
        """Say once that a loss diverges: clipped gradients keep it from ever being no number."""
        if loss > DIVERGING * self._lowest and self.writes and not self._warned:
            self._warned = True
            logger.warning(
                "step %d: the loss is %.3g and was %.3g: the learning rate is probably too high; lower it and name "
                "another --run",
                step,
                loss,
                self._lowest,
            )
        self._lowest = min(self._lowest, loss)

    def leave_out(self, rows: Sequence[Unreadable]) -> None:
        """Count rows that could not be read, each once.

        Raises:
            UnreadableRowsError: There are more than allowed.
        """
        for row in rows:
            if row.example_id not in self._unreadable:
                logger.warning("left out: %s", row.reason)
                self._unreadable[row.example_id] = row.reason
        if rows and self.writes:
            self._write_unreadable()
        if len(self._unreadable) > self.max_unreadable:
            last = next(reversed(self._unreadable.values()))
            raise UnreadableRowsError(
                f"{len(self._unreadable)} rows could not be read, training.max_unreadable allows "
                f"{self.max_unreadable}; all are in {self.run / UNREADABLE}, the last: {last}"
            )

    def _write_unreadable(self) -> None:
        lines = [json.dumps({"example_id": row, "reason": why}) for row, why in self._unreadable.items()]
        if lines or (self.run / UNREADABLE).is_file():
            write_text(self.run / UNREADABLE, "".join(f"{line}\n" for line in lines))


def _step(line: str) -> float:
    """The step of a line; a line that a killed process did not finish belongs to none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
