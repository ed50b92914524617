"""Batches of token sequences in which a picture takes the place of one token."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

IMAGE_PATCH = -200
"""Stands in a spliced sequence for a projected patch; no tokenizer's id is negative."""
IGNORED = -100
"""The target of a position that has none."""


class SequenceError(ValueError):
    """A row cannot be spliced; the message names the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequences:
    """Right-padded sequences with room for their pictures.

    Attributes:
        input_ids: [B, L]; `IMAGE_PATCH` where a patch goes.
        attention_mask: [B, L], False at padding.
        img_mask: [B, L], True where the input is an [IMG] token of the answer; there the hidden states are h.
        targets: [B, L], `IGNORED` where there is nothing to predict; None without a loss.
    """

    input_ids: Tensor
    attention_mask: Tensor
    img_mask: Tensor
    targets: Tensor | None = None

    def to(self, device: torch.device | str) -> "Sequences":
        """The same on another device."""
        return Sequences(
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            img_mask=self.img_mask.to(device),
            targets=None if self.targets is None else self.targets.to(device),
        )

    @property
    def lengths(self) -> Tensor:
        """Positions of each row up to its last one that is no padding, [B]."""
        place = torch.arange(1, self.attention_mask.shape[1] + 1, device=self.attention_mask.device)
        return (place * self.attention_mask).amax(dim=1)

    def rows(self, chosen: Tensor) -> "Sequences":
        """Some of the rows, [N] indices, without the padding that only longer rows need."""
        length = int(self.lengths[chosen].max())
        return Sequences(
            input_ids=self.input_ids[chosen, :length],
            attention_mask=self.attention_mask[chosen, :length],
            img_mask=self.img_mask[chosen, :length],
            targets=None if self.targets is None else self.targets[chosen, :length],
        )

    def behind(self, count: int) -> "Sequences":
        """The same without their first `count` positions."""
        return Sequences(
            input_ids=self.input_ids[:, count:],
            attention_mask=self.attention_mask[:, count:],
            img_mask=self.img_mask[:, count:],
            targets=None if self.targets is None else self.targets[:, count:],
        )


def pad(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    """Rows of different length as [B, longest], `value` on the right."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows], dtype=torch.long)


def splice(
    input_ids: Tensor,
    *,
    img_tokens: range,
    pad_id: int,
    num_patches: int,
    targets: Tensor | None = None,
    released_length: bool = False,
) -> Sequences:
    """Put the patches in the place of the picture's token.

    The picture's token is the first [IMG] token of a row: the released format uses `<img_0>` for both.

    Args:
        input_ids: [B, T], right-padded.
        img_tokens: The ids of the [IMG] tokens.
        pad_id: The id of padding.
        num_patches: Patches of a picture; 256 in LLaVA 1.1.
        targets: [B, T], or None.
        released_length: Let the token that the patches replace become one more padding at the end, as in the released
            code; it matters only to the mean that the QFormer takes of a row without [IMG] tokens.

    Returns:
        Sequences of length T + num_patches - 1, or one more.

    Raises:
        SequenceError: A row has no place for its picture.
    """
    is_img = (input_ids >= img_tokens.start) & (input_ids < img_tokens.stop)
    if not bool(is_img.any(dim=1).all()):
        row = int((~is_img.any(dim=1)).nonzero()[0, 0])
        raise SequenceError(f"row {row}: no token <img_0> keeps the picture's place")
    batch, length = input_ids.shape
    place = is_img.int().argmax(dim=1, keepdim=True)
    position = torch.arange(length + num_patches - (not released_length), device=input_ids.device).expand(batch, -1)
    patch = (position >= place) & (position < place + num_patches)
    # Behind the picture everything moves by num_patches - 1.
    source = torch.where(position < place, position, position - num_patches + 1).clamp(min=0)
    beyond = source >= length
    source = source.clamp(max=length - 1)

    def moved(values: Tensor, filler: int) -> Tensor:
        return values.gather(1, source).masked_fill(beyond, filler)

    ids = moved(input_ids, pad_id)
    return Sequences(
        input_ids=ids.masked_fill(patch, IMAGE_PATCH),
        attention_mask=(ids != pad_id) | patch,
        img_mask=(ids >= img_tokens.start) & (ids < img_tokens.stop) & ~patch,
        targets=None if targets is None else moved(targets, IGNORED).masked_fill(patch, IGNORED),
    )
