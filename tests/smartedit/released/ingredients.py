"""Writes what a released checkpoint is put together from, in exactly the authors' layout, at any size."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor

from smartedit.config.model import ModelConfig
from smartedit.model.build import build_text_encoder, build_vae
from smartedit.model.layout import Place, place
from smartedit.model.released_check import shapes_of
from smartedit.model.released_sources import ReleasedFolders

STEP = 15000
LANGUAGE = "model.base_model.model."


def released_name(where: Place) -> str:
    """The authors' name of a weight of ours."""
    name = where.name
    if where.part == "unet":
        name = f"unet.{name}"
    if where.part == "qformer":
        name = re.sub(r"\.(attention|crossattention)\.attention\.", r".\1.self.", name)
        name = name.replace("transformer.layernorm.", "sd_qformer.embeddings.LayerNorm.")
        name = name.replace("transformer.", "sd_qformer.").replace("query_tokens", "sd_query_tokens")
    if where.part == "mllm":
        name = name.replace("model.model.language_model.", LANGUAGE).replace(".base_layer", "")
        name = name.replace("model.model.multi_modal_projector.", "mm_projector.").replace("model.lm_head", "lm_head")
        name = name.replace("model.model.vision_tower.", "vision_tower.vision_tower.vision_model.")
    assert place(name) == where, (name, where)
    return name


def random_values(config: ModelConfig, seed: int = 0) -> dict[str, Tensor]:
    """All weights of a model, by the authors' names; norms near 1."""
    generator = torch.Generator().manual_seed(seed)
    values = {}
    for where, shape in shapes_of(config).items():
        if where.part != "empty_text":
            value = torch.randn(shape, generator=generator) * 0.1
            values[released_name(where)] = value + 1 if "norm" in where.name and len(shape) == 1 else value
    return values


def split_by_file(values: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The authors' four files, and `clip` for the image encoder."""
    files: dict[str, dict[str, Tensor]] = {}
    for name, value in values.items():
        if name.startswith("vae."):
            continue
        if name.startswith(LANGUAGE):
            file = f"LLM-{STEP}/adapter_model.bin"
        elif name.startswith("unet."):
            file = f"unet-{STEP}/adapter_model.bin"
        elif name.startswith(("modulate_", "dimension_reduction", "pe_layer")):
            file = f"modulate-{STEP}/adapter_model.bin"
        elif name.startswith("vision_tower."):
            file, name = "clip", name.removeprefix("vision_tower.vision_tower.")
        else:
            file = f"embeddings_qformer/checkpoint-{STEP}_embeddings_qformer.bin"
        files.setdefault(file, {})[name] = value
    return files


def write_ingredients(
    root: Path, config: ModelConfig, values: Mapping[str, Tensor], tokenizer: Path, *, vae: AutoencoderKL | None = None
) -> ReleasedFolders:
    """Write all folders.

    The released vocabulary rows that LLaVA's replace are spoilt, so that a converter that keeps them is found out.
    """
    folders = ReleasedFolders(
        released=root / "released",
        vicuna=root / "vicuna",
        llava=root / "llava",
        instruct_diffusion=root / "instruct-diffusion",
        clip=root / "clip",
    )
    files = split_by_file(values)
    clip = files.pop("clip")
    rows = config.mllm.language.vocab_size
    embed, head = f"{LANGUAGE}embed_tokens.weight", "lm_head.weight"
    _write_llava(folders.llava, values[embed][:rows], values[head][:rows], values[f"{LANGUAGE}norm.weight"])
    for content in files.values():
        for name in {embed, head} & content.keys():
            content[name] = content[name].clone()
            content[name][:rows] = 7.0
    for i in range(config.mllm.language.num_layers):
        files[f"LLM-{STEP}/adapter_model.bin"][f"{LANGUAGE}layers.{i}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    qformer = files[f"embeddings_qformer/checkpoint-{STEP}_embeddings_qformer.bin"]
    qformer["sd_qformer.embeddings.position_ids"] = torch.arange(512)[None]
    for name, content in files.items():
        (folders.released / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, folders.released / name)
    _write_vicuna(folders.vicuna, config, tokenizer)
    _write_clip(folders.clip, config, clip)
    _write_diffusion(folders.instruct_diffusion, config, vae)
    return folders


def _write_llava(folder: Path, embed: Tensor, head: Tensor, norm: Tensor) -> None:
    """Two shards with an index; three rows more than plain, as LLaVA's own tokens are."""
    folder.mkdir(parents=True)
    more = torch.zeros(3, embed.shape[1])
    shards = {
        "pytorch_model-00001-of-00002.bin": {"model.embed_tokens.weight": torch.cat([embed, more])},
        "pytorch_model-00002-of-00002.bin": {"model.norm.weight": norm, "lm_head.weight": torch.cat([head, more])},
    }
    for name, content in shards.items():
        torch.save(content, folder / name)
    weight_map = {name: file for file, content in shards.items() for name in content}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps({"mm_vision_tower": "openai/clip-vit-large-patch14"}))


def _write_vicuna(folder: Path, config: ModelConfig, tokenizer: Path) -> None:
    language = config.mllm.language
    sizes = {
        "vocab_size": language.vocab_size,
        "hidden_size": language.hidden_size,
        "intermediate_size": language.intermediate_size,
        "num_hidden_layers": language.num_layers,
        "num_attention_heads": language.num_heads,
        "max_position_embeddings": language.max_positions,
        "rms_norm_eps": language.rms_norm_eps,
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(sizes))
    shutil.copy(tokenizer / "tokenizer.model", folder)


def _write_clip(folder: Path, config: ModelConfig, image_side: Mapping[str, Tensor]) -> None:
    """As published: both sides in one file, of which the converter takes one."""
    vision = config.mllm.vision
    sizes = {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "num_hidden_layers": vision.num_layers,
        "num_attention_heads": vision.num_heads,
        "image_size": vision.image_size,
        "patch_size": vision.patch_size,
    }
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"vision_config": sizes, "text_config": {}}))
    other = {"logit_scale": torch.ones(()), "visual_projection.weight": torch.ones(4, 4)}
    position_ids = {"vision_model.embeddings.position_ids": torch.arange(5)[None]}
    save_file({**image_side, **other, **position_ids}, folder / "model.safetensors")


def _write_diffusion(folder: Path, config: ModelConfig, vae: AutoencoderKL | None) -> None:
    """UNet sizes as diffusers writes them, an autoencoder and a text encoder."""
    unet = config.unet
    kinds = ["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in unet.attention_levels]
    sizes = {
        "block_out_channels": unet.block_channels,
        "down_block_types": kinds,
        "layers_per_block": unet.layers_per_block,
        "attention_head_dim": unet.num_heads,
        "norm_num_groups": unet.norm_groups,
        "cross_attention_dim": config.qformer.hidden_size,
    }
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text(json.dumps(sizes))
    torch.manual_seed(1)
    if vae is None:
        vae = build_vae(config.vae)
        for name, value in vae.named_parameters():
            if "norm" in name:
                value.data += 0.1 * torch.randn_like(value)  # as if trained
    vae.save_pretrained(folder / "vae")
    encoder = build_text_encoder(
        config.text, hidden_size=config.qformer.hidden_size, num_tokens=config.qformer.num_queries
    )
    encoder.save_pretrained(folder / "text_encoder")
