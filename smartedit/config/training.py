"""How a training stage is run; the defaults are stage `full` of the released code (scripts of stage 2b).

The paper's text gives no training values: it leaves them to its supplement. Released is the authors' code.
"""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from smartedit.config.loading import ConfigError, load_tree, parse_override

_STRICT = ConfigDict(extra="forbid")


SHIPPED_EDITOR = "instruct-pix2pix-miniature"
"""The InstructPix2Pix pipeline that ships; its text encoder is what the miniature was aligned to."""


class StageName(StrEnum):
    """What can be trained."""

    ALIGN = "align"
    JOINT = "joint"
    FULL = "full"
    BASELINE = "baseline"


class Schedule(StrEnum):
    """How the learning rate goes on behind its warm-up."""

    COSINE = "cosine"
    CONSTANT = "constant"


class Precision(StrEnum):
    """What the forward pass computes in; trained weights and the optimizer stay float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TrainingConfig:
    """One stage of training."""

    steps: int = Field(default=15_000, ge=1)
    """Optimizer steps; released: 150,000, 5,000 and 15,000 for align, joint and full."""
    batch_size: int = Field(default=2, ge=1)
    """Rows of one process in one pass; released: 16, 4 and 2 on 8 GPUs."""
    gradient_accumulation: int = Field(default=8, ge=1)
    """Passes of one step; released: 1, 4 and 8, which makes 128 rows a step in all stages."""
    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak of the one learning rate of all parts; released: 2e-4 for align, 1e-5 for joint and full."""
    schedule: Schedule = Schedule.COSINE
    """The released scripts ask for cosine; in joint and full DeepSpeed's own block made it constant."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from 0; released: 4 % of align, 0.1 % of joint, none in full."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of AdamW, released 0; the rows of the added tokens are never decayed."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW, as released."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm, as released."""
    dropout_rate: float = Field(default=0.05, ge=0, le=1 / 3)
    """Share of rows that lose the text condition, the picture, and both: so much each, as released."""
    timestep_power: float = Field(default=1.0, gt=0)
    """Timesteps are drawn as T u^p, u uniform: below 1 noisy pictures, where it is decided what is edited, come more
    often; 1 is uniform, as released."""
    last_timestep_share: float = Field(default=0.0, ge=0, le=1)
    """Share of rows that get the last timestep, which with zero terminal SNR is noise alone; 0 as released."""
    change_weight: float = Field(default=1.0, ge=1)
    """How much more an error of the denoiser counts where source and target differ; 1 is Eq. 4."""
    img_tokens_only: bool = False
    """Count the [IMG] tokens only in the language loss, as Eq. 2 is written; released: the whole answer."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Decay a step of the averaged weights that are saved in the end; 0 for none, as released."""
    mixed_precision: Precision = Precision.BFLOAT16
    """Released: bfloat16 for the language model and the autoencoder, float32 elsewhere."""
    gradient_checkpointing: bool = True
    """Compute activations twice to save memory; released: on the language model."""
    seed: int = Field(default=0, ge=0)
    """Of all draws: new modules, noise, timesteps, dropped conditions, dropout."""
    mixture: str = "smartedit-paper"
    """Which rows are drawn how often: a preset or a TOML file; align draws all captions alike."""
    max_unreadable: int = Field(default=100, ge=0)
    """Rows that may turn out unreadable while training; one more stops it."""
    cache: bool = True
    """Keep what the frozen autoencoder and image encoder made of a picture, in `.encoded` beside the manifest."""
    cache_gib: float = Field(default=100.0, ge=0)
    """Largest size of that, in GiB, of all weights together; what does not fit is computed anew; `inf` for no limit."""
    length_groups: int = Field(default=1, ge=1)
    """Groups of rows of like length that the language model reads one after the other, in joint and full: less padding
    where edits and long conversations meet in a batch, and more calls."""
    num_workers: int = Field(default=4, ge=0)
    """Processes that read rows; 0 for a thread."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two lines of metrics.jsonl, each the mean since the last."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Steps between two checkpoints."""
    keep_checkpoints: int = Field(default=2, ge=1)
    """Checkpoints that stay."""
    validate_every: int = Field(default=1000, ge=0)
    """Steps between two grids of edits made while it trains; 0 for none."""
    validation_samples: int = Field(default=8, ge=1)
    """Edits in a grid."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class StagesConfig:
    """The stages of a preset; a section states what differs from the defaults, which are those of stage `full`."""

    align: TrainingConfig = Field(default_factory=TrainingConfig)
    joint: TrainingConfig = Field(default_factory=TrainingConfig)
    full: TrainingConfig = Field(default_factory=TrainingConfig)
    baseline: TrainingConfig = Field(default_factory=TrainingConfig)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="ignore"))
class _TrainingSection:
    """What is read of a preset here; its other sections belong to others."""

    training: StagesConfig = Field(default_factory=StagesConfig)


def load_training_config(
    stage: StageName, source: str | Path = "smartedit-7b", overrides: Sequence[str] = ()
) -> TrainingConfig:
    """Read a stage's section `[training.STAGE]` of a preset or TOML file.

    Args:
        stage: Which stage.
        source: A preset's name or a TOML file.
        overrides: Texts like `training.steps=100`, for this stage.

    Raises:
        ConfigError: Unknown preset, file or key, a wrong type, or an override outside `training`.
    """
    ours = []
    for override in overrides:
        path, _ = parse_override(override)
        if path[0] != "training" or len(path) != 2:
            raise ConfigError(
                f"--set {override!r}: settings of a stage start with training., for example training.steps=100"
            )
        ours.append(f"training.{stage.value}.{override.strip().removeprefix('training.')}")
    stages = load_tree(_TrainingSection, source=source, overrides=ours).training
    chosen: TrainingConfig = getattr(stages, stage.value)
    return chosen
