"""DeepSpeed: what its files may say, one process of it, and the memory that its engine holds.

Two processes and their agreement with whole ones are in `test_processes.py`.
"""

import json
import multiprocessing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from smartedit.config.training import StageName, TrainingConfig, load_training_config
from smartedit.training import zero
from smartedit.training.loop import DivergedError
from smartedit.training.sharding import ShardingError
from smartedit.training.zero import ZeroEngine, chosen_zero
from tests.smartedit.training.conftest import metrics
from tests.smartedit.training.tiny_stages import TinyStages

ZERO2 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}


@pytest.fixture
def training() -> TrainingConfig:
    return load_training_config(StageName.FULL)


def asked(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in {**ZERO2, **settings}.items():
        monkeypatch.setenv(name, value)


def test_without_the_flag_there_is_none(training: TrainingConfig) -> None:
    assert chosen_zero(training) is None


def test_training_decides_what_is_its_own(training: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch)
    settings = chosen_zero(training)
    assert settings is not None and settings["zero_optimization"]["stage"] == 2
    assert settings["train_micro_batch_size_per_gpu"] == training.batch_size
    assert settings["gradient_accumulation_steps"] == training.gradient_accumulation
    assert settings["gradient_clipping"] == training.max_gradient_norm
    assert settings["torch_autocast"]["enabled"]


def written(folder: Path, **blocks: Any) -> str:
    """A file of DeepSpeed's own, as the authors' scripts name one."""
    auto = dict.fromkeys(("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping"), "auto")
    path = folder / "zero2.json"
    path.write_text(json.dumps({**auto, "zero_optimization": {"stage": 2}, **blocks}))
    return str(path)


def test_a_file_of_deepspeeds_own_is_followed(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = {"stage": 2, "reduce_bucket_size": 1000, "overlap_comm": True}
    blocks = {"bf16": {"enabled": "auto"}, "fp16": {"enabled": False}, "zero_optimization": stage}
    asked(monkeypatch, ACCELERATE_DEEPSPEED_CONFIG_FILE=written(tmp_path, **blocks))
    settings = chosen_zero(training)
    assert settings is not None and settings["zero_optimization"]["reduce_bucket_size"] == 1000
    assert settings["gradient_clipping"] == training.max_gradient_norm and "bf16" not in settings


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({"scheduler": {"type": "WarmupLR"}}, r"remove the block 'scheduler'; training\.STAGE\.schedule"),
        ({"optimizer": {"type": "AdamW"}}, "remove the block 'optimizer'"),
        ({"bf16": {"enabled": True}}, r"'bf16'; training\.STAGE\.mixed_precision"),
        ({"gradient_clipping": 0.5}, r"gradient_clipping is 0\.5, and training\.STAGE\.max_gradient_norm is"),
        ({"train_micro_batch_size_per_gpu": 99}, "train_micro_batch_size_per_gpu is 99"),
        ({"gradient_accumulation_steps": 99}, "gradient_accumulation_steps is 99"),
        ({"zero_optimization": {"stage": 3}}, r"zero_stage 3 .*fsdp-7b\.yaml"),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
            "offload_optimizer is not supported: fsdp_offload_params",
        ),
    ],
)
def test_a_file_that_says_otherwise_is_refused(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: dict[str, Any], message: str
) -> None:
    asked(monkeypatch, ACCELERATE_DEEPSPEED_CONFIG_FILE=written(tmp_path, **blocks))
    with pytest.raises(ShardingError, match=message):
        chosen_zero(training)


def test_where_deepspeed_is_missing_the_remedy_is_told(
    training: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch)
    monkeypatch.setattr(zero, "is_deepspeed_available", lambda: False)
    with pytest.raises(ShardingError, match=r"smartedit\[deepspeed\].*zero2-7b\.yaml"):
        chosen_zero(training)


def _alone(run_stage: TinyStages, run: Path, overrides: tuple[str, ...], expected: Mapping[str, int]) -> None:
    """One process with DeepSpeed; a loss that is no number is this process's only error that is expected."""
    sizes: dict[str, int] = {}
    step = ZeroEngine.step

    def measured(self: ZeroEngine) -> float:
        norm = step(self)
        parts = [part for group in self.optimizer.param_groups for part in group["params"]]
        states = [state[name] for state in self.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
        for name, tensors in (("copy", parts), ("states", states)):
            sizes[name] = sum(tensor.nbytes for tensor in tensors)
        return norm

    with pytest.MonkeyPatch.context() as patch:
        asked(patch)
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setattr(ZeroEngine, "step", measured)
        try:
            run_stage("full", run, *overrides)
        except DivergedError as error:
            run.joinpath("diverged").write_text(str(error))
            return
    # A part is filled up to be divided among processes and, on GPUs, for aligned addresses.
    assert all(0 <= sizes[name] - size < 128 for name, size in expected.items()), (sizes, expected)


def alone(run_stage: TinyStages, run: Path, *overrides: str, **expected: int) -> None:
    process = multiprocessing.get_context("forkserver").Process(
        target=_alone, args=(run_stage, run, overrides, expected)
    )
    process.start()
    process.join(600)
    assert process.exitcode == 0


def test_one_process_does_what_it_does_without_deepspeed(run_stage: TinyStages, tmp_path: Path) -> None:
    run_stage("full", tmp_path / "one")
    checkpoint = torch.load(max((tmp_path / "one/checkpoints").iterdir()), weights_only=True)
    size = sum(weight.nbytes for weight in checkpoint["weights"].values())
    alone(run_stage, tmp_path / "zero", copy=size, states=2 * size)
    for ours, theirs in zip(metrics(tmp_path / "zero"), metrics(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    found = torch.load(max((tmp_path / "zero/checkpoints").iterdir()), weights_only=True)["optimizer"]
    expected = checkpoint["optimizer"]
    assert [g["params"] for g in found["param_groups"]] == [g["params"] for g in expected["param_groups"]]
    assert found["state"].keys() == expected["state"].keys()
    for number, state in expected["state"].items():
        for name, values in state.items():
            assert torch.allclose(found["state"][number][name], values, atol=1e-5), (number, name)


def test_a_loss_that_is_no_number_stops_it(run_stage: TinyStages, tmp_path: Path) -> None:
    alone(run_stage, tmp_path, "training.learning_rate=1e30", "training.warmup_steps=0")
    assert "is no number; rows: " in (tmp_path / "diverged").read_text()
    assert not (tmp_path / "model").exists()
