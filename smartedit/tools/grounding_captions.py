"""What both GroundingDINO adapters share: captions of many phrases, pixels, and token scores turned into detections.

GroundingDINO (Liu et al., ECCV 2024) reads a caption "apple. remote control." and scores each of its box queries
against each token. A query belongs to the phrase that holds its best token.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from smartedit.tools.protocols import Detection, GroundingRequest, ToolError

MOST_TOKENS = 250
"""A caption of the released models has at most 256 tokens."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """Phrases in one caption, and where their tokens are.

    Attributes:
        text: Lower case, each phrase with a full stop behind it.
        indices: Which requests the phrases belong to.
        spans: First and one past the last token of each phrase; token 0 is [CLS].
        length: Number of tokens, with [CLS] and [SEP].
    """

    text: str
    indices: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    length: int


def captions(phrases: Sequence[str], tokenize: Callable[[str], Sequence[int]]) -> Iterator[Caption]:
    """Pack phrases into captions.

    Args:
        phrases: In any case and number.
        tokenize: Token ids of a text without special tokens.

    Yields:
        Captions that together hold all phrases in order.

    Raises:
        ToolError: A phrase has no tokens, holds a full stop, or is too long.
    """
    words: list[str] = []
    indices: list[int] = []
    spans: list[tuple[int, int]] = []
    at = 1
    for index, phrase in enumerate(phrases):
        word = " ".join(phrase.lower().replace("?", " ").split()).strip(" .")
        count = len(tokenize(word))
        if not count or "." in word or count > MOST_TOKENS:
            raise ToolError(f"a phrase that GroundingDINO cannot read: {phrase!r}")
        if words and at + count + 2 > MOST_TOKENS:
            yield _caption(words, indices, spans, at)
            words, indices, spans, at = [], [], [], 1
        words.append(word)
        indices.append(index)
        spans.append((at, at + count))
        at += count + 1
    if words:
        yield _caption(words, indices, spans, at)


def _caption(words: list[str], indices: list[int], spans: list[tuple[int, int]], at: int) -> Caption:
    return Caption(text=". ".join(words) + ".", indices=tuple(indices), spans=tuple(spans), length=at + 1)


def pixels(image: Image.Image, short_side: int) -> Any:
    """A picture as the released models take it.

    Args:
        image: RGB.
        short_side: The shorter side after resizing, unless the longer one would pass 5/3 of it (800 and 1333).

    Returns:
        float32 tensor `3 x h x w`, normalised by ImageNet's mean and standard deviation.
    """
    import torch

    longest = round(short_side * 1333 / 800)
    scale = min(short_side / min(image.size), longest / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    values = np.asarray(image.resize(size, Image.Resampling.BILINEAR), dtype=np.float32) / 255
    normalised = (values - np.array(MEAN, np.float32)) / np.array(DEVIATION, np.float32)
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(2, 0, 1)))


def by_picture(requests: Sequence[GroundingRequest]) -> Iterator[list[int]]:
    """The indices of consecutive requests for the same picture."""
    group: list[int] = []
    for index, request in enumerate(requests):
        if group and requests[group[-1]].picture.image is not request.picture.image:
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def detections(
    scores: Any,
    boxes: Any,
    caption: Caption,
    phrases: Sequence[str],
    size: tuple[int, int],
    *,
    box_threshold: float,
    text_threshold: float,
) -> list[list[Detection]]:
    """Detections of each phrase of a caption.

    Args:
        scores: `Q x T` sigmoid scores of queries and tokens.
        boxes: `Q x 4` centres and sizes in [0, 1].
        caption: The caption.
        phrases: Its phrases as they were asked for.
        size: Width and height of the picture.
        box_threshold: Least score of a query's best token.
        text_threshold: At least half of the phrase's tokens must reach it.

    Returns:
        For each phrase its detections, best first.
    """
    table = np.asarray(scores, dtype=np.float32)
    best = np.stack([table[:, start:end].max(axis=1) for start, end in caption.spans], axis=1)
    owner = best.argmax(axis=1)
    width, height = size
    centre = np.asarray(boxes, dtype=np.float64)
    corners = np.concatenate([centre[:, :2] - centre[:, 2:] / 2, centre[:, :2] + centre[:, 2:] / 2], axis=1)
    corners = np.clip(corners, 0, 1) * np.array([width, height, width, height])
    found: list[list[Detection]] = []
    for number, (start, end) in enumerate(caption.spans):
        named = (table[:, start:end] >= text_threshold).mean(axis=1) >= 0.5
        kept = np.flatnonzero((owner == number) & (best[:, number] >= box_threshold) & named)
        kept = kept[np.argsort(-best[kept, number], kind="stable")]
        found.append(
            [
                Detection(
                    box=(float(corners[k, 0]), float(corners[k, 1]), float(corners[k, 2]), float(corners[k, 3])),
                    score=float(best[k, number]),
                    phrase=phrases[number],
                )
                for k in kept
            ]
        )
    return found
