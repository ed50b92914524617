"""Reads the sizes of a released model from the config files of what it is put together from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from smartedit.config.model import (
    LanguageConfig,
    LoraConfig,
    ModelConfig,
    UNetConfig,
    VaeConfig,
    VisionConfig,
    as_released,
)
from smartedit.model.released_sources import ReleasedError, ReleasedFolders, read_json


def read_sizes(folders: ReleasedFolders, lora: LoraConfig, usual: ModelConfig) -> ModelConfig:
    """The sizes that the ingredients' own config files state, in the form of the released code.

    Args:
        folders: The ingredients.
        lora: Rank and scale of the adapters.
        usual: Has the sizes that no file states: those of QFormer, BIM and sampling.

    Raises:
        ReleasedError: A config file is missing or lacks a size.
    """
    config = as_released(usual)
    unet = read_json(folders.instruct_diffusion / "unet" / "config.json", "--instruct-diffusion")
    clip = read_json(clip_folder(folders) / "config.json", "--clip")
    llava = folders.llava / "config.json"
    layer = read_json(llava).get("mm_vision_select_layer", VisionConfig().feature_layer) if llava.is_file() else -2
    mllm = replace(
        config.mllm,
        language=_language(read_json(folders.vicuna / "config.json", "--vicuna")),
        vision=_vision(clip.get("vision_config", clip), layer),
        lora=lora,
    )
    return replace(config, mllm=mllm, unet=_unet(unet), vae=_vae(folders.instruct_diffusion))


def _language(sizes: dict[str, Any]) -> LanguageConfig:
    usual = LanguageConfig()
    return LanguageConfig(
        vocab_size=sizes.get("vocab_size", usual.vocab_size),
        hidden_size=sizes["hidden_size"],
        intermediate_size=sizes["intermediate_size"],
        num_layers=sizes["num_hidden_layers"],
        num_heads=sizes["num_attention_heads"],
        max_positions=sizes.get("max_position_embeddings", usual.max_positions),
        rms_norm_eps=sizes.get("rms_norm_eps", usual.rms_norm_eps),
    )


def _vision(sizes: dict[str, Any], feature_layer: int) -> VisionConfig:
    usual = VisionConfig()
    return VisionConfig(
        hidden_size=sizes.get("hidden_size", usual.hidden_size),
        intermediate_size=sizes.get("intermediate_size", usual.intermediate_size),
        num_layers=sizes.get("num_hidden_layers", usual.num_layers),
        num_heads=sizes.get("num_attention_heads", usual.num_heads),
        image_size=sizes.get("image_size", usual.image_size),
        patch_size=sizes.get("patch_size", usual.patch_size),
        feature_layer=feature_layer,
    )


def _unet(sizes: dict[str, Any]) -> UNetConfig:
    usual = UNetConfig()
    kinds = sizes.get("down_block_types")
    return UNetConfig(
        sample_size=usual.sample_size,
        block_channels=tuple(sizes.get("block_out_channels", usual.block_channels)),
        attention_levels=tuple("CrossAttn" in kind for kind in kinds) if kinds else usual.attention_levels,
        layers_per_block=sizes.get("layers_per_block", usual.layers_per_block),
        num_heads=sizes.get("attention_head_dim", usual.num_heads),
        norm_groups=sizes.get("norm_num_groups", usual.norm_groups),
    )


def _vae(instruct_diffusion: Path) -> VaeConfig:
    usual = VaeConfig()
    sizes = read_json(instruct_diffusion / "vae" / "config.json", "--instruct-diffusion")
    return VaeConfig(
        block_channels=tuple(sizes.get("block_out_channels", usual.block_channels)),
        layers_per_block=sizes.get("layers_per_block", usual.layers_per_block),
        latent_channels=sizes.get("latent_channels", usual.latent_channels),
        norm_groups=sizes.get("norm_num_groups", usual.norm_groups),
        scaling_factor=sizes.get("scaling_factor", usual.scaling_factor),
    )


def clip_folder(folders: ReleasedFolders) -> Path:
    """Where CLIP lies: as named, or inside the LLaVA folder under the name in its config.

    Raises:
        ReleasedError: Neither.
    """
    if folders.clip is not None:
        return folders.clip
    config = folders.llava / "config.json"
    name = str(read_json(config).get("mm_vision_tower", "")) if config.is_file() else ""
    for candidate in (folders.llava / "vision_tower", folders.llava / name, Path(name)):
        if name and (candidate / "config.json").is_file():
            return candidate
    name = name or "openai/clip-vit-large-patch14"
    raise ReleasedError(f"the image encoder is not in {folders.llava}: name a folder with {name} as --clip")
