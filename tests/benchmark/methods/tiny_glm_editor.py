"""GLM-Image: a language model draws the picture's coarse tokens before the denoiser runs; here both are small."""

from pathlib import Path
from typing import Any

import diffusers
import transformers

from tests.benchmark.methods.tiny_parts import FOUR, UP_FOUR, scheduler, t5_text
from tests.benchmark.methods.tiny_words import glm_processor

CODES = 64
"""Entries of the codebook; the language model's head knows no other token, so that it can draw nothing else."""


def language_model(processor: Any) -> Any:
    tokenizer = processor.tokenizer
    config = transformers.GlmImageConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "vision_vocab_size": CODES,
            "rope_parameters": {"mrope_section": (4, 2, 2), "rope_type": "default", "rope_theta": 1e4},
            "pad_token_id": 0,
            "eos_token_id": len(tokenizer) - 1,
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "image_size": 128,
            "patch_size": processor.image_processor.patch_size,
            "intermediate_size": 16,
        },
        vq_config={"embed_dim": 16, "num_embeddings": CODES, "latent_channels": 16},
        image_token_id=processor.image_token_id,
        image_start_token_id=tokenizer.convert_tokens_to_ids(tokenizer.bos_token),
        image_end_token_id=tokenizer.convert_tokens_to_ids("<|image_end|>"),
    )
    return transformers.GlmImageForConditionalGeneration(config)


def glm_image(folder: Path) -> Any:
    del folder
    glyphs, processor = transformers.ByT5Tokenizer(), glm_processor()
    return diffusers.GlmImagePipeline(
        tokenizer=glyphs,
        processor=processor,
        text_encoder=t5_text(glyphs),
        vision_language_encoder=language_model(processor),
        vae=diffusers.AutoencoderKL(
            block_out_channels=(4,) * 4,
            down_block_types=FOUR,
            up_block_types=UP_FOUR,
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=1,
            mid_block_add_attention=False,
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        transformer=diffusers.GlmImageTransformer2DModel(
            patch_size=2,  # with the autoencoder's 8 one token of 16 pixels, half of the language model's
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=16,
            time_embed_dim=16,
            condition_dim=8,
            prior_vq_quantizer_codebook_size=CODES,
        ),
        scheduler=scheduler(),
    )
