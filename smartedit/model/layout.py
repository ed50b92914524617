"""How the released weights' parameter names map to ours: one table, read by the converter and by the parity tests."""

import re
from dataclasses import dataclass


class UnknownNameError(ValueError):
    """A parameter's name belongs to no released file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a released parameter belongs.

    Attributes:
        part: The part of `SmartEdit`: mllm, qformer, bim or unet.
        name: The parameter's name in that part.
    """

    part: str
    name: str


_LORA_BASE = re.compile(r"\.(q_proj|v_proj)\.(weight|bias)$")
_BIM_HEADS = ("modulate_", "dimension_reduction_head_", "pe_layer.")
_VISION_PREFIX = re.compile(r"^vision_tower\.(vision_tower\.)?(vision_model\.)?")


def place(released: str) -> Place | None:
    """Where a released parameter belongs.

    Args:
        released: A name as in the files of the authors: `LLM-N`, `embeddings_qformer`, `modulate-N`, `unet-N`, and
            those of LLaVA's image encoder.

    Returns:
        The place; None for buffers that today's libraries compute themselves.

    Raises:
        UnknownNameError: The name belongs to no released file.
    """
    if released.endswith(("rotary_emb.inv_freq", "embeddings.position_ids")):
        return None
    if released in {"sd_query_tokens", "query_tokens"} or released.startswith(("sd_qformer.", "qformer.")):
        return Place(part="qformer", name=_qformer_name(released))
    if released.startswith("unet."):
        return Place(part="unet", name=released.removeprefix("unet."))
    if released.startswith(_BIM_HEADS):
        return Place(part="bim", name=released)
    if released.startswith("model.base_model.model."):
        # peft wraps the adapted projections; their own weights moved one level down since the release.
        name = _LORA_BASE.sub(r".\1.base_layer.\2", released.removeprefix("model.base_model.model."))
        return Place(part="mllm", name=f"model.model.language_model.{name}")
    if released.startswith("mm_projector."):
        return Place(part="mllm", name=f"model.model.multi_modal_projector.{released.removeprefix('mm_projector.')}")
    if released == "lm_head.weight":
        return Place(part="mllm", name="model.lm_head.weight")
    if released.startswith("vision_tower."):
        return Place(part="mllm", name=_VISION_PREFIX.sub("model.model.vision_tower.", released))
    raise UnknownNameError(f"{released!r} is no name of a released SmartEdit file")


def _qformer_name(released: str) -> str:
    if released in {"sd_query_tokens", "query_tokens"}:
        return "query_tokens"
    name = re.sub(r"^(sd_)?qformer\.", "transformer.", released)
    name = name.replace("transformer.embeddings.LayerNorm.", "transformer.layernorm.")
    return re.sub(r"\.(attention|crossattention)\.self\.", r".\1.attention.", name)
