"""How much memory a checkpoint needs at which precision, and where its parts fit; read from the files' headers."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from smartedit.model.released_files import read_weight_files

PARTS = ("mllm", "qformer", "bim", "unet", "vae", "empty_text")
"""The parts of a checkpoint that have weights."""
RESERVE = 3 * 2**29
"""Bytes kept free for what is computed (1.5 GiB; for small models as much as their weights): a margin, not measured."""
_DECODER_LINEAR = re.compile(r"language_model\.layers\..*(proj|base_layer)\.weight$")


class Precision(StrEnum):
    """In what form the weights lie in memory."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    INT8 = "8-bit"
    INT4 = "4-bit"

    @property
    def dtype(self) -> str:
        """Torch's dtype of what is not quantized."""
        return "bfloat16" if self in {Precision.INT8, Precision.INT4} else self.value


_BYTES = {
    Precision.FLOAT32: 4.0,
    Precision.BFLOAT16: 2.0,
    Precision.FLOAT16: 2.0,
    Precision.INT8: 1.0,
    # A float32 scale for every block of 64 weights comes on top of their half bytes.
    Precision.INT4: 0.5 + 4 / 64,
}


class DeviceError(ValueError):
    """A device cannot be used here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartSize:
    """Weights of a part.

    Attributes:
        weights: How many.
        quantizable: How many of them lie in the decoder's projections, which 8 and 4 bits apply to.
    """

    weights: int
    quantizable: int

    def bytes_at(self, precision: Precision) -> int:
        """Bytes that they take in memory."""
        rest = self.weights - self.quantizable
        return int(rest * _BYTES[Precision(precision.dtype)] + self.quantizable * _BYTES[precision])


class Placement(StrEnum):
    """Where the parts go."""

    WHOLE = "all parts on the device"
    OFFLOADED = "the language model on the device, then the diffusion model in its place"
    TOO_LARGE = "the largest part does not fit on the device"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What there is to run on.

    Attributes:
        device: A torch device: `cpu`, `cuda`, `cuda:1`, `mps`.
        free: Free bytes of the device's memory.
        main_free: Free bytes of main memory, which the parts wait in.
        name: What the device calls itself.
    """

    device: str
    free: int
    main_free: int
    name: str


def part_sizes(checkpoint: Path) -> dict[str, PartSize]:
    """The weights of every part of a checkpoint, counted from the headers of its files.

    Raises:
        WeightFileError: A file is missing or cannot be read.
    """
    sizes = {}
    for part in PARTS:
        if part == "bim" and not (checkpoint / part).is_dir():
            continue
        entries = read_weight_files(checkpoint / part).entries
        counts = {name: math.prod(entry.shape) for name, entry in entries.items()}
        quantizable = sum(n for name, n in counts.items() if part == "mllm" and _DECODER_LINEAR.search(name))
        sizes[part] = PartSize(weights=sum(counts.values()), quantizable=quantizable)
    return sizes


def check_device(device: str) -> None:
    """Make sure that tensors can be put on a device.

    Raises:
        DeviceError: The device is not there.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(f"--device {device}: not usable here ({str(error).splitlines()[0]}); try auto") from error


def this_machine(device: str = "auto") -> Machine:
    """The machine that this runs on.

    Args:
        device: A torch device, or `auto` for a GPU where there is one.

    Raises:
        DeviceError: The device is not there.
    """
    import torch
    from accelerate.utils import get_max_memory

    main = int(get_max_memory()["cpu"])
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return Machine(device=device, free=free, main_free=main, name=torch.cuda.get_device_name(device))
    return Machine(device=device, free=main, main_free=main, name="main memory")


def reserve(sizes: Mapping[str, PartSize], precision: Precision) -> int:
    """Bytes to keep free beside the weights."""
    return min(RESERVE, sum(size.bytes_at(precision) for size in sizes.values()))


def place_parts(sizes: Mapping[str, PartSize], precision: Precision, machine: Machine) -> Placement:
    """Where the parts of a checkpoint fit: never language and diffusion model together unless both fit.

    Args:
        sizes: The parts.
        precision: In what form their weights are held.
        machine: What there is.
    """
    needed = {part: size.bytes_at(precision) for part, size in sizes.items()}
    kept = reserve(sizes, precision)
    if sum(needed.values()) + kept <= machine.free:
        return Placement.WHOLE
    # What is offloaded waits in main memory; on the CPU that is the same memory, and nothing is gained.
    waits = sum(needed.values()) <= machine.main_free and machine.device != "cpu"
    if waits and max(needed.values()) + kept <= machine.free:
        return Placement.OFFLOADED
    return Placement.TOO_LARGE


def usual_precision(machine: Machine) -> Precision:
    """Bfloat16 on a GPU, float32 on the CPU, whose bfloat16 is slower."""
    return Precision.BFLOAT16 if machine.device.startswith("cuda") else Precision.FLOAT32
