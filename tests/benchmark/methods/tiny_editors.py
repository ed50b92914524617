"""Folders of editing pipelines: the real classes, assembled from small random parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.benchmark.methods.tiny_flux_editors import FLUX_BUILDERS
from tests.benchmark.methods.tiny_glm_editor import glm_image
from tests.benchmark.methods.tiny_parts import (
    autoencoder,
    causal_autoencoder,
    clip_text,
    qwen_vision,
    scheduler,
    t5_text,
)
from tests.benchmark.methods.tiny_qwen3_editors import QWEN3_BUILDERS
from tests.benchmark.methods.tiny_words import qwen_processor, qwen_tokenizer, t5_tokenizer
from tests.benchmark.tiny_pipeline import tiny_tokenizer


def sdxl(folder: Path, noises: Any = None, **more: Any) -> Any:
    tokenizer = tiny_tokenizer(folder / "words")
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=8,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        norm_num_groups=4,
        cross_attention_dim=32,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    return diffusers.StableDiffusionXLInstructPix2PixPipeline(
        vae=autoencoder(4),
        text_encoder=clip_text(tokenizer),
        text_encoder_2=clip_text(tokenizer, transformers.CLIPTextModelWithProjection),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=noises
        or diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"),
        add_watermarker=False,
        **more,
    )


def cosxl(folder: Path) -> Any:
    """With the schedule that docs/methods.md gives to the real one."""
    noises = diffusers.EDMEulerScheduler(
        sigma_min=0.002, sigma_max=120.0, sigma_data=1.0, prediction_type="v_prediction", sigma_schedule="exponential"
    )
    return sdxl(folder, noises, is_cosxl_edit=True)


def qwen(kind: Any) -> Callable[[Path], Any]:
    def build(folder: Path) -> Any:
        del folder
        tokenizer = qwen_tokenizer()
        return kind(
            scheduler=scheduler(),
            vae=causal_autoencoder(diffusers.AutoencoderKLQwenImage),
            text_encoder=qwen_vision(tokenizer),
            tokenizer=tokenizer,
            processor=qwen_processor(tokenizer),
            transformer=diffusers.QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=1,
                joint_attention_dim=16,
                axes_dims_rope=(8, 4, 4),
            ),
        )

    return build


def omnigen(folder: Path) -> Any:
    del folder
    tokenizer = t5_tokenizer(4096)
    return diffusers.OmniGenPipeline(
        transformer=diffusers.OmniGenTransformer2DModel(
            hidden_size=16,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=16,
            num_layers=1,
            in_channels=4,
            time_step_dim=8,
            vocab_size=len(tokenizer),
            pad_token_id=0,
            rope_scaling={"long_factor": [1.0] * 4, "short_factor": [1.0] * 4},
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        vae=autoencoder(4, 4),
        tokenizer=tokenizer,
    )


def longcat(folder: Path) -> Any:
    del folder
    tokenizer = qwen_tokenizer()
    return diffusers.LongCatImageEditPipeline(
        scheduler=scheduler(),
        vae=autoencoder(16, 5, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1, scaling_factor=1.5),
        text_encoder=qwen_vision(tokenizer),
        tokenizer=tokenizer,
        text_processor=qwen_processor(tokenizer),
        transformer=diffusers.LongCatImageTransformer2DModel(
            in_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=[8, 4, 4],
        ),
    )


def fibo(folder: Path) -> Any:
    del folder
    tokenizer = t5_tokenizer(4096)
    return diffusers.BriaFiboEditPipeline(
        transformer=diffusers.BriaFiboTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            text_encoder_dim=16,
            axes_dims_rope=[0, 4, 4],
        ),
        scheduler=scheduler(),
        vae=causal_autoencoder(diffusers.AutoencoderKLWan, 16),
        text_encoder=transformers.SmolLM3ForCausalLM(
            transformers.SmolLM3Config(
                vocab_size=128256,  # the pipeline begins an empty prompt with token 128000
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=2,
                pad_token_id=0,
            )
        ),
        tokenizer=tokenizer,
    )


def chronoedit(folder: Path) -> Any:
    del folder
    tokenizer = t5_tokenizer()
    return diffusers.ChronoEditPipeline(
        tokenizer=tokenizer,
        text_encoder=t5_text(tokenizer, transformers.UMT5EncoderModel, transformers.UMT5Config),
        image_encoder=transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(
                hidden_size=4,
                intermediate_size=4,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=16,
            )
        ),
        image_processor=transformers.CLIPImageProcessor(crop_size=32, size=32),
        transformer=diffusers.ChronoEditTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=36,
            out_channels=16,
            text_dim=16,
            freq_dim=8,
            ffn_dim=16,
            num_layers=1,
            rope_max_seq_len=32,
            image_dim=4,
        ),
        vae=diffusers.AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1] * 4, num_res_blocks=1, temperal_downsample=[False, True, True]
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
    )


def kandinsky5(folder: Path) -> Any:
    words = qwen_tokenizer()
    clip = tiny_tokenizer(folder / "words")
    return diffusers.Kandinsky5I2IPipeline(
        transformer=diffusers.Kandinsky5Transformer3DModel(
            in_visual_dim=4,
            out_visual_dim=4,
            in_text_dim=16,
            in_text_dim2=16,
            time_dim=16,
            model_dim=16,
            ff_dim=16,
            num_text_blocks=1,
            num_visual_blocks=1,
            axes_dims=(4, 2, 2),
            visual_cond=True,
        ),
        vae=autoencoder(4, 4),
        text_encoder=qwen_vision(words),
        tokenizer=qwen_processor(words),
        text_encoder_2=clip_text(clip),
        tokenizer_2=clip,
        scheduler=scheduler(),
    )


BUILDERS: dict[str, Callable[[Path], Any]] = {
    "sdxl-instruct-pix2pix": sdxl,
    "cosxl-edit": cosxl,
    "qwen-image-edit": qwen(diffusers.QwenImageEditPipeline),
    "qwen-image-edit-plus": qwen(diffusers.QwenImageEditPlusPipeline),
    "omnigen": omnigen,
    "longcat-image-edit": longcat,
    "bria-fibo-edit": fibo,
    "chronoedit": chronoedit,
    "kandinsky5-edit": kandinsky5,
    "glm-image": glm_image,
    **FLUX_BUILDERS,
    **QWEN3_BUILDERS,
}
"""A maker of a pipeline by the method that runs it."""


def write_tiny_editor(name: str, folder: Path) -> Path:
    """The pipeline of a method as a folder."""
    torch.manual_seed(0)
    target = folder / name
    BUILDERS[name](folder / f"{name}-parts").save_pretrained(target)
    return target
