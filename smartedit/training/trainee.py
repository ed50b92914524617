"""What a stage trains, as the loop sees it: rows, losses, and a folder in the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from smartedit.training.losses import Draws, Timesteps


@dataclass(frozen=True, kw_only=True, slots=True)
class Latents:
    """What must be known to draw a row's noise.

    Attributes:
        shape: [channels, h, w] of a latent.
        timesteps: Which timesteps of the schedule.
    """

    shape: tuple[int, int, int]
    timesteps: Timesteps


class RowDataset(Protocol):
    """Rows by position in an endless order, and batches of them; a row has an `example_id`."""

    def __getitem__(self, position: int) -> Any:
        """The row at a position."""
        ...

    def collate(self, rows: Any) -> Any:
        """A batch."""
        ...


class Trainee(Protocol):
    """A model in a stage of training."""

    @property
    def module(self) -> nn.Module:
        """What is trained, with one forward pass a step, so that it can be wrapped for several processes."""
        ...

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        """Its trained parameters by name."""
        ...

    @property
    def added_tokens(self) -> Sequence[int]:
        """Which rows of a trained embedding and output layer change: those of the added tokens."""
        ...

    @property
    def rows(self) -> RowDataset:
        """What it reads."""
        ...

    @property
    def latents(self) -> Latents | None:
        """For the draws of the diffusion loss; None where there is none."""
        ...

    def count_labels(self, batch: Any) -> int:
        """By how many labelled tokens a batch's language loss is divided."""
        ...

    def losses(
        self, module: nn.Module, batch: Any, draws: Draws | None, seen: Any, num_labels: float
    ) -> Mapping[str, Tensor]:
        """The parts of a batch's loss by name.

        Args:
            module: `self.module`, perhaps wrapped.
            batch: Of `rows.collate`, on the device.
            draws: The batch's randomness, on the device.
            seen: What the frozen encoders made of the batch's pictures before, or None.
            num_labels: Divide the language loss by this.
        """
        ...

    def train_mode(self) -> None:
        """Let dropout act where the stage has it."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was trained as a pipeline."""
        ...
