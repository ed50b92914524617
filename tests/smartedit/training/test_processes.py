"""Several processes read different rows, and together do what one process does with all of them."""

import json
import multiprocessing
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import nn
from torch.distributed.tensor import DTensor

from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.training import loop
from smartedit.training.sharding import assemble, local
from smartedit.training.visits import Positions
from tests.smartedit.training.conftest import metrics, same_states
from tests.smartedit.training.launching import variables
from tests.smartedit.training.tiny_stages import ZERO2, TinyStages, compile_nothing

pytestmark = pytest.mark.xdist_group("processes")  # Two processes a time, and their server's imports once.

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


def _one_of_two(
    run_stage: TinyStages, stage: str, run: Path, overrides: Sequence[str], rank: int, port: int, sharing: str
) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE="2",
        LOCAL_WORLD_SIZE="2",
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
    )
    if sharing == "deepspeed":
        os.environ.update(ZERO2)
        compile_nothing()
    if sharing in {"fsdp-7b", "zero2-7b"}:
        os.environ.update(variables(sharing))
        loop.assemble = _assemble_divided
    AcceleratorState._reset_state(reset_partial_state=True)
    run_stage(stage, run, "training.batch_size=2", "training.length_groups=2", *overrides)


def _assemble_divided(module: nn.Module, *, keep: bool) -> None:
    """Before the model is put together for its file: every trained weight is divided."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    assert trained and all(isinstance(parameter, DTensor) for parameter in trained)
    assert sum(local(parameter).numel() for parameter in trained) < 0.6 * sum(p.numel() for p in trained)
    assemble(module, keep=keep)
    assert not any(isinstance(parameter, DTensor) for parameter in module.parameters())


def start_two(
    run_stage: TinyStages, stage: str, run: Path, *overrides: str, sharing: str
) -> list[multiprocessing.process.BaseProcess]:
    """Two processes that train a stage together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes: list[multiprocessing.process.BaseProcess] = [
        FRESH.Process(target=_one_of_two, args=(run_stage, stage, run, overrides, rank, port, sharing))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    return processes


def run_two(run_stage: TinyStages, stage: str, run: Path, *overrides: str, sharing: str) -> None:
    for process in start_two(run_stage, stage, run, *overrides, sharing=sharing):
        process.join(1200)
        assert process.exitcode == 0


def same_model(ours: Path, theirs: Path) -> None:
    """Two pipelines with the same parts, weights about alike."""

    def weights(folder: Path) -> dict[tuple[Path, str], torch.Tensor]:
        files = [path.relative_to(folder) for path in sorted(folder.rglob("*.safetensors"))]
        return {(file, name): tensor for file in files for name, tensor in load_file(folder / file).items()}

    found, expected = weights(ours), weights(theirs)
    assert found and found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], atol=2e-4) for name in expected)
    for config in theirs.glob("*/config.json"):
        other = ours / config.relative_to(theirs)
        classes = [json.loads(path.read_text()).get("_class_name") for path in (other, config)]
        assert classes[0] == classes[1]


@pytest.mark.parametrize(
    ("stage", "sharing"),
    [
        ("align", "whole"),
        ("full", "whole"),
        ("align", "fsdp-7b"),
        ("full", "fsdp-7b"),
        ("baseline", "zero2-7b"),
        ("align", "deepspeed"),
        ("full", "deepspeed"),
    ],
)
def test_two_processes_equal_one_with_twice_the_batch(
    run_stage: TinyStages, tmp_path: Path, stage: str, sharing: str
) -> None:
    one = run_stage(stage, tmp_path / "one", "training.ema_decay=0.5")
    run_two(run_stage, stage, tmp_path / "two", "training.ema_decay=0.5", sharing=sharing)
    for ours, theirs in zip(metrics(tmp_path / "two"), metrics(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    same_model(tmp_path / "two/model", one)
    same_states(tmp_path / "two", tmp_path / "one")


@pytest.mark.parametrize("sharing", ["fsdp-7b", "deepspeed"])
def test_processes_that_are_killed_go_on_shared_in_another_way_and_as_one(
    run_stage: TinyStages, tmp_path: Path, sharing: str
) -> None:
    averaged = "training.ema_decay=0.5"
    one = run_stage("full", tmp_path / "one", averaged)
    run = tmp_path / "two"
    for step, way in ((2, "whole"), (4, sharing)):
        processes = start_two(run_stage, "full", run, averaged, sharing=way)
        while not (run / f"checkpoints/step-{step:08d}.pt").is_file():
            assert all(process.is_alive() for process in processes)
            processes[0].join(0.02)
        for process in processes:
            process.kill()
            process.join()
    assert not (run / "model").exists()
    run_stage("full", run, averaged)
    for ours, theirs in zip(metrics(run), metrics(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    same_model(run / "model", one)
    same_states(run, tmp_path / "one")


def test_sharded_processes_do_what_whole_ones_do(run_stage: TinyStages, tmp_path: Path, start: Path) -> None:
    """In half precision, with layers computed again, in two passes, and with edits shown meanwhile."""
    settings = (
        "training.mixed_precision=bfloat16",
        "training.gradient_checkpointing=true",
        "training.batch_size=1",
        "training.gradient_accumulation=2",
        "training.steps=3",
        "training.validate_every=2",
        "training.validation_samples=1",
        "training.weight_decay=0.1",
    )
    kinds = ("whole", "fsdp-7b", "deepspeed")
    for sharing in kinds:
        run_two(run_stage, "full", tmp_path / sharing, *settings, sharing=sharing)
    whole = metrics(tmp_path / "whole")
    for sharing in kinds[1:]:
        for ours, theirs in zip(metrics(tmp_path / sharing), whole, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-3), sharing
    shown = [[path.name for path in sorted((tmp_path / sharing / "samples").iterdir())] for sharing in kinds]
    assert shown == 3 * [["step-00000002.png", "step-00000003.png"]]
    before = SmartEditPipeline.from_pretrained(start)
    for sharing in kinds:
        only_added_rows_moved(before, SmartEditPipeline.from_pretrained(tmp_path / sharing / "model"))


def only_added_rows_moved(before: SmartEditPipeline, after: SmartEditPipeline) -> None:
    """The rows of the tokens that the language model came with are as they were."""
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        old, new = (getattr(pipeline.mllm.model, layer)().weight for pipeline in (before, after))
        assert torch.equal(old[: after.layout.system_image], new[: after.layout.system_image])
        assert not torch.equal(old[after.layout.system_image :], new[after.layout.system_image :])
