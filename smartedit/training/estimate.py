"""How much memory a stage needs on a GPU, as a table to check by hand: count x bytes / GPUs that share it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from smartedit.config.model import ModelConfig
from smartedit.config.training import Precision, StageName, TrainingConfig
from smartedit.model.build import build_model, build_text_encoder, build_vae
from smartedit.model.smartedit import SmartEdit
from smartedit.training.activations import Activations, PassSize, count_activations
from smartedit.training.memory_lines import (
    MemoryLine,
    Moment,
    Sharding,
    StageOnMeta,
    activation_lines,
    copy_lines,
    state_lines,
)
from smartedit.training.stages import PARAMETER_GROUPS, STAGES, Rows

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryEstimate:
    """The memory of one GPU.

    Attributes:
        stage: The stage.
        sharding: How the GPUs share.
        num_gpus: How many there are.
        lines: The table.
        trained: Trained parameters by group of `smartedit.training.stages`, which add up to the table's.
        other_activations: Bytes a row that the passes would keep with the other choice of gradient checkpointing.
        checkpointing: The choice that the table holds.
        cache_bytes: On disk for a row: latents of both pictures, and v; 0 where nothing is kept.
    """

    stage: StageName
    sharding: Sharding
    num_gpus: int
    lines: tuple[MemoryLine, ...]
    trained: tuple[tuple[str, int], ...]
    checkpointing: bool
    other_activations: int
    cache_bytes: int

    def held(self, moment: Moment) -> int:
        """Bytes of the lines of a moment."""
        return sum(line.bytes for line in self.lines if line.moment is moment)

    @property
    def total(self) -> int:
        """Bytes at the fullest moment. What CUDA, NCCL and fragments of free memory take comes on top."""
        return self.held(Moment.ALWAYS) + max(self.held(Moment.PASSES), self.held(Moment.STEP))


def estimate(
    stage: StageName,
    *,
    model: ModelConfig,
    training: TrainingConfig,
    num_gpus: int = 8,
    sharding: Sharding = Sharding.NONE,
    tokens: int | None = None,
) -> MemoryEstimate:
    """The memory of a stage, from the model's sizes alone: nothing is loaded and nothing is computed.

    Args:
        stage: The stage.
        model: Sizes; checkpoints in it are not opened.
        training: Batch size, precision, gradient checkpointing, averaged weights.
        num_gpus: GPUs of the run.
        sharding: How they share.
        tokens: Length of a row; None for the longest edit. A conversation can be longer, up to the model's positions.

    Raises:
        ValueError: There is no GPU.
    """
    if num_gpus < 1:
        raise ValueError(f"--gpus {num_gpus}: at least one is needed")
    built = _on_meta(stage, model, training)
    half = training.mixed_precision is Precision.BFLOAT16
    size = _pass_size(stage, model, tokens)
    counted = []
    for checkpointing in (False, True):
        if checkpointing:
            _checkpoint(built.trained)
        counted.append(_of_stage(stage, count_activations(built.trained, size, half=half)))
    kept = counted[training.gradient_checkpointing]
    lines = [
        *state_lines(built, training, num_gpus, sharding),
        *copy_lines(counted[False], half),
        *activation_lines(kept, counted[False], training),
    ]
    return MemoryEstimate(
        stage=stage,
        sharding=sharding,
        num_gpus=num_gpus,
        lines=tuple(line for line in lines if line.count and line.bytes_each),
        trained=_by_group(built, stage),
        checkpointing=training.gradient_checkpointing,
        other_activations=sum(part.bytes_a_row for part in counted[not training.gradient_checkpointing]),
        cache_bytes=_cache_bytes(stage, model, training),
    )


def format_estimate(found: MemoryEstimate) -> str:
    """The table as text of fixed width, with what is not in it below."""
    head = f"Stage {found.stage}, {found.num_gpus} GPUs, sharding {found.sharding}: memory of each GPU"
    width = max(len(line.what) for line in found.lines)
    rows = [
        f"{line.what:<{width}}  {line.count:>14,} x {line.bytes_each:>11,} / {line.shared_by:<4} "
        f"{line.bytes / GIB:>8.2f} GiB  {line.moment}"
        for line in found.lines
    ]
    both = f"always + the larger of {Moment.PASSES} and {Moment.STEP}: {found.total / GIB:.2f} GiB"
    own = sum(x.bytes_each for x in found.lines if x.what.startswith("activations"))
    counted = {found.checkpointing: own, not found.checkpointing: found.other_activations}
    notes = [
        "trained parameters: " + ", ".join(f"{group} {count:,}" for group, count in found.trained),
        f"activations a row: {counted[True] / GIB:.3f} GiB with gradient checkpointing, "
        f"{counted[False] / GIB:.3f} without",
    ]
    if found.cache_bytes:
        notes.append(f"cache on disk: {found.cache_bytes / 1024:,.0f} KiB a visited pair of pictures")
    notes.append("on top: CUDA's and NCCL's own memory, fragments, and short-lived results inside a layer")
    return "\n".join([head, "", *rows, "", both, *notes])


def _on_meta(stage: StageName, model: ModelConfig, training: TrainingConfig) -> StageOnMeta:
    config = replace(
        model,
        mllm=replace(model.mllm, checkpoint=None, lora=model.mllm.lora if "lora" in STAGES[stage].trains else None),
        unet=replace(model.unet, checkpoint=None),
        vae=replace(model.vae, checkpoint=None),
        text=replace(model.text, checkpoint=None),
    )
    with torch.device("meta"):
        smartedit = build_model(config)
        vae = build_vae(config.vae)
        text = build_text_encoder(
            config.text, hidden_size=config.qformer.hidden_size, num_tokens=config.qformer.num_queries
        )
    if not STAGES[stage].interaction:
        smartedit.bim = None
    for name, parameter in smartedit.named_parameters():
        trains = any(PARAMETER_GROUPS[group](name) for group in STAGES[stage].trains)
        parameter.requires_grad_(trains)
        if name.startswith("mllm.") and not trains and training.mixed_precision is Precision.BFLOAT16:
            parameter.data = parameter.data.to(torch.bfloat16)
    match STAGES[stage].rows:
        case Rows.CAPTIONS:
            return StageOnMeta(trained=smartedit, parts=(smartedit.mllm, smartedit.qformer), beside=(text,))
        case Rows.EDITS:
            return StageOnMeta(trained=smartedit, parts=(smartedit,), beside=(vae,))
        case Rows.PAIRS:
            return StageOnMeta(trained=smartedit, parts=(smartedit.unet,), beside=(vae, text))


def _by_group(built: StageOnMeta, stage: StageName) -> tuple[tuple[str, int], ...]:
    named = list(built.trained.named_parameters())
    counts = [(g, sum(p.numel() for n, p in named if PARAMETER_GROUPS[g](n))) for g in STAGES[stage].trains]
    return tuple((group, count) for group, count in counts if count)


def _checkpoint(smartedit: SmartEdit) -> None:
    smartedit.mllm.model.gradient_checkpointing_enable({"use_reentrant": False})
    smartedit.unet.enable_gradient_checkpointing()


def _pass_size(stage: StageName, model: ModelConfig, tokens: int | None) -> PassSize:
    vision = model.mllm.vision
    patches = (vision.image_size // vision.patch_size) ** 2
    captions = STAGES[stage].rows is Rows.CAPTIONS
    longest = model.mllm.max_text_tokens + (0 if captions else patches)
    return PassSize(
        tokens=tokens or longest,
        patches=patches,
        image_width=vision.hidden_size,
        latent_side=None if captions else model.sampling.image_size // 2 ** (len(model.vae.block_channels) - 1),
    )


def _of_stage(stage: StageName, counted: Sequence[Activations]) -> list[Activations]:
    """What a baseline keeps is its UNet's."""
    return [part for part in counted if STAGES[stage].rows is not Rows.PAIRS or part.part == "UNet"]


def _cache_bytes(stage: StageName, model: ModelConfig, training: TrainingConfig) -> int:
    """On disk for a row: mean and log-variance of two pictures in float32, and v as the image encoder computes it."""
    if not training.cache or STAGES[stage].rows is Rows.CAPTIONS:
        return 0
    vision, vae = model.mllm.vision, model.vae
    side = model.sampling.image_size // 2 ** (len(vae.block_channels) - 1)
    moments: int = 2 * vae.latent_channels * side * side * 4
    features: int = (vision.image_size // vision.patch_size) ** 2 * vision.hidden_size
    width = 2 if training.mixed_precision is Precision.BFLOAT16 else 4
    return 2 * moments + (features * width if STAGES[stage].rows is Rows.EDITS else 0)
