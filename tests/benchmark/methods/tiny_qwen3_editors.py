"""More folders of editing pipelines: those that read the instruction with a small random Qwen3-VL."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import transformers

from tests.benchmark.methods.tiny_words import qwen3_processor, qwen_tokenizer, siglip_processor, vision_ids


def qwen3_vision(tokenizer: Any, layers: int = 1, patch: int = 14) -> Any:
    words = vision_ids(tokenizer)
    del words["vision_token_id"]
    config = transformers.Qwen3VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": layers,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "vocab_size": len(tokenizer),
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "patch_size": patch,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        bos_token_id=0,
        eos_token_id=0,
        **words,
    )
    return transformers.Qwen3VLForConditionalGeneration(config)


def joyimage(kind: Any, denoiser: Any) -> Callable[[Path], Any]:
    def build(folder: Path) -> Any:
        del folder
        tokenizer = qwen_tokenizer()
        return kind(
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
            vae=diffusers.AutoencoderKLWan(
                base_dim=2,
                z_dim=16,
                dim_mult=[1] * 5,
                num_res_blocks=1,
                temperal_downsample=[False] * 4,
                scale_factor_spatial=16,
            ),
            text_encoder=qwen3_vision(tokenizer),
            tokenizer=tokenizer,
            transformer=denoiser(
                patch_size=[1, 2, 2],
                in_channels=16,
                hidden_size=32,
                num_attention_heads=2,
                text_dim=16,
                num_layers=1,
                rope_dim_list=[4, 6, 6],
            ),
            processor=qwen3_processor(tokenizer),
        )

    return build


def dreamlite(kind: Any) -> Callable[[Path], Any]:
    def build(folder: Path) -> Any:
        del folder
        tokenizer = qwen_tokenizer()
        return kind(
            text_encoder=qwen3_vision(tokenizer),
            tokenizer=tokenizer,
            processor=qwen3_processor(tokenizer),
            vae=diffusers.AutoencoderTiny(
                encoder_block_out_channels=(8, 8),
                decoder_block_out_channels=(8, 8),
                num_encoder_blocks=(1, 1),
                num_decoder_blocks=(1, 1),
            ),
            unet=diffusers.DreamLiteUNetModel(
                sample_size=8,
                in_channels=4,
                out_channels=4,
                down_block_types=("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
                up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
                block_out_channels=(32, 64),
                cross_attention_dim=16,
                attention_head_dim=8,
                layers_per_block=1,
                norm_num_groups=8,
                transformer_layers_per_block=1,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        )

    return build


def fibo2(folder: Path) -> Any:
    del folder
    tokenizer = qwen_tokenizer()
    return diffusers.BriaFibo2Pipeline(
        transformer=diffusers.BriaFibo2Transformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            cap_feat_dim=48,
            injection_layer_ids=(1,),
            perceiver_num_layers=1,
            min_num_gist_tokens=4,
            max_num_gist_tokens=8,
            gist_step=4,
            gist_min_text_len=4,
            gist_max_text_len=16,
            axes_dims=(4, 6, 6),
            axes_lens=(512, 64, 64),
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(4,) * 4,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=1,
            mid_block_add_attention=False,
        ),
        text_encoder=qwen3_vision(tokenizer, layers=36),  # the pipeline reads layers up to the 35th
        processor=qwen3_processor(tokenizer),
    )


def qwen_image_21(folder: Path) -> Any:
    del folder
    tokenizer = qwen_tokenizer()
    channels = 4
    return diffusers.QwenImage21Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKLQwenImage21(
            base_dim=4,
            decoder_base_dim=4,
            z_dim=channels,
            dim_mult=[1] * 5,
            num_res_blocks=1,
            temperal_downsample=[False, False, False, False],
            latents_mean=[0.0] * channels,
            latents_std=[1.0] * channels,
        ),
        text_encoder=qwen3_vision(tokenizer, patch=16),
        processor=qwen3_processor(tokenizer, patch=16, tokens=4096),  # one token for 2 x 2 latents, so as many as come
        transformer=diffusers.QwenImage21Transformer2DModel(
            in_channels=channels,
            out_channels=channels,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            context_in_dim=16,
            axes_dims_rope=(8, 4, 4),
        ),
    )


def z_image_omni(folder: Path) -> Any:
    del folder
    tokenizer = qwen_tokenizer()
    return diffusers.ZImageOmniPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4,) * 2,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            layers_per_block=1,
            latent_channels=16,
            norm_num_groups=1,
            mid_block_add_attention=False,
            shift_factor=0.1,
            scaling_factor=0.4,
        ),
        text_encoder=transformers.Qwen3Model(
            transformers.Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=2,
                head_dim=8,
            )
        ),
        tokenizer=tokenizer,
        transformer=diffusers.ZImageTransformer2DModel(
            in_channels=16,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=16,
            siglip_feat_dim=16,
            axes_dims=[4, 6, 6],
            axes_lens=[2048, 64, 64],
        ),
        siglip=transformers.Siglip2VisionModel(
            transformers.Siglip2VisionConfig(
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_patches=16,
                patch_size=16,
            )
        ),
        siglip_processor=siglip_processor(),
    )


QWEN3_BUILDERS: dict[str, Callable[[Path], Any]] = {
    "joyimage-edit": joyimage(diffusers.JoyImageEditPipeline, diffusers.JoyImageEditTransformer3DModel),
    "joyimage-edit-plus": joyimage(diffusers.JoyImageEditPlusPipeline, diffusers.JoyImageEditPlusTransformer3DModel),
    "dreamlite": dreamlite(diffusers.DreamLitePipeline),
    "dreamlite-mobile": dreamlite(diffusers.DreamLiteMobilePipeline),
    "bria-fibo2": fibo2,
    "qwen-image-2.1": qwen_image_21,
    "z-image-omni": z_image_omni,
}
"""A maker of a pipeline by the method that runs it."""
