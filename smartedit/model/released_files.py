"""Weights in other people's files (.bin and .safetensors, whole or in shards), read a few tensors at a time."""

import json
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

STEMS = ("model", "pytorch_model", "diffusion_pytorch_model", "adapter_model")
SUFFIXES = (".safetensors", ".bin")


class WeightFileError(ValueError):
    """A file of weights is missing or cannot be read; the message names it and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorEntry:
    """One tensor of a file, without its values.

    Attributes:
        shape: Its shape.
        dtype: As torch writes it without `torch.`, for example `bfloat16`.
        file: The file that holds it.
    """

    shape: tuple[int, ...]
    dtype: str
    file: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightFiles:
    """All tensors of a checkpoint, whatever files they lie in.

    Attributes:
        place: The folder or file that was named.
        entries: Tensor by name.
    """

    place: Path
    entries: Mapping[str, TensorEntry]

    @contextmanager
    def open(self, names: Iterable[str]) -> "Iterator[dict[str, Tensor]]":
        """Yield some tensors, read from disk as they are used.

        The files are mapped into memory for the length of the block only, so that what was read does not pile up; do
        not keep the tensors.

        Args:
            names: Which; all must be there.

        Yields:
            The tensors by name.
        """
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.entries[name].file, []).append(name)
        tensors: dict[str, Tensor] = {}
        for file, wanted in by_file.items():
            tensors |= _read(file, wanted)
        try:
            yield tensors
        finally:
            tensors.clear()


def read_weight_files(place: Path | str) -> WeightFiles:
    """List the tensors of a checkpoint; of `.bin` files nothing but tensors is unpickled (`weights_only`).

    Args:
        place: A file, or a folder that holds one file or an index with its shards.

    Raises:
        WeightFileError: There is none, a shard is missing, or a file is truncated or no file of weights.
    """
    place = Path(place)
    files = [place] if place.is_file() else _files_of(place)
    entries: dict[str, TensorEntry] = {}
    for file in files:
        entries |= _entries(file)
    return WeightFiles(place=place, entries=entries)


def _files_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise WeightFileError(f"{folder}: there is no such file or folder")
    for stem in STEMS:
        for suffix in SUFFIXES:
            whole, index = folder / f"{stem}{suffix}", folder / f"{stem}{suffix}.index.json"
            if index.is_file():
                return shards_of(index)
            if whole.is_file():
                return [whole]
    raise WeightFileError(f"{folder}: holds no weights ({', '.join(f'{s}{x}' for s in STEMS[:3] for x in SUFFIXES)})")


def shards_of(index: Path) -> list[Path]:
    """The files that an index names.

    Raises:
        WeightFileError: The index is broken, or a shard is missing.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise WeightFileError(f"{index}: broken index ({error}); fetch it again") from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise WeightFileError(f"{index.parent}: {len(missing)} of {len(names)} shards missing: {', '.join(missing)}")
    return [index.parent / name for name in names]


def _entries(file: Path) -> dict[str, TensorEntry]:
    if file.suffix == ".safetensors":
        header = safetensors_header(file)
        return {
            name: TensorEntry(shape=tuple(row["shape"]), dtype=_SAFETENSORS_DTYPES[row["dtype"]], file=file)
            for name, row in header.items()
        }
    return {
        name: TensorEntry(shape=tuple(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."), file=file)
        for name, tensor in _map(file).items()
    }


_SAFETENSORS_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


def safetensors_header(file: Path) -> dict[str, Any]:
    """Name, dtype, shape and place of a safetensors file's tensors, read from its first bytes.

    Raises:
        WeightFileError: The file is truncated, or is something else.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        try:
            if length > size - 8:
                raise ValueError(f"the header wants {length} bytes of {size}")
            header: dict[str, Any] = json.loads(stream.read(length))
            header.pop("__metadata__", None)
            end = 8 + length + max((row["data_offsets"][1] for row in header.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WeightFileError(_unreadable(file, error)) from error
    if end != size:
        raise WeightFileError(f"{file}: truncated, {size} of {end} bytes; fetch it again")
    return header


def _read(file: Path, names: Iterable[str]) -> "dict[str, Tensor]":
    """Some tensors of a file; those of a .bin stay mapped to it."""
    if file.suffix != ".safetensors":
        content = _map(file)
        return {name: content[name] for name in names}
    from safetensors import safe_open

    with safe_open(file, framework="pt") as content:  # type: ignore[no-untyped-call]
        return {name: content.get_tensor(name) for name in names}


def _map(file: Path) -> "Mapping[str, Tensor]":
    """All tensors of a .bin file, mapped: a page is read when a value on it is used."""
    import torch

    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=_is_zip(file))
    except Exception as error:
        raise WeightFileError(_unreadable(file, error)) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise WeightFileError(f"{file}: holds other things than named tensors")
    return loaded


def _is_zip(file: Path) -> bool:
    """Whether torch wrote the file in its format since 1.6, which alone can be mapped."""
    with file.open("rb") as stream:
        return stream.read(2) == b"PK"


def _unreadable(file: Path, error: Exception) -> str:
    with file.open("rb") as stream:
        start = stream.read(48)
    if start.startswith(b"version https://git-lfs"):
        return f"{file}: a git-lfs pointer, not the weights; run `git lfs pull` where it came from"
    if start.lstrip().startswith(b"<"):
        return f"{file}: a web page, not weights; the download was refused, fetch it again"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, UnpicklingError) and "weights_only" in str(error):
        return f"{file}: holds pickled code beside its tensors; it is not run"
    return f"{file}: cannot be read ({file.stat().st_size} bytes; {reason}); truncated or damaged, fetch it again"
