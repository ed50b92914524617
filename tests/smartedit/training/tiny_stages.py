"""Stages on tiny parts, as a call that can also be sent to another process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartedit.config.model import ModelConfig
from smartedit.config.training import StageName, TrainingConfig, load_training_config
from smartedit.training.train import train
from tests.smartedit.inference.conftest import OVERRIDES
from tests.tiny import TINY

MODEL = (
    *OVERRIDES,
    "model.qformer.dropout=0",
    "model.mllm.lora.dropout=0",
    "model.text.vocab_size=514",
    "model.scheduler.prediction_type=epsilon",
)

SETTINGS = (
    "training.steps=6",
    "training.batch_size=4",
    "training.warmup_steps=2",
    "training.learning_rate=2e-3",
    "training.log_every=1",
    "training.checkpoint_every=2",
    "training.validate_every=0",
)


@dataclass(frozen=True, kw_only=True)
class TinyStages:
    """Trains a stage for six steps."""

    manifest: Path
    start: Path
    text_encoder: Path
    editor: Path
    model: ModelConfig

    def __call__(self, stage: str, run: Path, *overrides: str, **changes: Any) -> Path:
        values: dict[str, Any] = {
            "start": self.editor if stage == "baseline" else self.start,
            "manifest": self.manifest,
            "model": self.model,
            "training": settings(stage, *overrides),
            "text_encoder": self.text_encoder if stage == "align" else None,
            "mixture": None if stage == "align" else self.manifest.parent / "mixture.toml",
        }
        return train(StageName(stage), run=run, **{**values, **changes})


def settings(stage: str, *overrides: str) -> TrainingConfig:
    return load_training_config(StageName(stage), TINY, [*SETTINGS, *overrides])


ZERO2 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
"""What accelerate tells its processes of DeepSpeed."""


def compile_nothing() -> None:
    """Leave DeepSpeed's sums on CPUs to Gloo: its own kernel would be compiled once a clone, for most of a minute."""
    from deepspeed.ops import __compatible_ops__  # heavy

    __compatible_ops__["deepspeed_shm_comm"] = False
