"""Reads micro batches ahead of the step that needs them, in worker processes or in a thread."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import torch
from torch.utils.data import DataLoader

from smartedit.training.visits import MicroBatch, Positions, VisitDataset

AHEAD = 2
"""Micro batches that each worker, or the thread, has ready."""


def micro_batches(dataset: VisitDataset, positions: Positions, *, num_workers: int) -> Iterator[MicroBatch]:
    """The micro batches at positions, in order.

    Args:
        dataset: What is read.
        positions: Which, and in what batches.
        num_workers: Processes; 0 for a thread of this one.
    """
    if not num_workers:
        yield from _by_thread(dataset, positions)
        return
    yield from DataLoader(
        dataset,
        batch_sampler=positions,  # type: ignore[arg-type]  # any sized iterable of lists
        collate_fn=dataset.collate,
        num_workers=num_workers,
        prefetch_factor=AHEAD,
        generator=torch.Generator(),  # workers' seeds, which no row reads, would else be drawn where dropout draws
    )


def _by_thread(dataset: VisitDataset, positions: Positions) -> Iterator[MicroBatch]:
    def read(batch: list[int]) -> MicroBatch:
        return dataset.collate([dataset[position] for position in batch])

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rows") as pool:
        waiting = iter(positions)
        pending = [pool.submit(read, batch) for batch in islice(waiting, AHEAD)]
        try:
            while pending:
                batch = pending.pop(0).result()
                pending += [pool.submit(read, following) for following in islice(waiting, 1)]
                yield batch
        finally:
            for future in pending:
                future.cancel()
