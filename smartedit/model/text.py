"""CLIP's text encoder: what the QFormer is aligned to, and the features of the empty text for guidance."""

from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn


class EmptyText(ModelMixin, ConfigMixin):
    """The features of the empty text: all that is needed of CLIP's text encoder once the QFormer is trained.

    They stand in for f' in unconditional guidance and where training drops the condition.
    """

    @register_to_config
    def __init__(self, *, num_tokens: int = 77, hidden_size: int = 768) -> None:
        """Make room for the features.

        Args:
            num_tokens: CLIP's text length.
            hidden_size: CLIP's text width.
        """
        super().__init__()
        self.features = nn.Parameter(torch.zeros(1, num_tokens, hidden_size), requires_grad=False)

    def forward(self, batch_size: int) -> Tensor:
        """The features [B, num_tokens, hidden_size]."""
        return self.features.expand(batch_size, -1, -1)

    @classmethod
    def of(cls, text_encoder: Any, *, num_tokens: int = 77) -> "EmptyText":
        """Compute the features with a CLIP text model of transformers."""
        features = encode_text(text_encoder, empty_text_ids(text_encoder, num_tokens))
        empty: EmptyText = cls(num_tokens=num_tokens, hidden_size=features.shape[-1])
        with torch.no_grad():
            empty.features.copy_(features)
        return empty


def empty_text_ids(text_encoder: Any, num_tokens: int = 77) -> Tensor:
    """The ids of "" as CLIP's tokenizer pads them: begin, then end up to the full length.

    Begin and end are the last two rows of CLIP's vocabulary.
    """
    end = text_encoder.config.vocab_size - 1
    ids = torch.full((1, num_tokens), end, dtype=torch.long, device=text_encoder.device)
    ids[:, 0] = end - 1
    return ids


@torch.no_grad()
def encode_text(text_encoder: Any, input_ids: Tensor) -> Tensor:
    """The text features [B, L, C] of the frozen encoder, after its last norm."""
    features: Tensor = text_encoder(input_ids).last_hidden_state
    return features
