"""Turns InstructDiffusion's original checkpoint into a diffusers folder that `instruct-diffusion` runs.

    python -m benchmark.methods.convert_instruct_diffusion CHECKPOINT FOLDER --base INSTRUCT_PIX2PIX_OR_SD15_FOLDER

The checkpoint holds the weights of UNet, autoencoder and text encoder; the base folder gives what it does not hold: the
tokenizer and the sizes, which are Stable Diffusion 1.5's.
"""

import argparse
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.methods.specs import MethodError
from benchmark.methods.weights import find_weights

CHANNELS = 8
TEXT_ENCODER = "cond_stage_model.transformer."
BASE_FILES = ("tokenizer/tokenizer_config.json", "text_encoder/config.json", "unet/config.json", "vae/config.json")


def convert(checkpoint: Path, folder: Path, base: str) -> Path:
    """Convert a checkpoint.

    Args:
        checkpoint: The authors' `.ckpt`, or a `.safetensors` with the same names.
        folder: Where the pipeline goes; must not exist.
        base: Folder or hub id of a Stable Diffusion 1.5 or InstructPix2Pix pipeline, for tokenizer and sizes.

    Returns:
        The folder, complete.

    Raises:
        MethodError: The file is broken or another model's, or the folder exists; names what is missing.
    """
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionInstructPix2PixPipeline
    from transformers import CLIPTokenizer

    if folder.exists():
        raise MethodError(f"{folder}: exists already; remove it or choose another folder")
    source = find_weights(base, option="--base")
    # What is not there would be looked for on the hub, under the name of the folder.
    lacking = [name for name in BASE_FILES if not (source / name).is_file()]
    if lacking:
        raise MethodError(f"--base {base}: is no whole Stable Diffusion 1.5 pipeline: there is no {', '.join(lacking)}")
    weights = read_checkpoint(checkpoint)
    pipeline = StableDiffusionInstructPix2PixPipeline(
        vae=_autoencoder(weights, source),
        text_encoder=_text_encoder(weights, source),
        tokenizer=CLIPTokenizer.from_pretrained(source / "tokenizer", local_files_only=True),
        unet=_unet(weights, source),
        scheduler=EulerAncestralDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace"
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    part = folder.with_name(f".{folder.name}.part")
    pipeline.save_pretrained(part)
    part.rename(folder)
    return folder


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The tensors of a checkpoint by their original names; code in the file is never run.

    Raises:
        MethodError: It cannot be read, or is no inference checkpoint.
    """
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise MethodError(f"{path}: cannot be read as a checkpoint ({error})") from error
    if isinstance(content, Mapping) and "model_ema" in content:
        raise MethodError(f"{path}: a training state; make the inference checkpoint with the authors' convert_ckpt.py")
    weights = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    first = weights.get("model.diffusion_model.input_blocks.0.0.weight")
    if first is None:
        raise MethodError(f"{path}: no Stable Diffusion checkpoint (no model.diffusion_model.input_blocks.0.0.weight)")
    if first.shape[1] != CHANNELS:
        raise MethodError(
            f"{path}: its UNet takes {first.shape[1]} channels; InstructDiffusion's takes noise and picture, {CHANNELS}"
        )
    return dict(weights)


def _unet(weights: Mapping[str, Any], base: Path) -> Any:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    config = {**UNet2DConditionModel.load_config(base / "unet"), "in_channels": CHANNELS}
    return _filled(UNet2DConditionModel.from_config(config), convert_ldm_unet_checkpoint(dict(weights), config), "UNet")


def _autoencoder(weights: Mapping[str, Any], base: Path) -> Any:
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    config = AutoencoderKL.load_config(base / "vae")
    converted = convert_ldm_vae_checkpoint(dict(weights), config)
    return _filled(AutoencoderKL.from_config(config), converted, "autoencoder")


def _text_encoder(weights: Mapping[str, Any], base: Path) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    model = CLIPTextModel(CLIPTextConfig.from_pretrained(base / "text_encoder", local_files_only=True))
    names = set(model.state_dict())
    own = {k.removeprefix(TEXT_ENCODER): v for k, v in weights.items() if k.startswith(TEXT_ENCODER)}
    # Older libraries kept the positions 0, 1, 2, ... as a tensor, and all names below `text_model.`.
    own = {k: v for k, v in own.items() if not k.endswith("position_ids")}
    if not any(name.startswith("text_model.") for name in names):
        own = {k.removeprefix("text_model."): v for k, v in own.items()}
    return _filled(model, own, "text encoder")


def _filled(model: Any, weights: Mapping[str, Any], part: str) -> Any:
    """A model with exactly these weights."""
    import torch

    expected = {k: v.shape for k, v in model.state_dict().items() if not k.endswith("position_ids")}
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    wrong = [k for k in expected.keys() & weights.keys() if expected[k] != weights[k].shape]
    if missing or extra or wrong:
        raise MethodError(
            f"the checkpoint's {part} is not of the base folder's kind: {len(missing)} weights missing "
            f"({', '.join(missing[:3])}), {len(extra)} unknown ({', '.join(extra[:3])}), {len(wrong)} of another shape "
            f"({', '.join(sorted(wrong)[:3])})"
        )
    model.load_state_dict({k: torch.as_tensor(v).float() for k, v in weights.items()}, strict=False)
    return model


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--base", default="timbrooks/instruct-pix2pix", help="pipeline with the tokenizer and the sizes"
    )
    arguments = parser.parse_args()
    try:
        convert(arguments.checkpoint, arguments.folder, arguments.base)
    except MethodError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
