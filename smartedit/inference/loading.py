"""Loads a pipeline by folder, hub name or preset, at a precision and in a place that fit the machine."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smartedit.config.loading import preset_names
from smartedit.config.model import ModelConfig, load_model_config
from smartedit.hub import fetch_model
from smartedit.inference.memory import (
    Machine,
    Placement,
    Precision,
    part_sizes,
    place_parts,
    reserve,
    this_machine,
    usual_precision,
)
from smartedit.weights import shipped

if TYPE_CHECKING:
    from smartedit.inference.pipeline import SmartEditPipeline

logger = logging.getLogger(__name__)


class LoadingError(ValueError):
    """A model cannot be loaded; the message says what was found and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadSettings:
    """How to load.

    Attributes:
        device: A torch device, or `auto`.
        precision: How weights are held; None for what is usual on the device.
        offload: True to keep one part at a time on the device, False never to; None for what fits.
        revision: Commit, tag or branch of a hub name.
    """

    device: str = "auto"
    precision: Precision | None = None
    offload: bool | None = None
    revision: str | None = None


def load_pipeline(model: str | Path, settings: LoadSettings | None = None) -> "SmartEditPipeline":
    """Load a model for editing.

    Args:
        model: A folder with `model_index.json` (from `smartedit convert` or `save_pretrained`), a name `owner/name`
            on the hub, a preset whose configuration names weights, or the name of weights that ship.
        settings: How.

    Raises:
        LoadingError: There is no such model, or it does not fit the machine.
        QuantizationError: 8 or 4 bits are asked for without bitsandbytes.
        CheckpointError: A file or weight is missing or broken.
    """
    settings = settings or LoadSettings()
    if str(model) in preset_names() and not Path(model).is_dir():
        config = load_model_config(str(model))
        if config.weights is None:
            return _from_preset(str(model), config, settings)
        model = config.weights
    folder = find_model(model, settings.revision)
    machine = this_machine(settings.device)
    precision = settings.precision or usual_precision(machine)
    placement = _placement(folder, precision, machine, settings.offload)
    pipeline = _read(folder, precision)
    if placement is Placement.OFFLOADED:
        pipeline.enable_model_cpu_offload(device=machine.device)
    else:
        pipeline.to(machine.device)
    return pipeline


def quiet_libraries() -> None:
    """Leave the terminal to our own bars: those of diffusers and transformers are hidden for the whole process."""
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()


def find_model(model: str | Path, revision: str | None = None) -> Path:
    """The local folder of a model, fetched from the hub where it is a name.

    Raises:
        LoadingError: There is none.
    """
    folder = shipped(model) or Path(model).expanduser()
    if (folder / "model_index.json").is_file():
        return folder
    if folder.exists():
        hint = "the authors' own files want `smartedit convert` first" if _looks_released(folder) else "no model"
        raise LoadingError(f"{model}: no model_index.json in it ({hint})")
    if folder.is_absolute() or str(model).startswith((".", "~")) or str(model).count("/") != 1:
        presets = ", ".join(preset_names())
        raise LoadingError(f"{model}: no such folder; name a folder, owner/name on the hub, or a preset ({presets})")
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return fetch_model(model, revision=revision)
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise LoadingError(
            f"{model}: neither a folder nor to be had from the hub ({str(error).splitlines()[0]}); fetch it where "
            f"there is a network (`hf download {model}`) and name its folder"
        ) from error


def _looks_released(folder: Path) -> bool:
    return any(folder.glob("LLM-*")) or (folder / "embeddings_qformer").is_dir()


def _placement(folder: Path, precision: Precision, machine: Machine, offload: bool | None) -> Placement:
    sizes = part_sizes(folder)
    fits = place_parts(sizes, precision, machine)
    if offload is not None:
        return Placement.OFFLOADED if offload and machine.device != "cpu" else Placement.WHOLE
    if fits is Placement.TOO_LARGE:
        needed, kept = sum(size.bytes_at(precision) for size in sizes.values()), reserve(sizes, precision)
        smaller = [p for p in Precision if place_parts(sizes, p, machine) is not Placement.TOO_LARGE]
        remedy = f"--precision {smaller[0].value} would fit" if smaller else "take a machine with more memory"
        raise LoadingError(
            f"{folder}: at {precision.value} the weights take {needed / 2**30:.1f} GiB and {kept / 2**30:.1f} GiB "
            f"are kept for computing; {machine.device} has {machine.free / 2**30:.1f} GiB free: {remedy}"
        )
    return fits


def _read(folder: Path, precision: Precision) -> "SmartEditPipeline":
    import torch

    from smartedit.inference.pipeline import SmartEditPipeline
    from smartedit.inference.quantization import quantize_decoder

    dtype = getattr(torch, precision.dtype)
    pipeline: SmartEditPipeline = SmartEditPipeline.from_pretrained(folder, dtype=dtype)
    if precision in {Precision.INT8, Precision.INT4}:
        quantize_decoder(pipeline.mllm, precision)
    return pipeline


def _from_preset(preset: str, config: ModelConfig, settings: LoadSettings) -> "SmartEditPipeline":
    from smartedit.inference.build import build_pipeline
    from smartedit.model.tokenizer import load_tokenizer

    source = config.mllm.tokenizer or config.mllm.checkpoint
    if source is None:
        raise LoadingError(
            f"{preset}: this preset names no checkpoints; train it (`smartedit train full --preset {preset}`, "
            "docs/training.md) or convert the released weights (`smartedit convert`), and name the folder as --model"
        )
    random = [n for n in ("mllm", "unet", "vae", "text") if getattr(config, n).checkpoint is None]
    if random:
        logger.warning("%s: random weights in %s; the picture will be noise", preset, ", ".join([*random, "qformer"]))
    machine = this_machine(settings.device)
    return build_pipeline(config, load_tokenizer(source)).to(machine.device)  # type: ignore[no-any-return]
