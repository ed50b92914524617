"""Weights that processes share, layer by layer (FSDP2 of torch, chosen by accelerate's configuration files)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType, parse_flag_from_env
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


class ShardingError(ValueError):
    """The processes are to share the model in a way that training does not follow."""


def chosen_sharding(accelerator: Accelerator) -> FullyShardedDataParallelPlugin | None:
    """What accelerate's configuration says of sharing weights; None where every process has all of them.

    accelerate itself shards on accelerators only. Here the same settings are followed on CPUs as well, so that the path
    that a cluster takes can be run anywhere.

    Raises:
        ShardingError: It is the first FSDP.
    """
    kind = accelerator.distributed_type
    plugin: FullyShardedDataParallelPlugin | None = None
    if kind is DistributedType.FSDP:
        plugin = accelerator.state.fsdp_plugin
    elif kind is DistributedType.MULTI_CPU and parse_flag_from_env("ACCELERATE_USE_FSDP"):
        plugin = FullyShardedDataParallelPlugin()
    if plugin is not None and plugin.fsdp_version != 2:
        raise ShardingError(f"FSDP {plugin.fsdp_version} is not supported: give fsdp_version: 2 in accelerate's file")
    return plugin


def shard(module: nn.Module, plugin: FullyShardedDataParallelPlugin, accelerator: Accelerator) -> None:
    """Divide a module's weights among the processes, in place, and move it to the device.

    The named layers are gathered one after the other in a pass, and what trains outside of them for the whole pass.
    What is frozen outside of them stays whole: the image encoder and its projector are also asked outside of passes,
    and together they are small. Weights keep their types, so that a pass computes what it does on one process.

    Args:
        module: What is trained.
        plugin: Of accelerate: names of layers, whether they are given up behind the forward pass, offloading.
        accelerator: Processes and device.
    """
    names = _names(plugin.transformer_cls_names_to_wrap)
    layers = [part for part in module.modules() if type(part).__name__ in names and part is not module]
    inside = {parameter for layer in layers for parameter in layer.parameters()}
    apart = {p for p in module.parameters() if p not in inside and not p.requires_grad}
    for parameter in apart:
        parameter.data = parameter.data.to(accelerator.device)
    offloads = plugin.cpu_offload
    settings: dict[str, Any] = {
        "mesh": init_device_mesh(accelerator.device.type, (accelerator.num_processes,)),
        "offload_policy": offloads if isinstance(offloads, CPUOffloadPolicy) else OffloadPolicy(),
        "ignored_params": apart,
    }
    for layer in layers:
        fully_shard(layer, reshard_after_forward=bool(plugin.reshard_after_forward), **settings)
    fully_shard(module, **settings)


def _names(layers: Sequence[str] | str | None) -> set[str]:
    if layers is None:
        return set()
    return {name.strip() for name in (layers.split(",") if isinstance(layers, str) else layers)}


def assemble(module: nn.Module, *, keep: bool) -> None:
    """Make a module whole again, in the CPU's memory, for being written; no pass can follow.

    Args:
        module: Perhaps sharded.
        keep: Whether this process gets the weights; the others only give their parts.
    """
    for part in list(module.modules()):
        for name, parameter in list(part.named_parameters(recurse=False)):
            if isinstance(parameter, DTensor):
                full = whole(parameter, keep=keep)
                setattr(part, name, nn.Parameter(full, requires_grad=parameter.requires_grad))
        if isinstance(part, FSDPModule):
            # What is written names a module's class, and FSDP gives it a class of its own in front.
            part.__class__ = type(part).__mro__[2]


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Within it a sharded module's parts can be called one by one, by all processes alike and without gradients."""
    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        # Passes without a backward pass leave traces of their order (torch before 2.13 cannot forget them).
        getattr(module, "reset_iter_state", module.reshard)()


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor, in the same memory."""
    detached = tensor.detach()
    return detached.to_local() if isinstance(detached, DTensor) else detached


def whole(tensor: Tensor, *, keep: bool = True) -> Tensor:
    """A tensor with the parts of all processes, in the CPU's memory; of no size where it is not to be kept."""
    detached = tensor.detach()
    if not isinstance(detached, DTensor):
        return detached
    full = detached.full_tensor()
    return full.cpu() if keep else full.new_empty(0, device="cpu")


def like(values: Tensor, tensor: Tensor) -> Tensor:
    """Whole values divided as a tensor is; as they are, where it is not."""
    if not isinstance(tensor, DTensor):
        return values
    mesh = tensor.device_mesh
    return distribute_tensor(values.to(mesh.device_type), mesh, tensor.placements, src_data_rank=None)


def joined(parts: Tensor, tensor: Tensor) -> Tensor:
    """The parts that `local` gave of tensors of a shape, as one tensor that is divided as this one."""
    if not isinstance(tensor, DTensor):
        return parts
    return DTensor.from_local(
        parts, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )


def whole_tree(content: Any, *, keep: bool) -> Any:
    """Nested values with every tensor whole."""
    if isinstance(content, Tensor):
        return whole(content, keep=keep)
    if isinstance(content, Mapping):
        return {name: whole_tree(value, keep=keep) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(whole_tree(value, keep=keep) for value in content)
    return content


def divided_state(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's whole state, divided as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    divided = {
        number: {
            name: like(value, parameters[number])
            if isinstance(value, Tensor) and value.shape == parameters[number].shape
            else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": divided}
