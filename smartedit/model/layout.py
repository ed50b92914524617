"""How the released weights' parameter names map to ours: one table, read by the converter and by the parity tests."""

import re

_QFORMER = [
    (r"^embeddings\.LayerNorm\.", "layernorm."),
    (r"\.(attention|crossattention)\.self\.", r".\1.attention."),
]


def qformer_name(name: str) -> str | None:
    """Our name of a released QFormer parameter (`sd_query_tokens`, `sd_qformer.*`).

    Returns:
        The name in `smartedit.model.qformer.QFormer`; None for the position buffer, which nothing reads.
    """
    if name in {"sd_query_tokens", "query_tokens"}:
        return "query_tokens"
    inner = re.sub(r"^(sd_)?qformer\.", "", name)
    if inner == "embeddings.position_ids":
        return None
    for pattern, replacement in _QFORMER:
        inner = re.sub(pattern, replacement, inner)
    return f"transformer.{inner}"
