"""The lines of a memory estimate: what lies on one GPU, as count x bytes / GPUs that share it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

import torch
from torch import nn

from smartedit.config.training import Precision, TrainingConfig
from smartedit.model.smartedit import SmartEdit
from smartedit.training.activations import Activations

FSDP_LAYERS = (
    "LlamaDecoderLayer",
    "CLIPEncoderLayer",
    "CrossAttnDownBlock2D",
    "DownBlock2D",
    "UNetMidBlock2DCrossAttn",
    "CrossAttnUpBlock2D",
    "UpBlock2D",
)
"""Modules whose weights FSDP gathers together, as the configuration files that ship say."""
ZERO_BUCKET = 500_000_000
"""Gradients that ZeRO-2 collects before it sends them (DeepSpeed's default of reduce_bucket_size)."""


class Sharding(StrEnum):
    """How GPUs share a model."""

    NONE = "none"
    """Every GPU has all of it (DDP where there are several)."""
    ZERO2 = "zero2"
    """Gradients and the optimizer's states are shared (DeepSpeed ZeRO-2)."""
    FSDP = "fsdp"
    """Weights are shared besides, and gathered layer by layer (FSDP2)."""


class Moment(StrEnum):
    """When memory is held."""

    ALWAYS = "always"
    PASSES = "in passes"
    STEP = "in the optimizer's step"


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryLine:
    """A line of the table.

    Attributes:
        what: What lies in memory.
        count: How many: parameters, or rows of a pass.
        bytes_each: Bytes of one.
        shared_by: GPUs that it is divided among.
        moment: When it is held.
    """

    what: str
    count: int
    bytes_each: int
    shared_by: int = 1
    moment: Moment = Moment.ALWAYS

    @property
    def bytes(self) -> int:
        """Bytes on one GPU."""
        return ceil(self.count * self.bytes_each / self.shared_by)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageOnMeta:
    """A stage's modules without memory: the trained model, and frozen ones that lie beside it on the GPU."""

    trained: SmartEdit
    parts: tuple[nn.Module, ...]
    beside: tuple[nn.Module, ...]


def state_lines(built: StageOnMeta, training: TrainingConfig, num_gpus: int, sharding: Sharding) -> list[MemoryLine]:
    """Weights, gradients, and the optimizer's states."""
    parameters = [parameter for part in built.parts for parameter in part.parameters()]
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    beside = sum(p.numel() for part in built.beside for p in part.parameters())
    weights_by = num_gpus if sharding is Sharding.FSDP else 1
    states_by = 1 if sharding is Sharding.NONE else num_gpus
    half = training.mixed_precision is Precision.BFLOAT16
    lines = [
        MemoryLine(
            what=f"frozen weights, {str(dtype).removeprefix('torch.')}",
            count=sum(p.numel() for p in parameters if not p.requires_grad and p.dtype is dtype),
            bytes_each=dtype.itemsize,
            shared_by=weights_by,
        )
        for dtype in (torch.bfloat16, torch.float32)
    ]
    lines.append(MemoryLine(what="frozen encoders beside the model, float32", count=beside, bytes_each=4))
    # DeepSpeed's bfloat16 engine holds the weights in bfloat16, and each GPU its share of them in float32.
    zero_half = sharding is Sharding.ZERO2 and half
    width = 2 if zero_half else 4
    precision = "bfloat16" if zero_half else "float32"
    lines.append(
        MemoryLine(what=f"trained weights, {precision}", count=trained, bytes_each=width, shared_by=weights_by)
    )
    if sharding is Sharding.ZERO2:
        lines.append(MemoryLine(what="their copy in ZeRO, float32", count=trained, bytes_each=4, shared_by=num_gpus))
        bucket = min(ZERO_BUCKET, trained)
        lines.append(MemoryLine(what="ZeRO's bucket of gradients", count=bucket, bytes_each=width))
    lines.append(MemoryLine(what=f"gradients, {precision}", count=trained, bytes_each=width, shared_by=states_by))
    if sharding is Sharding.NONE and num_gpus > 1:
        lines.append(MemoryLine(what="DDP's buckets of gradients, float32", count=trained, bytes_each=4))
    lines.append(MemoryLine(what="Adam's two states, float32", count=trained, bytes_each=8, shared_by=states_by))
    if training.ema_decay:
        lines.append(MemoryLine(what="averaged weights, float32", count=trained, bytes_each=4, shared_by=weights_by))
    if sharding is Sharding.FSDP:
        lines += _gathered_lines(built, half)
    step = MemoryLine(
        what="Adam's intermediate results", count=trained, bytes_each=4, shared_by=states_by, moment=Moment.STEP
    )
    return [*lines, step]


def _gathered_lines(built: StageOnMeta, half: bool) -> list[MemoryLine]:
    """What FSDP has gathered at a time: the weights outside of layers, and two layers, as it fetches one ahead."""
    modules = [module for part in built.parts for module in part.modules() if type(module).__name__ in FSDP_LAYERS]
    sizes = [sum(p.numel() for p in module.parameters()) for module in modules]
    every = sum(p.numel() for part in built.parts for p in part.parameters())
    width = 2 if half else 4
    return [
        MemoryLine(
            what="gathered weights outside of layers",
            count=every - sum(sizes),
            bytes_each=width,
            moment=Moment.PASSES,
        ),
        MemoryLine(what="gathered weights of two layers", count=2 * max(sizes), bytes_each=width, moment=Moment.PASSES),
    ]


def copy_lines(counted: Sequence[Activations], half: bool, sharding: Sharding) -> list[MemoryLine]:
    """Autocast's copies of float32 weights; under ZeRO and FSDP the weights of a pass are in bfloat16 themselves."""
    if not half or sharding is not Sharding.NONE:
        return []
    copied = sum(part.weight_bytes for part in counted) // 2
    return [
        MemoryLine(
            what="trained weights that a pass casts to bfloat16", count=copied, bytes_each=2, moment=Moment.PASSES
        )
    ]


def activation_lines(
    kept: Sequence[Activations], plain: Sequence[Activations], training: TrainingConfig
) -> list[MemoryLine]:
    """What a pass keeps for the backward pass.

    Args:
        kept: With the stage's choice of gradient checkpointing.
        plain: Without it.
        training: Settings.
    """
    rows = training.batch_size
    lines = [
        MemoryLine(
            what=f"activations of {part.part}, a row", count=rows, bytes_each=part.bytes_a_row, moment=Moment.PASSES
        )
        for part in kept
    ]
    if training.gradient_checkpointing:
        largest = max(part.largest_layer for part in plain)
        lines.append(
            MemoryLine(what="one layer computed again, a row", count=rows, bytes_each=largest, moment=Moment.PASSES)
        )
    return lines
