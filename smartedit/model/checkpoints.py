"""Checkpoints of ours: a folder per part, safetensors in shards beside a `config.json`, checked before it is loaded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from smartedit.model.bim import Bim
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.qformer import QFormer
from smartedit.model.released_files import WeightFileError, shards_of
from smartedit.model.smartedit import SmartEdit
from smartedit.model.text import EmptyText
from smartedit.model.unet import SmartEditUNet

PARTS: dict[str, Any] = {
    "mllm": ImageTextMllm,
    "qformer": QFormer,
    "bim": Bim,
    "unet": SmartEditUNet,
    "empty_text": EmptyText,
}
"""The parts of `SmartEdit` and the classes that they are; the folders have the same names."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
_SHOWN = 4


class CheckpointError(ValueError):
    """A checkpoint is incomplete, belongs to other sizes or holds broken numbers; the message names file and weight."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredWeight:
    """A weight as its file's header describes it."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def stored_weights(folder: Path | str) -> dict[str, StoredWeight]:
    """The weights of one part, from the headers of its files; no values are read.

    Raises:
        CheckpointError: A shard that the index names is missing, or a file is broken.
    """
    from safetensors import SafetensorError, safe_open

    found = {}
    for file in _shards(Path(folder)):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118  (not a mapping)
                    header = opened.get_slice(name)
                    found[name] = StoredWeight(file=file, shape=tuple(header.get_shape()), dtype=header.get_dtype())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: cannot be read ({error}); copy it anew") from error
    return found


def _shards(folder: Path) -> Iterator[Path]:
    index = folder / f"{WEIGHTS}.index.json"
    try:
        files = shards_of(index) if index.is_file() else [folder / WEIGHTS]
    except WeightFileError as error:
        raise CheckpointError(str(error)) from error
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{file}: this file of weights is missing; copy it anew")
        yield file


def expected_shapes(folder: Path | str, part: str) -> dict[str, tuple[int, ...]]:
    """The weights that a part's `config.json` asks for, and their shapes.

    Raises:
        CheckpointError: There is no configuration, or it describes no such part.
    """
    path = Path(folder) / "config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        with torch.device("meta"):
            module = PARTS[part].from_config(settings)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: describes no {part} ({type(error).__name__}: {error})") from error
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def check_checkpoint(folder: Path | str) -> None:
    """Compare the files of all parts with their configurations; headers only, so that it takes a second.

    diffusers itself fills missing weights with random ones and only warns.

    Raises:
        CheckpointError: A shard or a weight is missing, unknown or misshapen, or parts of different models are mixed.
    """
    widths = {}
    for part in parts_of(folder):
        place = Path(folder) / part
        expected, stored = expected_shapes(place, part), stored_weights(place)
        faults = [f"{name} is missing" for name in expected if name not in stored]
        faults += [f"{name} is unknown" for name in stored if name not in expected]
        faults += [
            f"{name} is {list(stored[name].shape)}, the configuration asks for {list(shape)}"
            for name, shape in expected.items()
            if name in stored and stored[name].shape != shape
        ]
        if faults:
            shown = "; ".join(faults[:_SHOWN]) + ("; ..." if len(faults) > _SHOWN else "")
            raise CheckpointError(f"{place}: {len(faults)} weights do not fit its config.json: {shown}")
        widths[part] = json.loads((place / "config.json").read_text(encoding="utf-8"))
    _check_widths(Path(folder), widths)


def _check_widths(folder: Path, settings: dict[str, dict[str, Any]]) -> None:
    """Parts that fit their own configurations may still be those of another size: 13B's QFormer beside 7B's LLaMA."""
    architecture = settings["mllm"]["architecture"]
    language = architecture.get("text_config", architecture)["hidden_size"]
    text = settings["qformer"]["hidden_size"]
    pairs = [
        ("qformer", "encoder_size", language, "hidden states of mllm"),
        ("unet", "cross_attention_dim", text, "text features of qformer"),
        ("empty_text", "hidden_size", text, "text features of qformer"),
        ("bim", "text_size", text, "text features of qformer"),
        ("bim", "output_size", settings["unet"]["block_out_channels"][0], "first level of unet"),
    ]
    for part, key, width, what in pairs:
        if part in settings and settings[part][key] != width:
            raise CheckpointError(
                f"{folder / part / 'config.json'}: {key} is {settings[part][key]}, but the {what} are {width} wide: "
                "these parts belong to models of different sizes"
            )


def parts_of(folder: Path | str) -> list[str]:
    """The parts that lie in a folder; `bim` may be absent (Table 2's plain model, training before stage `full`).

    Raises:
        CheckpointError: Another part is missing.
    """
    present = [part for part in PARTS if (Path(folder) / part / "config.json").is_file()]
    missing = [part for part in PARTS if part not in present and part != "bim"]
    if missing:
        raise CheckpointError(f"{folder}: is no SmartEdit checkpoint, {', '.join(missing)} missing")
    return present


def broken_weights(module: nn.Module) -> list[str]:
    """The names of weights with NaN or infinity."""
    return [name for name, tensor in module.state_dict().items() if not bool(tensor.isfinite().all())]


def load_model(folder: Path | str, *, dtype: torch.dtype | None = None, check_values: bool = True) -> SmartEdit:
    """Load the trainable model of a checkpoint; autoencoder, scheduler and tokenizer lie in it as in diffusers'.

    Args:
        folder: The checkpoint.
        dtype: Of the weights; None for float32.
        check_values: Look for NaN and infinity.

    Raises:
        CheckpointError: As in `check_checkpoint`, or weights are not finite.
    """
    check_checkpoint(folder)
    parts: dict[str, Any] = dict.fromkeys(PARTS)
    for part in parts_of(folder):
        parts[part] = PARTS[part].from_pretrained(Path(folder) / part, torch_dtype=dtype)
        broken = broken_weights(parts[part]) if check_values else []
        if broken:
            raise CheckpointError(
                f"{Path(folder) / part}: {len(broken)} weights hold NaN or infinity, first {broken[0]}; the training "
                "run diverged or the file is damaged"
            )
    return SmartEdit(**parts)


def save_model(model: SmartEdit, folder: Path | str, *, max_shard_size: str = "5GB") -> None:
    """Save the parts of a model, each into its folder; a pipeline's `save_pretrained` writes the same and the rest."""
    for part in PARTS:
        module = getattr(model, part)
        if module is not None:
            module.save_pretrained(Path(folder) / part, max_shard_size=max_shard_size)
