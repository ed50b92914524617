"""Micro batches of a training run: which positions they hold, and what is drawn for each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from smartedit.data.decoding import DecodingError
from smartedit.seeding import seed_from, torch_generators
from smartedit.training.losses import Draws, draw
from smartedit.training.trainee import Latents, RowDataset

SUBSTITUTES = 2**40
"""A row that cannot be read is replaced by the one so many positions further, which no run comes to otherwise."""
TRIES = 100
"""Rows that are tried for one position."""
LAST = 2**62
"""Length of a data set whose order is endless."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A row that was left out while training.

    Attributes:
        example_id: The row.
        reason: What is wrong with it.
    """

    example_id: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """What one pass of one process reads.

    Attributes:
        example_ids: The rows.
        batch: Their tensors.
        draws: Their randomness, or None.
        unreadable: Rows in whose place others stand.
        keys: Of the pictures in the cache, or None without one.
        kept: What the cache holds of them, or None without one.
    """

    example_ids: tuple[str, ...]
    batch: Any
    draws: Draws | None
    unreadable: tuple[Unreadable, ...] = ()
    keys: Any = None
    kept: Any = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Visited:
    """A row, where it stands, and what stood there but could not be read."""

    position: int
    row: Any
    unreadable: tuple[Unreadable, ...]


class VisitDataset(Dataset[Visited]):
    """Rows by position, with others in the place of those that cannot be read.

    What is drawn for a row follows from the seed and its position, so that it is the same in any batch, on any number
    of processes, and behind a resume.
    """

    def __init__(
        self, rows: RowDataset, *, latents: Latents | None, seed: int, tries: int = TRIES, cache: Any = None
    ) -> None:
        """Wrap rows.

        Args:
            rows: What is read.
            latents: What is needed to draw noise; None for no draws.
            seed: Of the draws.
            tries: Rows that are tried for one position.
            cache: A `smartedit.training.caching.EncoderCache`, or None.
        """
        self.rows = rows
        self.latents = latents
        self.seed = seed
        self.tries = tries
        self.cache = cache

    def __getitem__(self, position: int) -> Visited:
        """The row at a position.

        Raises:
            DecodingError: No row that was tried can be read.
        """
        unreadable: list[Unreadable] = []
        while len(unreadable) < self.tries:
            place = position + len(unreadable) * SUBSTITUTES
            try:
                return Visited(position=position, row=self.rows[place], unreadable=tuple(unreadable))
            except DecodingError as error:
                # Messages of this error begin with the row's id.
                unreadable.append(Unreadable(example_id=str(error).partition(":")[0], reason=str(error)))
        raise DecodingError(f"{self.tries} rows in a row cannot be read; the last: {unreadable[-1].reason}")

    def collate(self, visited: Sequence[Visited]) -> MicroBatch:
        """A micro batch."""
        rows = [v.row for v in visited]
        keys = None if self.cache is None else [self.cache.keys(row) for row in rows]
        return MicroBatch(
            example_ids=tuple(row.example_id for row in rows),
            batch=self.rows.collate(rows),
            draws=None if self.latents is None else self._draws([v.position for v in visited], self.latents),
            unreadable=tuple(u for v in visited for u in v.unreadable),
            keys=keys,
            kept=None if keys is None else self.cache.read(keys),
        )

    def _draws(self, positions: Sequence[int], latents: Latents) -> Draws:
        generators = torch_generators([seed_from("training", self.seed, position) for position in positions])
        rows = [draw((1, *latents.shape), timesteps=latents.timesteps, generator=g) for g in generators]
        return Draws(
            condition=torch.cat([row.condition for row in rows]),
            latent_noise=torch.cat([row.latent_noise for row in rows]),
            noise=torch.cat([row.noise for row in rows]),
            timesteps=torch.cat([row.timesteps for row in rows]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Positions:
    """The positions that one process reads, micro batch by micro batch; a sampler of `torch.utils.data.DataLoader`.

    A step's rows follow one another in the order; the processes divide each pass of them among each other. Steps are
    the same rows whether many processes or many passes share them.

    Attributes:
        first_step: The first step, counted from 0.
        steps: The step behind the last.
        passes: Passes of a step.
        batch_size: Rows of one process in one pass.
        rank: Which process.
        world_size: Processes.
    """

    first_step: int
    steps: int
    passes: int
    batch_size: int
    rank: int
    world_size: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first_step, self.steps):
            for number in range(self.passes):
                block = (step * self.passes + number) * self.world_size + self.rank
                yield list(range(block * self.batch_size, (block + 1) * self.batch_size))

    def __len__(self) -> int:
        return max(0, self.steps - self.first_step) * self.passes
