"""Folders of three families of inpainting pipelines: the real classes of diffusers over small random parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

SMALL_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "projection_dim": 32,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}


def autoencoder(**more: Any) -> Any:
    """Eight times smaller, as all three families have it."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        **more,
    )


def clip_tokenizer(clip: Path) -> Any:
    return transformers.CLIPTokenizerFast.from_pretrained(clip, model_max_length=32)


def clip_text(tokenizer: Any, kind: Any) -> Any:
    return kind(transformers.CLIPTextConfig(vocab_size=len(tokenizer), **SMALL_TEXT))


def unet(**more: Any) -> Any:
    """Nine input channels: latents, the mask and the masked picture."""
    return diffusers.UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=9,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        **more,
    )


def stable_diffusion(clip: Path) -> Any:
    tokenizer = clip_tokenizer(clip)
    return diffusers.StableDiffusionInpaintPipeline(
        vae=autoencoder(),
        text_encoder=clip_text(tokenizer, transformers.CLIPTextModel),
        tokenizer=tokenizer,
        unet=unet(cross_attention_dim=32),
        scheduler=diffusers.DDIMScheduler(num_train_timesteps=20),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl(clip: Path) -> Any:
    tokenizer = clip_tokenizer(clip)
    return diffusers.StableDiffusionXLInpaintPipeline(
        vae=autoencoder(),
        text_encoder=clip_text(tokenizer, transformers.CLIPTextModel),
        text_encoder_2=clip_text(tokenizer, transformers.CLIPTextModelWithProjection),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet(
            cross_attention_dim=64,  # both text encoders side by side
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 32,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        add_watermarker=False,
    )


def flux_fill(clip: Path) -> Any:
    tokenizer = clip_tokenizer(clip)
    letters = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0), *((chr(c), -3.0) for c in range(33, 127))]
    words = transformers.T5TokenizerFast(vocab=letters, extra_ids=0, model_max_length=64)
    return diffusers.FluxFillPipeline(
        vae=autoencoder(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1, scaling_factor=1.5),
        text_encoder=clip_text(tokenizer, transformers.CLIPTextModel),
        tokenizer=tokenizer,
        text_encoder_2=transformers.T5EncoderModel(
            transformers.T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        ),
        tokenizer_2=words,
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=4 * 4 + 4 * 4 + 4 * 8 * 8,  # latents, the masked picture's, the mask; packed 2 x 2
            out_channels=4 * 4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=32,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "StableDiffusionInpaintPipeline": stable_diffusion,
    "StableDiffusionXLInpaintPipeline": stable_diffusion_xl,
    "FluxFillPipeline": flux_fill,
}
"""A maker of a pipeline by the name of its class."""


def save_inpainting_pipeline(family: str, folder: Path, clip: Path) -> Path:
    """A pipeline of a family with seeded random weights, as its `save_pretrained` writes it."""
    torch.manual_seed(4)
    FAMILIES[family](clip).save_pretrained(folder)
    return folder
