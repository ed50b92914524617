"""The lines of a memory estimate: what lies on one GPU, as count x bytes / GPUs that share it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

import torch
from torch import nn

from smartedit.config.training import TrainingConfig
from smartedit.model.smartedit import SmartEdit
from smartedit.training.activations import Activations

FSDP_LAYERS = (
    "LlamaDecoderLayer",
    "CrossAttnDownBlock2D",
    "DownBlock2D",
    "UNetMidBlock2DCrossAttn",
    "CrossAttnUpBlock2D",
    "UpBlock2D",
)
"""Modules whose weights FSDP gathers together, as the configuration files that ship say."""


DEEPSPEED_BUCKET = 500_000_000
"""DeepSpeed's `reduce_bucket_size` where its file does not tell another: gradients that are exchanged together."""


class Sharding(StrEnum):
    """How GPUs share a model."""

    NONE = "none"
    """Every GPU has all of it (DDP where there are several)."""
    ZERO2 = "zero2"
    """Gradients and the optimizer's states are shared, weights stay gathered in a pass (FSDP2, as ZeRO-2 does)."""
    FSDP = "fsdp"
    """Weights are given up behind each layer besides (FSDP2)."""
    DEEPSPEED = "deepspeed"
    """Gradients and the optimizer's states are shared by DeepSpeed's engine (ZeRO-2); weights stay whole."""


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
    shared_by = 1 if sharding is Sharding.NONE else num_gpus
    whole = sharding in (Sharding.NONE, Sharding.DEEPSPEED)
    weights_by = 1 if whole else num_gpus
    inside = {id(parameter) for layer in _layers(built) for parameter in layer.parameters()}
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    lines = []
    for dtype in (torch.bfloat16, torch.float32):
        name = str(dtype).removeprefix("torch.")
        ours = [parameter for parameter in frozen if parameter.dtype is dtype]
        every = sum(p.numel() for p in ours)
        in_layers = sum(p.numel() for p in ours if id(p) in inside)
        if whole:
            lines.append(MemoryLine(what=f"frozen weights, {name}", count=every, bytes_each=dtype.itemsize))
            continue
        lines += [
            MemoryLine(
                what=f"frozen weights of layers, {name}",
                count=in_layers,
                bytes_each=dtype.itemsize,
                shared_by=shared_by,
            ),
            MemoryLine(
                what=f"frozen weights outside of layers, {name}", count=every - in_layers, bytes_each=dtype.itemsize
            ),
        ]
    lines += [
        MemoryLine(what="frozen encoders beside the model, float32", count=beside, bytes_each=4),
        MemoryLine(what="trained weights, float32", count=trained, bytes_each=4, shared_by=weights_by),
        MemoryLine(what="gradients, float32", count=trained, bytes_each=4, shared_by=shared_by),
    ]
    if sharding is Sharding.NONE and num_gpus > 1:
        lines.append(MemoryLine(what="DDP's buckets of gradients, float32", count=trained, bytes_each=4))
    lines.append(MemoryLine(what="Adam's two states, float32", count=trained, bytes_each=8, shared_by=shared_by))
    if training.ema_decay:
        lines.append(MemoryLine(what="averaged weights, float32", count=trained, bytes_each=4, shared_by=weights_by))
    if sharding is Sharding.DEEPSPEED:
        lines += _deepspeed_lines(built, training, num_gpus)
    elif sharding is not Sharding.NONE:
        lines += _gathered_lines(built, sharding)
    step = MemoryLine(
        what="Adam's intermediate results", count=trained, bytes_each=4, shared_by=shared_by, moment=Moment.STEP
    )
    return [*lines, step]


def _deepspeed_lines(built: StageOnMeta, training: TrainingConfig, num_gpus: int) -> list[MemoryLine]:
    """What ZeRO-2 has besides: a copy of its part of the weights, and gradients on their way through one bucket."""
    sizes = [p.numel() for part in built.parts for p in part.parameters() if p.requires_grad]
    trained = sum(sizes)
    several = training.gradient_accumulation > 1
    lines = [
        ("the optimizer's copy of trained weights, float32", trained, num_gpus, Moment.ALWAYS),
        ("DeepSpeed's bucket of gradients, float32", DEEPSPEED_BUCKET, 1, Moment.PASSES),
        ("the largest gradient, with and without the old rows, float32", 2 * max(sizes), 1, Moment.PASSES),
        ("gradients of the pass at work, float32", trained if several else 0, num_gpus, Moment.PASSES),
    ]
    return [
        MemoryLine(what=what, count=count, bytes_each=4, shared_by=shared_by, moment=moment)
        for what, count, shared_by, moment in lines
    ]


def _layers(built: StageOnMeta) -> list[nn.Module]:
    """What FSDP gathers together."""
    return [module for part in built.parts for module in part.modules() if type(module).__name__ in FSDP_LAYERS]


def _gathered_lines(built: StageOnMeta, sharding: Sharding) -> list[MemoryLine]:
    """What FSDP has whole in a pass: weights with their own types, and gradients until they are divided."""
    layers = _layers(built)
    weights = [sum(p.numel() * p.dtype.itemsize for p in layer.parameters()) for layer in layers]
    gradients = [sum(p.numel() for p in layer.parameters() if p.requires_grad) for layer in layers]
    trained = sum(p.numel() for part in built.parts for p in part.parameters() if p.requires_grad)
    outside = trained - sum(gradients)
    if sharding is Sharding.FSDP:
        # One layer is at work, and the next is fetched meanwhile.
        layer_line = ("gathered weights of the two largest layers", 1, sum(sorted(weights)[-2:]))
    else:
        layer_line = ("gathered weights of all layers", 1, sum(weights))
    return [
        MemoryLine(what=what, count=count, bytes_each=width, moment=Moment.PASSES)
        for what, count, width in (
            layer_line,
            ("gathered trained weights outside of layers, float32", outside, 4),
            ("their whole gradients, float32", outside, 4),
            ("gradients that are being divided, float32", max([outside, *gradients]), 4),
        )
    ]


def copy_lines(counted: Sequence[Activations], half: bool) -> list[MemoryLine]:
    """Autocast's copies of float32 weights, which a pass keeps whole, sharded or not."""
    if not half:
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
