"""The language model's answer, token by token; and its [IMG] states in one pass, which is the same and faster."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from smartedit.model.mllm import Mllm, MllmOutput
from smartedit.model.prefix import SharedPrefix
from smartedit.model.sequences import Sequences

ChooseToken = Callable[[Tensor], int]
"""Picks the next token from its scores [vocabulary]."""


def sampled(temperature: float, generator: torch.Generator) -> ChooseToken:
    """Draws at a temperature; the released code has 0.7 and no seed."""

    def choose(scores: Tensor) -> int:
        chances = (scores.float() / temperature).softmax(dim=-1).cpu()
        return int(torch.multinomial(chances, 1, generator=generator))

    return choose


def greedy(scores: Tensor) -> int:
    """The likeliest token."""
    return int(scores.argmax())


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the model said.

    Attributes:
        token_ids: The answer, its end included if it came.
        img_states: The hidden states whose input was an [IMG] token, [n, D]. The last [IMG] token has a state only if
            the answer went on behind it.
        complete: Whether the answer holds the [IMG] tokens once and in order, so that `img_states` is h of Eq. 3.
    """

    token_ids: list[int]
    img_states: Tensor
    complete: bool


@torch.no_grad()
def decode_answer(
    mllm: Mllm,
    sequences: Sequences,
    pixel_values: Tensor,
    *,
    img_tokens: range,
    eos: int,
    choose: ChooseToken = greedy,
    max_new_tokens: int = 512,
) -> Answer:
    """Let the model answer freely, one token at a time with cached keys and values, as the released code does.

    Args:
        mllm: The language model.
        sequences: One request, with the picture spliced in and without padding.
        pixel_values: The picture, [1, 3, H, W].
        img_tokens: The ids of the [IMG] tokens.
        eos: Ends the answer.
        choose: How to pick a token; the released code samples at temperature 0.7.
        max_new_tokens: Longest answer.
    """
    from transformers import DynamicCache

    ids = sequences.input_ids
    pixels: Tensor | None = pixel_values
    cache = DynamicCache()
    said: list[int] = []
    states: list[Tensor] = []
    position = ids.shape[1]
    while len(said) < max_new_tokens and (not said or said[-1] != eos):
        mask = torch.ones(1, position + len(said), dtype=torch.bool, device=ids.device)
        output = mllm(ids, attention_mask=mask, pixel_values=pixels, cache=cache)
        last = output.hidden_states[:, -1]
        if said and said[-1] in img_tokens:
            states.append(last[0])
        said.append(choose(mllm.logits(last)[0]))
        ids, pixels = ids.new_tensor([[said[-1]]]), None
    width = output.hidden_states.shape[-1]
    return Answer(
        token_ids=said,
        img_states=torch.stack(states) if states else output.hidden_states.new_zeros(0, width),
        complete=[t for t in said if t in img_tokens] == list(img_tokens) and said[-1] not in img_tokens,
    )


@torch.no_grad()
def read_answer(
    mllm: Mllm, sequences: Sequences, pixel_values: Tensor, prefix: SharedPrefix | None = None
) -> MllmOutput:
    """One pass over request and answer, in which `gather_img_states` finds h (Eq. 3).

    The decoder is causal, so a state depends on the tokens up to its own and on nothing else: if the free answer has
    these tokens, its states are these. It does not hold where the model would say something else, which
    `greedy_agreement` tells from the same pass.

    Args:
        mllm: The language model.
        sequences: Requests with answers, right-padded, pictures spliced in.
        pixel_values: The pictures, [B, 3, H, W].
        prefix: What `read_prefix` made of the words that all rows begin with; the hidden states are then those of the
            positions behind it.
    """
    read = 0 if prefix is None else prefix.get_seq_length()
    return mllm(
        sequences.input_ids[:, read:],
        attention_mask=sequences.attention_mask,
        pixel_values=pixel_values,
        cache=prefix,
    )


def gather_img_states(hidden_states: Tensor, img_mask: Tensor) -> Tensor:
    """h: the states [B, r, D] at the [IMG] positions of [B, L, D]; every row holds equally many."""
    batch, _, width = hidden_states.shape
    return hidden_states[img_mask].view(batch, -1, width)


@torch.no_grad()
def greedy_agreement(mllm: Mllm, sequences: Sequences, hidden_states: Tensor) -> Tensor:
    """The share of a given answer's [IMG] tokens that the model would have said itself at that place, [B].

    1 means that the free answer, once it has reached the first [IMG] token with these words, goes on as given.

    Args:
        mllm: The language model.
        sequences: Requests with answers.
        hidden_states: Of all positions, [B, L, D].
    """
    is_next = sequences.img_mask[:, 1:]
    agrees = mllm.logits(hidden_states[:, :-1][is_next]).argmax(-1) == sequences.input_ids[:, 1:][is_next]
    return agrees.view(len(hidden_states), -1).float().mean(dim=1)
