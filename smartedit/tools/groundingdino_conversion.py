"""The authors' GroundingDINO weights under the names of transformers' implementation."""

import re
from collections.abc import Mapping

import torch

BACKBONE = "model.backbone.conv_encoder.model"
SWIN = f"{BACKBONE}.swin"

# (pattern of an authors' name, name in transformers); the first that matches the whole name counts.
RENAMES: tuple[tuple[str, str], ...] = (
    (r"backbone\.0\.patch_embed\.proj\.(.+)", rf"{SWIN}.embeddings.patch_embeddings.projection.\1"),
    (r"backbone\.0\.patch_embed\.norm\.(.+)", rf"{SWIN}.embeddings.norm.\1"),
    (r"backbone\.0\.layers\.(\d+)\.downsample\.(.+)", rf"{SWIN}.encoder.layers.\1.downsample.\2"),
    (r"backbone\.0\.(layers\.\d+\.blocks\.\d+)\.norm1\.(.+)", rf"{SWIN}.encoder.\1.layernorm_before.\2"),
    (r"backbone\.0\.(layers\.\d+\.blocks\.\d+)\.norm2\.(.+)", rf"{SWIN}.encoder.\1.layernorm_after.\2"),
    (r"backbone\.0\.(layers\.\d+\.blocks\.\d+)\.mlp\.(.+)", rf"{SWIN}.encoder.\1.mlp.\2"),
    (r"backbone\.0\.(layers\.\d+\.blocks\.\d+)\.attn\.proj\.(.+)", rf"{SWIN}.encoder.\1.attention.o_proj.\2"),
    (
        r"backbone\.0\.(layers\.\d+\.blocks\.\d+)\.attn\.relative_position_bias_table",
        rf"{SWIN}.encoder.\1.attention.relative_position_bias.relative_position_bias_table",
    ),
    (r"bert\.(.+)", r"model.text_backbone.\1"),
    (r"feat_map\.(.+)", r"model.text_projection.\1"),
    (r"input_proj\.(.+)", r"model.input_proj_vision.\1"),
    (r"bbox_embed\.(.+)", r"bbox_embed.\1"),
    (r"transformer\.decoder\.bbox_embed\.(.+)", r"model.decoder.bbox_embed.\1"),
    (r"transformer\.level_embed", r"model.level_embed"),
    (r"transformer\.tgt_embed\.(.+)", r"model.query_position_embeddings.\1"),
    (r"transformer\.enc_output\.(.+)", r"model.enc_output.\1"),
    (r"transformer\.enc_output_norm\.(.+)", r"model.enc_output_norm.\1"),
    (r"transformer\.enc_out_bbox_embed\.(.+)", r"model.encoder_output_bbox_embed.\1"),
    (r"transformer\.decoder\.norm\.(.+)", r"model.decoder.layer_norm.\1"),
    (r"transformer\.decoder\.ref_point_head\.(.+)", r"model.decoder.reference_points_head.\1"),
)

# Within a layer: (authors' prefix, transformers' prefix, renames of what follows).
LAYERS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        r"transformer\.encoder\.layers\.(\d+)\.",
        r"model.encoder.layers.\1.deformable_layer.",
        (("linear1", "fc1"), ("linear2", "fc2"), ("norm1", "self_attn_layer_norm"), ("norm2", "final_layer_norm")),
    ),
    (
        r"transformer\.encoder\.text_layers\.(\d+)\.",
        r"model.encoder.layers.\1.text_enhancer_layer.",
        (("linear1", "fc1"), ("linear2", "fc2"), ("norm1", "layer_norm_before"), ("norm2", "layer_norm_after")),
    ),
    (
        r"transformer\.encoder\.fusion_layers\.(\d+)\.",
        r"model.encoder.layers.\1.fusion_layer.",
        (
            ("gamma_l", "text_param"),
            ("gamma_v", "vision_param"),
            ("layer_norm_l", "layer_norm_text"),
            ("layer_norm_v", "layer_norm_vision"),
            ("attn.out_l_proj", "attn.out_text_proj"),
            ("attn.out_v_proj", "attn.out_vision_proj"),
            ("attn.values_l_proj", "attn.values_text_proj"),
            ("attn.values_v_proj", "attn.values_vision_proj"),
            ("attn.l_proj", "attn.text_proj"),
            ("attn.v_proj", "attn.vision_proj"),
        ),
    ),
    (
        r"transformer\.decoder\.layers\.(\d+)\.",
        r"model.decoder.layers.\1.",
        (
            ("linear1", "fc1"),
            ("linear2", "fc2"),
            ("cross_attn", "encoder_attn"),
            ("ca_text", "encoder_attn_text"),
            ("catext_norm", "encoder_attn_text_layer_norm"),
            ("norm1", "encoder_attn_layer_norm"),
            ("norm2", "self_attn_layer_norm"),
            ("norm3", "final_layer_norm"),
        ),
    ),
)


def to_transformers(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights of `groundingdino-py` for `GroundingDinoForObjectDetection`.

    Args:
        state: The authors' state dict (the entry `model` of a released checkpoint, without `module.`).

    Returns:
        A state dict for `load_state_dict(strict=True)`.

    Raises:
        ValueError: A name is not known.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if (
            name.endswith(("relative_position_index", "position_ids", "bert.embeddings.token_type_ids"))
            or ".pooler." in name
        ):
            continue
        renamed.update(_renamed(name, tensor))
    # The final norm of transformers' Swin is not used by the detector; it is kept neutral.
    last = renamed[f"{BACKBONE}.hidden_states_norms.stage4.weight"]
    renamed[f"{SWIN}.layernorm.weight"] = torch.ones_like(last)
    renamed[f"{SWIN}.layernorm.bias"] = torch.zeros_like(last)
    return renamed


def _renamed(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    qkv = re.fullmatch(r"backbone\.0\.(layers\.\d+\.blocks\.\d+)\.attn\.qkv\.(weight|bias)", name)
    if qkv:
        names = [f"{SWIN}.encoder.{qkv[1]}.attention.{part}_proj.{qkv[2]}" for part in "qkv"]
        return dict(zip(names, tensor.chunk(3), strict=True))
    norm = re.fullmatch(r"backbone\.0\.norm(\d)\.(weight|bias)", name)
    if norm:
        return {f"{BACKBONE}.hidden_states_norms.stage{int(norm[1]) + 1}.{norm[2]}": tensor}
    for pattern, prefix, inner in LAYERS:
        match = re.match(pattern, name)
        if match:
            return _in_layer(match.expand(prefix), name[match.end() :], tensor, inner)
    for pattern, replacement in RENAMES:
        match = re.fullmatch(pattern, name)
        if match:
            return {match.expand(replacement): tensor}
    raise ValueError(f"not a weight of GroundingDINO: {name}")


def _in_layer(
    prefix: str, rest: str, tensor: torch.Tensor, renames: tuple[tuple[str, str], ...]
) -> dict[str, torch.Tensor]:
    for old, new in renames:
        if rest == old or rest.startswith(f"{old}."):
            rest = new + rest[len(old) :]
            break
    packed = re.fullmatch(r"(.+)\.in_proj_(weight|bias)", rest)
    if packed:
        names = [f"{prefix}{packed[1]}.{part}.{packed[2]}" for part in ("query", "key", "value")]
        return dict(zip(names, tensor.chunk(3), strict=True))
    return {prefix + rest: tensor}
