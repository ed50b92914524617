"""Several processes read different rows, and together do what one process does with all of them."""

import multiprocessing
import os
import socket
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.training.visits import Positions
from tests.smartedit.training.conftest import metrics
from tests.smartedit.training.tiny_stages import TinyStages

FRESH = multiprocessing.get_context("forkserver")
"""Not fork: a process that has trained cannot be copied (autograd refuses)."""
FRESH.set_forkserver_preload(["tests.smartedit.training.tiny_stages", "smartedit.training.build"])


def test_ranks_and_passes_share_the_rows_of_a_step() -> None:
    def rows(world_size: int, passes: int, batch_size: int) -> list[list[int]]:
        """The rows of three steps."""
        steps: list[list[int]] = [[], [], []]
        for rank in range(world_size):
            sampler = Positions(
                first_step=0, steps=3, passes=passes, batch_size=batch_size, rank=rank, world_size=world_size
            )
            assert len(list(sampler)) == len(sampler) == 3 * passes
            for i, batch in enumerate(sampler):
                steps[i // passes] += batch
        return [sorted(step) for step in steps]

    everything = [list(range(24)), list(range(24, 48)), list(range(48, 72))]
    assert rows(1, 1, 24) == rows(4, 3, 2) == rows(2, 1, 12) == rows(8, 3, 1) == everything


def _one_of_two(run_stage: TinyStages, stage: str, run: Path, rank: int, port: int) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
    )
    AcceleratorState._reset_state(reset_partial_state=True)
    run_stage(stage, run, "training.batch_size=2")


@pytest.mark.parametrize("stage", ["align", "full"])
def test_two_processes_equal_one_with_twice_the_batch(run_stage: TinyStages, tmp_path: Path, stage: str) -> None:
    one = run_stage(stage, tmp_path / "one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        FRESH.Process(target=_one_of_two, args=(run_stage, stage, tmp_path / "two", rank, port)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    for ours, theirs in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    states = [SmartEditPipeline.from_pretrained(m).qformer.state_dict() for m in (one, tmp_path / "two/model")]
    assert all(torch.allclose(states[0][name], states[1][name], atol=2e-4) for name in states[0])
