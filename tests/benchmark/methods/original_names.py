"""Writes a tiny pipeline's weights under the names of Stable Diffusion's original checkpoints."""

import re
from typing import Any

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2", "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2",
}  # fmt: skip
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_checkpoint(pipeline: Any) -> dict[str, Any]:
    layers = pipeline.unet.config.layers_per_block
    crossed = [i for i, kind in enumerate(pipeline.unet.config.up_block_types) if "CrossAttn" in kind]
    weights = {
        f"model.diffusion_model.{unet_name(name, layers, crossed)}": tensor
        for name, tensor in pipeline.unet.state_dict().items()
    }
    ups = len(pipeline.vae.config.block_out_channels)
    for name, tensor in pipeline.vae.state_dict().items():
        own = vae_name(name, ups)
        # Attention in the original autoencoder is made of convolutions.
        convolution = "mid.attn_1" in own and tensor.ndim == 2
        weights[f"first_stage_model.{own}"] = tensor[:, :, None, None] if convolution else tensor
    for name, tensor in pipeline.text_encoder.state_dict().items():
        weights[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor
    return {name: tensor.clone().contiguous() for name, tensor in weights.items()}


def unet_name(name: str, layers: int, crossed: list[int]) -> str:
    def down(m: re.Match[str]) -> str:
        return f"input_blocks.{(layers + 1) * int(m[1]) + int(m[3]) + 1}.{int(m[2] == 'attentions')}."

    def up(m: re.Match[str]) -> str:
        return f"output_blocks.{(layers + 1) * int(m[1]) + int(m[3])}.{int(m[2] == 'attentions')}."

    def upsample(m: re.Match[str]) -> str:
        return f"output_blocks.{(layers + 1) * int(m[1]) + layers}.{1 + (int(m[1]) in crossed)}.conv"

    if ".resnets." in name:
        head, _, tail = name.rpartition(".")
        for theirs, original in RESNET.items():
            head = re.sub(rf"\.{theirs}$", f".{original}", head)
        name = f"{head}.{tail}"
    for theirs, original in ENDS.items():
        if name.startswith(f"{theirs}."):
            return name.replace(theirs, original, 1)
    name = re.sub(
        r"^down_blocks\.(\d+)\.downsamplers\.0\.conv",
        lambda m: f"input_blocks.{(layers + 1) * (int(m[1]) + 1)}.0.op",
        name,
    )
    name = re.sub(r"^up_blocks\.(\d+)\.upsamplers\.0\.conv", upsample, name)
    name = re.sub(r"^down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.", down, name)
    return re.sub(r"^up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.", up, name)


def vae_name(name: str, ups: int) -> str:
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0" in name:
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for theirs, original in ATTENTION.items():
            name = name.replace(f"attn_1.{theirs}.", f"attn_1.{original}.")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", r"down.\1.downsample.conv", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{ups - 1 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", lambda m: f"up.{ups - 1 - int(m[1])}.upsample.conv", name)
