"""Builds the parts of SmartEdit from a configuration; the only module that knows sizes and checkpoints."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, EulerAncestralDiscreteScheduler, UNet2DConditionModel

from smartedit.config.model import (
    BimConfig,
    Interaction,
    LanguageConfig,
    MllmConfig,
    ModelConfig,
    Projector,
    QFormerConfig,
    SchedulerConfig,
    TextConfig,
    UNetConfig,
    VaeConfig,
    VisionConfig,
)
from smartedit.hub import fetch_model, locate_model
from smartedit.model.bim import Bim
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.qformer import QFormer
from smartedit.model.smartedit import SmartEdit
from smartedit.model.text import EmptyText
from smartedit.model.unet import SmartEditUNet, widen_input

ADDED_BESIDE_IMG = 3
"""`<img>`, `<im_start>` and `<im_end>` come besides the r [IMG] tokens."""


def build_model(config: ModelConfig) -> SmartEdit:
    """Build the trainable model; parts without a checkpoint get random weights.

    Inside `with torch.device("meta")` a model of any size is built in seconds, without memory for its weights.
    """
    mllm = build_mllm(config.mllm)
    return SmartEdit(
        mllm=mllm,
        qformer=build_qformer(config.qformer, encoder_size=mllm.hidden_size),
        bim=build_bim(config.bim, text_size=config.qformer.hidden_size, output_size=config.unet.block_channels[0]),
        unet=build_unet(config.unet, text_size=config.qformer.hidden_size),
        empty_text=EmptyText(num_tokens=config.qformer.num_queries, hidden_size=config.qformer.hidden_size),
    )


def build_mllm(config: MllmConfig) -> ImageTextMllm:
    """Build the language model with room for the added tokens, and LoRA where it is asked for.

    A checkpoint of transformers is taken as it is (LLaVA 1.5, or another image-text model); the sizes in `config` are
    those of LLaVA 1.1, which transformers cannot load, and of random models.
    """
    lora = config.lora
    if config.checkpoint is None:
        settings: dict[str, Any] = {}
        if lora is not None:
            settings = {
                "lora_rank": lora.rank,
                "lora_alpha": lora.alpha,
                "lora_dropout": lora.dropout,
                "lora_targets": lora.target_modules,
            }
        random: ImageTextMllm = ImageTextMllm(
            architecture=llava_architecture(config.language, config.vision, config.num_img_tokens),
            linear_projector=config.projector is Projector.LINEAR,
            feature_layer=config.vision.feature_layer,
            **settings,
        )
        return random
    from transformers import AutoModelForImageTextToText

    loaded = AutoModelForImageTextToText.from_pretrained(locate_model(config.checkpoint), dtype="auto")
    mllm: ImageTextMllm = ImageTextMllm.around(loaded, feature_layer=config.vision.feature_layer)
    if lora is not None:
        mllm.add_lora(rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=lora.target_modules)
    return mllm


def llava_architecture(language: LanguageConfig, vision: VisionConfig, num_img_tokens: int) -> dict[str, Any]:
    """A LLaVA in transformers' form, vocabulary with the added tokens included."""
    return {
        "model_type": "llava",
        "vision_feature_layer": vision.feature_layer,
        "vision_feature_select_strategy": "default",
        "text_config": {
            "model_type": "llama",
            "vocab_size": language.vocab_size + ADDED_BESIDE_IMG + num_img_tokens,
            "hidden_size": language.hidden_size,
            "intermediate_size": language.intermediate_size,
            "num_hidden_layers": language.num_layers,
            "num_attention_heads": language.num_heads,
            "num_key_value_heads": language.num_heads,
            "max_position_embeddings": language.max_positions,
            "rms_norm_eps": language.rms_norm_eps,
            "tie_word_embeddings": False,
        },
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "num_hidden_layers": vision.num_layers,
            "num_attention_heads": vision.num_heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "hidden_act": "quick_gelu",
        },
    }


def build_qformer(config: QFormerConfig, *, encoder_size: int) -> QFormer:
    """Build Q_beta for hidden states of width `encoder_size`."""
    qformer: QFormer = QFormer(
        encoder_size=encoder_size,
        num_queries=config.num_queries,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_layers=config.num_layers,
        num_heads=config.num_heads,
        cross_attention_frequency=config.cross_attention_frequency,
        dropout=config.dropout,
    )
    return qformer


def build_bim(config: BimConfig, *, text_size: int, output_size: int) -> Bim | None:
    """Build the interaction module, or None for Table 2's plain model.

    Args:
        config: Which form.
        text_size: Width of f.
        output_size: Width of v', the UNet's first level.
    """
    settings = bim_settings(config, text_size=text_size, output_size=output_size)
    return None if settings is None else Bim(**settings)


def bim_settings(config: BimConfig, *, text_size: int, output_size: int) -> dict[str, Any] | None:
    """The configuration of the module that `build_bim` would build, or None for Table 2's plain model."""
    if config.interaction is Interaction.PLAIN:
        return None
    return {
        "text_size": text_size,
        "hidden_size": config.hidden_size,
        "output_size": output_size,
        "num_heads": config.num_heads,
        "mlp_size": config.mlp_size,
        "depth": config.depth,
        "final_attention": config.final_attention,
        "position_encoding": config.position_encoding,
        "first_self_attention_residual": config.first_self_attention_residual,
        "text_residual": config.text_residual,
        "bidirectional": config.interaction is Interaction.BIDIRECTIONAL,
    }


def build_unet(config: UNetConfig, *, text_size: int) -> SmartEditUNet:
    """Build the denoiser for text features of width `text_size`, or start from a checkpoint of 4 or 8 channels."""
    unet: SmartEditUNet
    if config.checkpoint is None:
        down = ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in config.attention_levels]
        up = ["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(config.attention_levels)]
        unet = SmartEditUNet(
            sample_size=config.sample_size,
            in_channels=8,
            out_channels=4,
            layers_per_block=config.layers_per_block,
            block_out_channels=config.block_channels,
            norm_num_groups=config.norm_groups,
            cross_attention_dim=text_size,
            attention_head_dim=config.num_heads,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
        )
        return unet
    loaded = UNet2DConditionModel.from_pretrained(_part(config.checkpoint, "unet"))
    if loaded.conv_in.in_channels == 4:
        widen_input(loaded)
    with torch.device("meta"):
        unet = SmartEditUNet.from_config({**loaded.config, "in_channels": loaded.conv_in.in_channels})
    unet.load_state_dict(loaded.state_dict(), assign=True)
    return unet


def build_vae(config: VaeConfig) -> AutoencoderKL:
    """Build the autoencoder, or load its checkpoint; frozen."""
    if config.checkpoint is not None:
        vae = AutoencoderKL.from_pretrained(_part(config.checkpoint, "vae"))
    else:
        levels = len(config.block_channels)
        vae = AutoencoderKL(
            block_out_channels=config.block_channels,
            layers_per_block=config.layers_per_block,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_groups,
            scaling_factor=config.scaling_factor,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
        )
    return vae.requires_grad_(False).eval()


def build_text_encoder(config: TextConfig, *, hidden_size: int, num_tokens: int) -> Any:
    """Build CLIP's text encoder, or load its checkpoint; frozen.

    Args:
        config: Sizes and checkpoint.
        hidden_size: Its width, which is that of f.
        num_tokens: Its text length, which is the number of queries.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    if config.checkpoint is not None:
        encoder = CLIPTextModel.from_pretrained(_part(config.checkpoint, "text_encoder"))
    else:
        encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=config.vocab_size,
                hidden_size=hidden_size,
                intermediate_size=config.intermediate_size,
                num_hidden_layers=config.num_layers,
                num_attention_heads=config.num_heads,
                max_position_embeddings=num_tokens,
                hidden_act="quick_gelu",
                bos_token_id=config.vocab_size - 2,
                eos_token_id=config.vocab_size - 1,
                pad_token_id=config.vocab_size - 1,
            )
        )
    return encoder.requires_grad_(False).eval()


def _part(checkpoint: str, name: str) -> Path:
    """The folder of a part: the checkpoint's own, or inside a pipeline's, whose other weights are not fetched."""
    weights = ("model*.safetensors", "diffusion_pytorch_model*.safetensors")
    folder = fetch_model(checkpoint, allow_patterns=["*.json", f"{name}/*", *weights])
    return folder / name if (folder / name).is_dir() else folder


def build_training_scheduler(config: SchedulerConfig) -> DDPMScheduler:
    """The noise schedule of training."""
    return DDPMScheduler(**_schedule(config))


def build_sampling_scheduler(config: SchedulerConfig) -> EulerAncestralDiscreteScheduler:
    """The sampler of the released pipeline; any other of diffusers may take its place."""
    return EulerAncestralDiscreteScheduler(**_schedule(config), timestep_spacing="linspace")


def _schedule(config: SchedulerConfig) -> dict[str, Any]:
    return {
        "beta_start": config.beta_start,
        "beta_end": config.beta_end,
        "beta_schedule": config.beta_schedule,
        "num_train_timesteps": config.num_train_timesteps,
        "prediction_type": config.prediction_type,
        "rescale_betas_zero_snr": config.rescale_betas_zero_snr,
    }
