"""Seeds that come from ids, so that results depend neither on order nor on batch size, workers or resume."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def seed_from(*keys: str | int) -> int:
    """A 63-bit seed that follows from the keys alone.

    Args:
        keys: What the draw belongs to, for example a method and a sample id.

    Returns:
        An integer in [0, 2**63).
    """
    text = "\x1f".join(str(key) for key in keys)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_generator(*keys: str | int) -> np.random.Generator:
    """A NumPy generator seeded from the keys."""
    return np.random.Generator(np.random.Philox(seed_from(*keys)))


def torch_generators(seeds: Sequence[int], device: str = "cpu") -> "list[torch.Generator]":
    """One generator for each seed, so that a sample's draws are its own whatever its batch.

    Args:
        seeds: One seed a sample.
        device: Where the generators live; drawing on the CPU gives the same numbers on every device.

    Returns:
        Generators in the order of the seeds.
    """
    import torch

    return [torch.Generator(device).manual_seed(seed) for seed in seeds]
