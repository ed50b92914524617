"""Loads a diffusers pipeline as it fits: type, quantization, offload, VAE tiling; and says what does not fit."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from benchmark.methods.editing_pipeline import PartType
from benchmark.methods.specs import MethodError
from benchmark.methods.weights import PIPELINE_FILES, find_weights
from smartedit.inference.loading import quiet_libraries

Dtype = Literal["auto", "float32", "float16", "bfloat16"]
Offload = Literal["none", "model", "sequential"]
Quantization = Literal["none", "float8", "8-bit", "4-bit"]

GIB = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadOptions:
    """How a pipeline comes into memory.

    Attributes:
        pipeline: The class in diffusers.
        model: Folder or hub id.
        revision: Of a hub id.
        device: A torch device.
        dtype: Weights' type; auto is bfloat16 on a GPU, float32 on the CPU.
        offload: "model" keeps one part at a time on the GPU, "sequential" one layer (slow, smallest).
        quantization: "float8" stores the denoiser in 8-bit floats and computes in `dtype`; "8-bit" and "4-bit" need
            bitsandbytes and a GPU.
        vae_tiling: Encode and decode in tiles.
        load: More arguments of `from_pretrained`.
        part_types: Parts that have this type whatever `dtype` says.
        folder_classes: Other classes that a folder may name as its own.
        mend: Changes the loaded pipeline where the installed libraries disagree about it.
        steps: Denoising steps that will be asked for; refused where the folder fixes another number.
    """

    pipeline: str
    model: str
    revision: str | None = None
    device: str
    dtype: Dtype = "auto"
    offload: Offload = "none"
    quantization: Quantization = "none"
    vae_tiling: bool = False
    load: Mapping[str, Any] = field(default_factory=dict)
    part_types: Mapping[str, PartType] = field(default_factory=dict)
    folder_classes: Sequence[str] = ()
    mend: Callable[[Any], None] | None = None
    steps: int | None = None


def load_pipeline(options: LoadOptions) -> Any:
    """A pipeline in memory, ready to be called.

    Raises:
        MethodError: The folder holds another pipeline or a broken one, an option needs what is not there, or the
            weights do not fit; names the remedy.
    """
    import diffusers
    import torch

    quiet_libraries()
    folder = find_weights(options.model, revision=options.revision, patterns=PIPELINE_FILES)
    _check_folder(folder, options)
    _check_means(options)
    _check_memory(folder, options)
    dtype = _dtype(options)
    types: Any = dtype
    if options.part_types:
        types = {part: getattr(torch, name) for part, name in options.part_types.items()} | {"default": dtype}
    try:
        pipeline = getattr(diffusers, options.pipeline).from_pretrained(
            folder, dtype=types, local_files_only=True, **_quantization(options, dtype), **options.load
        )
        return _place(pipeline, options, dtype)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError) as error:
        raise MethodError(f"{options.model}: no {options.pipeline} can be loaded from it ({error})") from error
    except (MemoryError, RuntimeError) as error:
        raise MethodError(
            f"{options.model}: cannot be brought to {options.device} ({error}); if memory is short, set offload=model "
            "or quantization=float8, or use a larger device"
        ) from error


def _check_folder(folder: Path, options: LoadOptions) -> None:
    index = folder / "model_index.json"
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        name = content["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MethodError(
            f"{options.model}: no diffusers folder of a {options.pipeline} (no readable model_index.json: {error})"
        ) from error
    if name not in (options.pipeline, *options.folder_classes):
        raise MethodError(f"{options.model}: holds a {name}, and this method runs a {options.pipeline}")
    schedule = content.get("sample_sigmas")
    if options.steps is not None and isinstance(schedule, list) and len(schedule) != options.steps:
        raise MethodError(
            f"{options.model}: steps={options.steps}: model_index.json fixes a schedule of {len(schedule)} steps "
            f"(sample_sigmas), which the pipeline takes whatever is asked for; set steps={len(schedule)}"
        )


def _check_means(options: LoadOptions) -> None:
    gpu = options.device.startswith("cuda")
    if options.offload != "none" and not gpu:
        raise MethodError(
            f"offload={options.offload}: moves parts to a GPU, and the device is {options.device}; leave it at none"
        )
    if options.quantization in {"8-bit", "4-bit"}:
        if not gpu:
            raise MethodError(
                f"quantization={options.quantization}: needs a GPU, and the device is {options.device}; float8 works "
                "on any device"
            )
        if find_spec("bitsandbytes") is None:
            raise MethodError(
                f"quantization={options.quantization}: needs bitsandbytes (`pip install bitsandbytes`); float8 does not"
            )


def _check_memory(folder: Path, options: LoadOptions) -> None:
    """Refuse what cannot fit before minutes of loading; only where every part has to be there at once."""
    if options.offload != "none" or options.quantization != "none":
        return
    needed = sum(f.stat().st_size for f in folder.rglob("*.safetensors"))
    if options.dtype == "float32" or (options.dtype == "auto" and not options.device.startswith("cuda")):
        needed *= 2 if needed > GIB else 1  # published files of this size hold 16-bit weights
    there = _device_memory(options.device)
    if there is not None and needed > there:
        raise MethodError(
            f"{options.model}: its weights need {needed / GIB:.0f} GiB, and {options.device} has {there / GIB:.0f} "
            "GiB; set offload=model or quantization=float8 or 4-bit (a GPU), or use a larger device"
        )


def _device_memory(device: str) -> int | None:
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.get_device_properties(device).total_memory)
    if device == "cpu":
        import os

        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _dtype(options: LoadOptions) -> Any:
    import torch

    name = options.dtype
    if name == "auto":
        name = "bfloat16" if options.device.startswith("cuda") else "float32"
    return getattr(torch, name)


def _quantization(options: LoadOptions, dtype: Any) -> dict[str, Any]:
    if options.quantization not in {"8-bit", "4-bit"}:
        return {}
    from diffusers import PipelineQuantizationConfig

    bits: dict[str, Any] = {"load_in_8bit": True} if options.quantization == "8-bit" else {"load_in_4bit": True}
    if options.quantization == "4-bit":
        bits |= {"bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    config = PipelineQuantizationConfig(
        quant_backend=f"bitsandbytes_{options.quantization.replace('-', '')}",
        quant_kwargs=bits,
        components_to_quantize=["transformer", "unet", "text_encoder", "text_encoder_2", "vision_language_encoder"],
    )
    return {"quantization_config": config}


def _place(pipeline: Any, options: LoadOptions, dtype: Any) -> Any:
    import torch

    pipeline.set_progress_bar_config(disable=True)
    if options.mend is not None:
        options.mend(pipeline)
    if options.quantization == "float8":
        denoiser = getattr(pipeline, "transformer", None) or pipeline.unet
        denoiser.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    if options.vae_tiling:
        if not hasattr(pipeline.vae, "enable_tiling"):
            raise MethodError(f"vae_tiling: a {type(pipeline.vae).__name__} cannot work in tiles; leave it off")
        pipeline.vae.enable_tiling()
    if options.offload == "model":
        pipeline.enable_model_cpu_offload(device=options.device)
    elif options.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=options.device)
    else:
        pipeline.to(options.device)  # of a quantized pipeline the parts that are not quantized
    return pipeline
