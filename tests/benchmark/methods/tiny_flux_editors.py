"""Folders of the FLUX editing pipelines: the real classes, assembled from small random parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import transformers

from tests.benchmark.methods.tiny_parts import FOUR, UP_FOUR, autoencoder, clip_text, scheduler, t5_text
from tests.benchmark.methods.tiny_words import pixtral_processor, qwen_tokenizer, t5_tokenizer
from tests.benchmark.tiny_pipeline import tiny_tokenizer


def kontext(folder: Path) -> Any:
    clip, t5 = tiny_tokenizer(folder / "words"), t5_tokenizer()
    return diffusers.FluxKontextPipeline(
        scheduler=scheduler(),
        vae=autoencoder(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1, scaling_factor=1.5),
        text_encoder=clip_text(clip),
        tokenizer=clip,
        text_encoder_2=t5_text(t5),
        tokenizer_2=t5,
        transformer=diffusers.FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
    )


def flux2_transformer(channels: int, text: int) -> Any:
    return diffusers.Flux2Transformer2DModel(
        in_channels=channels,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=text,
        axes_dims_rope=(4, 4, 4, 4),
    )


def flux2_autoencoder() -> Any:
    return diffusers.AutoencoderKLFlux2(
        down_block_types=FOUR[:2],
        up_block_types=UP_FOUR[:2],
        block_out_channels=(4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        mid_block_add_attention=False,
    )


def klein(kind: Any) -> Callable[[Path], Any]:
    def build(folder: Path) -> Any:
        del folder
        tokenizer = qwen_tokenizer()
        text = transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(
                vocab_size=len(tokenizer),
                hidden_size=8,
                intermediate_size=8,
                num_hidden_layers=27,  # the pipeline reads layers 9, 18 and 27
                num_attention_heads=1,
                num_key_value_heads=1,
                head_dim=8,
            )
        )
        return kind(
            scheduler=scheduler(),
            vae=flux2_autoencoder(),
            text_encoder=text,
            tokenizer=tokenizer,
            transformer=flux2_transformer(16, 24),
        )

    return build


def flux2(folder: Path) -> Any:
    del folder
    processor = pixtral_processor()
    text = {
        "model_type": "mistral",
        "vocab_size": len(processor.tokenizer),
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 30,  # the pipeline reads layers 10, 20 and 30
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 1024,
    }
    vision = {
        "model_type": "pixtral",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "head_dim": 8,
        "image_size": 32,
        "patch_size": 16,
    }
    return diffusers.Flux2Pipeline(
        scheduler=scheduler(),
        vae=flux2_autoencoder(),
        text_encoder=transformers.Mistral3ForConditionalGeneration(
            transformers.Mistral3Config(
                text_config=text, vision_config=vision, image_token_index=processor.image_token_id
            )
        ),
        tokenizer=processor,
        transformer=flux2_transformer(16, 24),
    )


FLUX_BUILDERS: dict[str, Callable[[Path], Any]] = {
    "flux-kontext": kontext,
    "flux2": flux2,
    "flux2-klein": klein(diffusers.Flux2KleinPipeline),
    "flux2-klein-kv": klein(diffusers.Flux2KleinKVPipeline),
}
"""A maker of a pipeline by the method that runs it."""
