"""The QFormer: from the language model's hidden states h to text features f (paper, section 4.1; Eq. 3)."""

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch import Tensor, nn
from transformers import Blip2QFormerConfig, Blip2QFormerModel


class QFormer(ModelMixin, ConfigMixin):
    """f = Q_beta(h): n learnable queries read h by cross-attention (Eq. 3).

    BLIP-2's QFormer of transformers without its text side: that is what the released code leaves of it, with the
    names changed (`smartedit.model.layout`).
    """

    @register_to_config
    def __init__(
        self,
        *,
        encoder_size: int = 4096,
        num_queries: int = 77,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_layers: int = 6,
        num_heads: int = 12,
        cross_attention_frequency: int = 2,
        dropout: float = 0.1,
    ) -> None:
        """Build the module; see `smartedit.config.model.QFormerConfig` for the settings.

        Args:
            encoder_size: Width D of h.
            num_queries: n.
            hidden_size: Width of f.
            intermediate_size: Width of the feed-forward.
            num_layers: Layers.
            num_heads: Attention heads.
            cross_attention_frequency: Every which layer reads h, the first included.
            dropout: Dropout in training.
        """
        super().__init__()
        self.query_tokens = nn.Parameter(torch.empty(1, num_queries, hidden_size).normal_(std=0.02))
        self.transformer = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=hidden_size,
                num_hidden_layers=num_layers,
                num_attention_heads=num_heads,
                intermediate_size=intermediate_size,
                encoder_hidden_size=encoder_size,
                cross_attention_frequency=cross_attention_frequency,
                hidden_dropout_prob=dropout,
                attention_probs_dropout_prob=dropout,
                use_qformer_text_input=False,
            )
        )

    def forward(self, hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute f.

        Args:
            hidden_states: h, [B, L, D]; cast to the module's dtype.
            mask: [B, L], True at the [IMG] positions; None when h holds nothing else. A row that selects nothing
                gets the mean over all of its positions, so that it stays finite.

        Returns:
            f, [B, n, hidden_size].
        """
        hidden_states = hidden_states.to(self.query_tokens.dtype)
        bias = None
        if mask is not None:
            # A finite bias, not -inf: softmax over a row of equal values is uniform, over a row of -inf it is NaN.
            closed = ~mask.bool()[:, None, None, :]
            bias = torch.zeros_like(closed, dtype=hidden_states.dtype)
            bias = bias.masked_fill(closed, torch.finfo(hidden_states.dtype).min)
            bias = bias.expand(-1, -1, self.query_tokens.shape[1], -1)
        queries = self.query_tokens.expand(hidden_states.shape[0], -1, -1)
        output = self.transformer(
            query_embeds=queries, encoder_hidden_states=hidden_states, encoder_attention_mask=bias
        )
        features: Tensor = output.last_hidden_state
        return features
