"""Parts that several small editing pipelines share: autoencoders, text encoders, a scheduler."""

from typing import Any

import diffusers
import transformers

from tests.benchmark.methods.tiny_words import vision_ids

FOUR = ("DownEncoderBlock2D",) * 4
UP_FOUR = ("UpDecoderBlock2D",) * 4


def autoencoder(channels: int, blocks: int = 2, **more: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(4,) * blocks,
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=32,
        **more,
    )


def clip_text(tokenizer: Any, kind: Any = None) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
    )
    return (kind or transformers.CLIPTextModel)(config)


def t5_text(tokenizer: Any, kind: Any = None, config: Any = None) -> Any:
    return (kind or transformers.T5EncoderModel)(
        (config or transformers.T5Config)(
            vocab_size=len(tokenizer),
            d_model=16,
            d_kv=8,
            d_ff=16,
            num_layers=1,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )


def qwen_vision(tokenizer: Any) -> Any:
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
        },
        bos_token_id=0,
        eos_token_id=0,
        **vision_ids(tokenizer),
    )
    return transformers.Qwen2_5_VLForConditionalGeneration(config)


def causal_autoencoder(kind: Any, channels: int = 4, downsamplings: int = 4) -> Any:
    """Four downsamplings, so that a picture of the only size that some pipelines take costs little."""
    return kind(
        base_dim=2,
        z_dim=channels,
        dim_mult=[1] * (downsamplings + 1),
        num_res_blocks=1,
        temperal_downsample=[False] * downsamplings,
        latents_mean=[0.0] * channels,
        latents_std=[1.0] * channels,
    )


def scheduler() -> Any:
    return diffusers.FlowMatchEulerDiscreteScheduler()
