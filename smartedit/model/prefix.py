"""The words before the picture, which a prompt has in every request: read once, their keys and values shared."""

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from smartedit.model.mllm import Mllm
from smartedit.model.sequences import IMAGE_PATCH, Sequences


class SharedPrefix(DynamicCache):
    """Keys and values of a prefix, in front of every row of a batch; what comes behind it is not kept.

    A cache that grows would hold the keys and values of all positions in all layers at once, which one pass does not
    need.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """The prefix's keys and values with those of a layer behind them, [B, heads, n + L, width] each."""
        del args, kwargs
        layer, rows = self.layers[layer_idx], len(key_states)
        return (
            torch.cat([layer.keys.expand(rows, -1, -1, -1), key_states], dim=-2),
            torch.cat([layer.values.expand(rows, -1, -1, -1), value_states], dim=-2),
        )


@torch.no_grad()
def read_prefix(mllm: Mllm, token_ids: Tensor) -> SharedPrefix:
    """Read the words of a prefix.

    Args:
        mllm: The language model.
        token_ids: [n].
    """
    read = DynamicCache()
    mask = torch.ones(1, len(token_ids), dtype=torch.bool, device=token_ids.device)
    mllm(token_ids[None], attention_mask=mask, cache=read)
    prefix = SharedPrefix()
    prefix.layers = read.layers
    return prefix


def common_prefix(sequences: Sequences) -> Tensor:
    """The leading token ids that all rows have in common before their pictures, [n]; one pass may leave them out."""
    ids = sequences.input_ids
    common = ((ids == ids[:1]) & (ids != IMAGE_PATCH) & sequences.attention_mask).all(dim=0)
    return ids[0, : int(common.int().cumprod(dim=0).sum())]
