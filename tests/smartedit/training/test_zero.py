"""DeepSpeed: what its files may say, one process of it, and the memory that its engine holds.

Two processes and their agreement with whole ones are in `test_processes.py`.
"""

import json
import multiprocessing
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from smartedit.config.training import StageName, TrainingConfig, load_training_config
from smartedit.training import zero
from smartedit.training.loop import DivergedError
from smartedit.training.sharding import ShardingError
from smartedit.training.zero import ZeroEngine, chosen_zero
from tests.smartedit.training.conftest import metrics, same_states
from tests.smartedit.training.tiny_stages import ZERO2, TinyStages, compile_nothing


@pytest.fixture
def training() -> TrainingConfig:
    return load_training_config(StageName.FULL)


def asked(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in {**ZERO2, **settings}.items():
        monkeypatch.setenv(name, value)


def test_without_the_flag_there_is_none(training: TrainingConfig) -> None:
    assert chosen_zero(training, 8) is None


def test_training_decides_what_is_its_own(training: TrainingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch)
    settings = chosen_zero(training, 8)
    assert settings is not None and settings["zero_optimization"] == {"stage": 2}
    assert settings["train_micro_batch_size_per_gpu"] == training.batch_size
    assert settings["gradient_accumulation_steps"] == training.gradient_accumulation
    assert settings["gradient_clipping"] == training.max_gradient_norm
    assert settings["torch_autocast"]["enabled"]


def written(folder: Path, content: object) -> str:
    path = folder / "zero2.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_file_of_deepspeeds_own_is_followed(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual file of a LLaVA-like training, with its "auto"."""
    stage = {"stage": 2, "overlap_comm": True, "contiguous_gradients": True, "sub_group_size": 1e9}
    blocks = {
        "fp16": {"enabled": "auto", "loss_scale": 0, "loss_scale_window": 1000},
        "bf16": {"enabled": "auto"},
        "train_micro_batch_size_per_gpu": "auto",
        "train_batch_size": training.batch_size * training.gradient_accumulation * 8,
        "gradient_accumulation_steps": training.gradient_accumulation,
        "zero_optimization": {**stage, "reduce_bucket_size": "auto", "offload_optimizer": {"device": "none"}},
    }
    asked(monkeypatch, ACCELERATE_DEEPSPEED_CONFIG_FILE=written(tmp_path, blocks))
    settings = chosen_zero(training, 8)
    assert settings is not None and settings["zero_optimization"] == stage
    assert settings["gradient_clipping"] == training.max_gradient_norm
    assert "bf16" not in settings and "train_batch_size" not in settings


ZERO = {"zero_optimization": {"stage": 2}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**ZERO, "scheduler": {"type": "WarmupLR"}}, r"remove the block 'scheduler'; training\.STAGE\.schedule"),
        ({**ZERO, "optimizer": {"type": "AdamW"}}, "remove the block 'optimizer'"),
        ({**ZERO, "bf16": {"enabled": True}}, r"'bf16'; training\.STAGE\.mixed_precision"),
        ({**ZERO, "fp16": True}, "remove the block 'fp16'"),
        ({**ZERO, "gradient_clipping": 0.5}, r"gradient_clipping is 0\.5, and training\.STAGE\.max_gradient_norm is"),
        ({**ZERO, "train_micro_batch_size_per_gpu": 99}, "train_micro_batch_size_per_gpu is 99"),
        ({**ZERO, "gradient_accumulation_steps": 1}, "gradient_accumulation_steps is 1, and"),
        ({**ZERO, "train_batch_size": 99}, "train_batch_size is 99, and .*processes is 128"),
        ({**ZERO, "communication_data_type": "bf16"}, "remove communication_data_type"),
        ({**ZERO, "curriculum_learning": {"enabled": True}}, "remove curriculum_learning; followed are"),
        ({"zero_optimization": {"stage": 2, "round_robin_gradients": True}}, "remove round_robin_gradients"),
        ({"zero_optimization": {"stage": 2, "cpu_offload": True}}, "cpu_offload is not supported"),
        ({"zero_optimization": {"stage": 2, "offload_optimizer": "cpu"}}, "offload_optimizer is not supported"),
        (
            {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}},
            "offload_optimizer is not supported: fsdp_offload_params",
        ),
        ({"zero_optimization": {"stage": 3}}, r"stage is 3: .*fsdp-7b\.yaml"),
        ({"zero_optimization": {"stage": "2"}}, "stage is '2': give the number 1 or 2"),
        ({"zero_optimization": True}, "stage is None"),
        ({}, "stage is None"),
        ([], "no JSON object"),
        ("{", r"zero2\.json: DeepSpeed's file cannot be read"),
    ],
)
def test_a_file_that_says_otherwise_is_refused(
    training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, message: str
) -> None:
    file = written(tmp_path, content)
    asked(monkeypatch, ACCELERATE_DEEPSPEED_CONFIG_FILE=file)
    with pytest.raises(ShardingError, match=message) as refused:
        chosen_zero(training, 8)
    assert str(refused.value).startswith(file)


def test_accelerates_own_block_is_followed_and_refused_alike(
    training: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, ACCELERATE_GRADIENT_ACCUMULATION_STEPS="99")
    with pytest.raises(ShardingError, match="accelerate's file: gradient_accumulation_steps is 99"):
        chosen_zero(training, 8)
    asked(monkeypatch, ACCELERATE_GRADIENT_ACCUMULATION_STEPS=str(training.gradient_accumulation))
    assert chosen_zero(training, 8) is not None
    asked(monkeypatch, ACCELERATE_GRADIENT_CLIPPING="some")
    with pytest.raises(ShardingError, match="gradient_clipping is 'some'"):
        chosen_zero(training, 8)
    asked(monkeypatch, ACCELERATE_GRADIENT_CLIPPING="1.0", ACCELERATE_DEEPSPEED_ZERO_STAGE="3")
    with pytest.raises(ShardingError, match="stage is 3"):
        chosen_zero(training, 8)


def test_what_is_refused_is_told_before_anything_is_loaded_or_written(
    run_stage: TinyStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, ACCELERATE_DEEPSPEED_ZERO_STAGE="3")
    with pytest.raises(ShardingError, match="stage is 3"):
        run_stage("full", tmp_path / "run", start=tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_where_deepspeed_is_missing_the_remedy_is_told(
    training: TrainingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch)
    monkeypatch.setattr(zero, "is_deepspeed_available", lambda: False)
    with pytest.raises(ShardingError, match=r"smartedit\[deepspeed\].*zero2-7b\.yaml"):
        chosen_zero(training, 8)


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
        compile_nothing()
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


@pytest.mark.xdist_group("processes")
def test_one_process_does_what_it_does_without_deepspeed(run_stage: TinyStages, tmp_path: Path) -> None:
    run_stage("full", tmp_path / "one")
    checkpoint = torch.load(max((tmp_path / "one/checkpoints").iterdir()), weights_only=True)
    size = sum(weight.nbytes for weight in checkpoint["weights"].values())
    alone(run_stage, tmp_path / "zero", copy=size, states=2 * size)
    for ours, theirs in zip(metrics(tmp_path / "zero"), metrics(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)
    same_states(tmp_path / "zero", tmp_path / "one")


@pytest.mark.xdist_group("processes")
def test_a_loss_that_is_no_number_stops_it(run_stage: TinyStages, tmp_path: Path) -> None:
    alone(run_stage, tmp_path, "training.learning_rate=1e30", "training.warmup_steps=0")
    assert "is no number; rows: " in (tmp_path / "diverged").read_text()
    assert not (tmp_path / "model").exists()
