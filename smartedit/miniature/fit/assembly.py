"""Puts trained parts together as the pipelines that SmartEdit's stages and the baseline start from."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel

from smartedit.config.model import ModelConfig
from smartedit.inference.build import pipeline_of
from smartedit.inference.loading import LoadSettings, load_pipeline
from smartedit.inference.memory import Precision
from smartedit.miniature.fit.denoiser import TextToEdit
from smartedit.model.build import build_qformer, build_sampling_scheduler
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.smartedit import SmartEdit
from smartedit.model.text import EmptyText
from smartedit.training.saving import full_disk_in_plain


def save_text_encoder(denoiser: TextToEdit, tokenizer: Any, out: Path) -> None:
    """Write the text encoder with its tokenizer, as `smartedit train align --text-encoder` wants it."""
    denoiser.text.save_pretrained(out)
    tokenizer.save_pretrained(out)


def save_instruct_pix2pix(denoiser: TextToEdit, vae: Any, tokenizer: Any, config: ModelConfig, out: Path) -> None:
    """Write text encoder, UNet and autoencoder as an InstructPix2Pix pipeline of diffusers."""
    StableDiffusionInstructPix2PixPipeline(
        vae=vae,
        text_encoder=denoiser.text,
        tokenizer=tokenizer,
        unet=plain_unet(denoiser.unet),
        scheduler=build_sampling_scheduler(config.scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(out)


def plain_unet(unet: Any) -> UNet2DConditionModel:
    """The library's own class with the weights of our UNet, which differs only in what it can add behind `conv_in`."""
    with torch.device("meta"):
        plain: UNet2DConditionModel = UNet2DConditionModel.from_config(unet.config)
    plain.load_state_dict(unet.state_dict(), assign=True)
    return plain


def save_start(
    denoiser: TextToEdit, mllm: ImageTextMllm, vae: Any, tokenizer: Any, config: ModelConfig, out: Path, *, seed: int
) -> None:
    """Write the SmartEdit pipeline that stage `align` starts from: everything trained but a random QFormer.

    `align` reads no UNet; that of a denoiser which is not finished will do. A pipeline that is there is left alone.
    """
    if out.is_dir():
        return
    torch.manual_seed(seed)
    model = SmartEdit(
        mllm=mllm,
        qformer=build_qformer(config.qformer, encoder_size=mllm.hidden_size),
        bim=None,
        unet=denoiser.unet,
        empty_text=EmptyText.of(denoiser.text, num_tokens=config.qformer.num_queries),
    )
    save_pipeline(pipeline_of(config, model, vae, tokenizer), out)


def save_with_denoiser(pipeline: Path, denoiser: TextToEdit, out: Path) -> None:
    """Write a SmartEdit pipeline with the UNet of a finished denoiser; one that is there is left alone."""
    if out.is_dir():
        return
    loaded = load_pipeline(pipeline, LoadSettings(device="cpu", precision=Precision.FLOAT32))
    loaded.unet.load_state_dict(denoiser.unet.state_dict())
    save_pipeline(loaded, out)


def save_mean(models: Sequence[Path], out: Path) -> None:
    """Write the SmartEdit pipeline whose weights are the mean of those of several trainings from one start.

    Such a mean edits better than each of them ("model soups", M. Wortsman and others, 2022).

    Args:
        models: Folders of pipelines of the same sizes.
        out: Where the mean is written, aside first and then renamed; left alone where it is.
    """
    if out.is_dir():
        return
    settings = LoadSettings(device="cpu", precision=Precision.FLOAT32)
    mean, *others = (load_pipeline(model, settings) for model in models)
    for name, part in mean.components.items():
        if not isinstance(part, torch.nn.Module):
            continue
        states = [other.components[name].state_dict() for other in others]
        with torch.no_grad():
            for key, value in part.state_dict().items():
                if value.is_floating_point():
                    # As differences, so that what no training moved stays bit for bit.
                    value.add_(sum(state[key] - value for state in states) / len(models))
    save_pipeline(mean, out)


def save_pipeline(pipeline: Any, out: Path) -> None:
    """Write a pipeline aside, then rename it.

    Raises:
        OSError: The disk is full.
    """
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    with full_disk_in_plain(part):
        pipeline.save_pretrained(part)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
