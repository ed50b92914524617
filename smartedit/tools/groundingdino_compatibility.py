"""Lets groundingdino-py 0.4 build its text tower from today's transformers.

Its wrapper around BERT takes three methods from `BertModel` that transformers 5 no longer has. They are lent to the
class while a model is built; the wrapper keeps what it took.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def additive_mask(self: Any, attention_mask: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    """A mask of ones and zeros as numbers to add to attention scores.

    Args:
        self: The BERT model.
        attention_mask: `B x L`, or `B x L x L` as GroundingDINO gives it to keep phrases apart; 1 or True is visible.

    Returns:
        `B x 1 x 1 x L` or `B x 1 x L x L`: 0 where visible, else the smallest number of the model's precision.

    Raises:
        ValueError: Another number of dimensions.
    """
    dtype = next(self.parameters()).dtype
    if attention_mask.dim() == 2:
        mask = attention_mask[:, None, None, :]
    elif attention_mask.dim() == 3:
        mask = attention_mask[:, None, :, :]
    else:
        raise ValueError(f"an attention mask has 2 or 3 dimensions, not {attention_mask.dim()}")
    return (1.0 - mask.to(dtype)) * torch.finfo(dtype).min


def no_head_mask(self: Any, head_mask: torch.Tensor | None, layers: int, *_: Any, **__: Any) -> list[None]:
    """The head mask of every layer, of which GroundingDINO never has one.

    Raises:
        ValueError: There is one.
    """
    del self
    if head_mask is not None:
        raise ValueError("transformers 5 knows no head masks")
    return [None] * layers


LENT = {
    "get_extended_attention_mask": additive_mask,
    "invert_attention_mask": additive_mask,
    "get_head_mask": no_head_mask,
}


@contextmanager
def lent_methods() -> Iterator[None]:
    """Give `BertModel` the methods that it lacks, for the length of a block."""
    from transformers import BertModel

    missing = {name: method for name, method in LENT.items() if not hasattr(BertModel, name)}
    for name, method in missing.items():
        setattr(BertModel, name, method)
    try:
        yield
    finally:
        for name in missing:
            delattr(BertModel, name)
