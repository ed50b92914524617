"""Reads reference sets: stored tensors, tensors made by recipe, and the comparison that parity means."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

TOLERANCE = 2e-5
HALF_TOLERANCE = 1e-3


def recipe_tensor(seed: str, name: str, shape: list[int], a: float, offset: float = 0.0) -> Tensor:
    """The tensor of a recipe: uniform in [offset - a, offset + a), from the SHA-256 of seed and name."""
    key = np.frombuffer(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], dtype="<u8")
    raw = np.random.Philox(key=key).random_raw(int(np.prod(shape)))
    u = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
    x = np.float32(offset) + np.float32(a) * (np.float32(2) * u - np.float32(1))
    return torch.from_numpy(x.reshape(shape))


def sets_of(golden: Path) -> Path:
    """The folder of the sets: `dev` in the reference folder, or the folder itself where a set is kept apart."""
    return golden / "dev" if (golden / "dev").is_dir() else golden


def tokenizer_of(golden: Path) -> Path:
    """The folder of the tokenizer that all sets share; ours where the reference folder has none beside its sets."""
    beside = [golden / "tokenizer", golden.parent / "tokenizer", Path(__file__).parents[2] / "golden" / "tokenizer"]
    return next(folder for folder in beside if (folder / "tokenizer.model").is_file())


class Reference:
    """One reference set: its JSON (`meta`), its tensors, and its recipe."""

    def __init__(self, folder: Path, name: str) -> None:
        self.meta: dict[str, Any] = json.loads((sets_of(folder) / f"{name}.json").read_text(encoding="utf-8"))
        self.tensors = load_file(sets_of(folder) / f"{name}.safetensors")

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def state(self, prefix: str = "sd.") -> dict[str, Tensor]:
        """The stored parameters, without the prefix."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def recipe(self, name: str, shape: list[int], a: float, offset: float = 0.0) -> Tensor:
        """A tensor of this set's recipe."""
        return recipe_tensor(self.meta["recipe_seed"], name, shape, a, offset)

    def recipe_state(self) -> dict[str, Tensor]:
        """All parameters of the recipe, by the authors' names."""
        return {name: self.recipe(name, **row) for name, row in self.meta["params"].items() if not name.startswith("#")}


def assert_close(actual: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    """Largest difference within `tolerance` of the largest expected value; same shape."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    difference = (actual.detach().float() - expected.float()).abs().max().item()
    limit = tolerance * expected.float().abs().max().item()
    assert difference <= limit, f"differs by {difference:.3g}, allowed {limit:.3g}"
