"""Writes one part of a model shard by shard, each shard whole or absent, holding no more than a shard in memory."""

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reason_edit.files import atomic_path, write_text
from smartedit.model.released_files import WeightFiles, safetensors_header

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SHARD_BYTES = 2**30
"""The usual size of a shard; memory peaks at little more than twice this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingredient:
    """A tensor that a weight is made from."""

    files: WeightFiles
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Weight:
    """How a weight of ours comes about.

    Attributes:
        name: Its name in the part.
        shape: Its shape.
        dtype: Its dtype, as torch writes it without `torch.`.
        ingredients: What it is made from.
        make: Makes it from the ingredients, in order.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    ingredients: tuple[Ingredient, ...]
    make: "Callable[[Sequence[Tensor]], Tensor]"

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * dtype_of(self.dtype).itemsize


def dtype_of(name: str) -> "torch.dtype":
    """The dtype of torch with that name."""
    import torch

    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype), name
    return dtype


class Fp16OverflowError(ValueError):
    """A weight is too large for float16."""


def write_shards(
    weights: Sequence[Weight],
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write weights as diffusers reads them: `diffusion_pytorch_model*.safetensors`, with an index if there are more.

    A shard that lies there with the right tensors is kept, so that the same command goes on where it was killed.

    Args:
        weights: All weights of the part.
        folder: Its folder.
        shard_bytes: A shard holds no more, unless one weight alone does.
        progress: Told the bytes of each shard when it lies there.
    """
    shards = list(_split(sorted(weights, key=lambda w: w.name), shard_bytes))
    names = [f"diffusion_pytorch_model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["diffusion_pytorch_model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        if not _is_written(folder / name, shard):
            _write(folder / name, shard)
        if progress is not None:
            progress(sum(weight.size for weight in shard))
    if len(shards) > 1:
        weight_map = {weight.name: name for name, shard in zip(names, shards, strict=True) for weight in shard}
        index = {"metadata": {"total_size": sum(w.size for w in weights)}, "weight_map": weight_map}
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        write_text(folder / "diffusion_pytorch_model.safetensors.index.json", text)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left unfinished: our temporary files and folders, and those of safetensors."""
    for path in [*folder.rglob(".*.tmp-*"), *folder.rglob(".tmp*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _split(weights: Sequence[Weight], shard_bytes: int) -> Iterator[list[Weight]]:
    shard: list[Weight] = []
    filled = 0
    for weight in weights:
        if shard and filled + weight.size > shard_bytes:
            yield shard
            shard, filled = [], 0
        shard.append(weight)
        filled += weight.size
    if shard:
        yield shard


def _is_written(path: Path, shard: Sequence[Weight]) -> bool:
    if not path.is_file():
        return False
    header = safetensors_header(path)
    return {name: tuple(row["shape"]) for name, row in header.items()} == {w.name: w.shape for w in shard}


def _write(path: Path, shard: Sequence[Weight]) -> None:
    from safetensors.torch import save_file

    needed: dict[int, tuple[WeightFiles, set[str]]] = {}
    for weight in shard:
        for ingredient in weight.ingredients:
            needed.setdefault(id(ingredient.files), (ingredient.files, set()))[1].add(ingredient.name)
    with _opened(list(needed.values())) as read:
        made = {weight.name: _make(weight, read) for weight in shard}
        with atomic_path(path) as temporary:
            save_file(made, temporary, metadata={"format": "pt"})
        made.clear()


@contextmanager
def _opened(needed: Sequence[tuple[WeightFiles, set[str]]]) -> "Iterator[dict[tuple[int, str], Tensor]]":
    with ExitStack() as stack:
        read: dict[tuple[int, str], Tensor] = {}
        for files, names in needed:
            tensors = stack.enter_context(files.open(sorted(names)))
            read |= {(id(files), name): tensor for name, tensor in tensors.items()}
        yield read
        read.clear()


def _make(weight: Weight, read: "Mapping[tuple[int, str], Tensor]") -> "Tensor":
    import torch

    tensor = weight.make([read[id(i.files), i.name] for i in weight.ingredients])
    assert tuple(tensor.shape) == weight.shape, (weight.name, tensor.shape, weight.shape)
    dtype = dtype_of(weight.dtype)
    if dtype is torch.float16 and tensor.dtype is not torch.float16:
        largest = float(tensor.abs().max()) if tensor.numel() else 0.0
        if largest > torch.finfo(torch.float16).max:
            raise Fp16OverflowError(
                f"{weight.name}: its largest value {largest:.3g} exceeds float16's 65504; take bfloat16 or float32"
            )
    return tensor.to(dtype).contiguous()
