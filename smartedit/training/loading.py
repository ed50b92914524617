"""Reads micro batches ahead of the step that needs them, in worker processes or in a thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch
from torch.utils.data import DataLoader, Dataset

from smartedit.data.decoding import DecodingError
from smartedit.training.visits import MicroBatch, Positions, VisitDataset

AHEAD = 2
"""Micro batches that each worker, or the thread, has ready."""


def micro_batches(dataset: VisitDataset, positions: Positions, *, num_workers: int) -> Iterator[MicroBatch]:
    """The micro batches at positions, in order.

    Args:
        dataset: What is read.
        positions: Which, and in what batches.
        num_workers: Processes; 0 for a thread of this one.

    Raises:
        DecodingError: No row that was tried for a position can be read.
    """
    if not num_workers:
        yield from _by_thread(dataset, positions)
        return
    for found in DataLoader(
        _Passes(dataset),
        sampler=positions,
        batch_size=None,
        num_workers=num_workers,
        prefetch_factor=AHEAD,
        generator=torch.Generator(),  # workers' seeds, which no row reads, would else be drawn where dropout draws
    ):
        if isinstance(found, DecodingError):
            raise found
        yield found


class _Passes(Dataset[MicroBatch | DecodingError]):
    """Micro batches by their positions; errors are returned: what a worker raises comes back as its traceback."""

    def __init__(self, rows: VisitDataset) -> None:
        self.rows = rows

    def __getitem__(self, batch: list[int]) -> MicroBatch | DecodingError:
        try:
            return _read(self.rows, batch)
        except DecodingError as error:
            return error


def _read(dataset: VisitDataset, batch: list[int]) -> MicroBatch:
    return dataset.collate([dataset[position] for position in batch])


def _by_thread(dataset: VisitDataset, positions: Positions) -> Iterator[MicroBatch]:
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rows") as pool:
        waiting = iter(positions)
        pending = [pool.submit(_read, dataset, batch) for batch in islice(waiting, AHEAD)]
        try:
            while pending:
                batch = pending.pop(0).result()
                pending += [pool.submit(_read, dataset, following) for following in islice(waiting, 1)]
                yield batch
        finally:
            for future in pending:
                future.cancel()
