"""The rows of the alignment stage: captions without pictures, to be answered with [IMG] tokens."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from smartedit.config.mixture import MixtureConfig
from smartedit.data.decoding import DecodingError
from smartedit.data.examples import Task
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture
from smartedit.data.row_access import RowAccess
from smartedit.model.prompts import INSTRUCTION_SLOT, Phrasing, PromptError, Prompts
from smartedit.model.sequences import IGNORED, Sequences, pad
from smartedit.model.tokenizer import TokenLayout
from smartedit.seeding import numpy_generator
from smartedit.training.stages import added_tokens

MAX_TOKENS = 256

RELEASED_CAPTION_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant can generate <img>. The "
    "assistant gives helpful, detailed, and polite answers to the user's questions."
)
"""The system message of the authors' alignment stage, a fact of the format: it does not speak of editing."""

CAPTION_PROMPTS = Prompts(
    system=RELEASED_CAPTION_SYSTEM,
    phrasings=(
        Phrasing(request="Draw a picture of this: [cap].", answer="Here is the picture [img]."),
        Phrasing(request="Please make an image that shows [cap].", answer="This image shows it [img]."),
        Phrasing(request="I would like to see [cap].", answer="Of course, have a look [img]."),
        Phrasing(request="What does [cap] look like?", answer="It looks like this [img]."),
        Phrasing(request="Turn these words into a picture: [cap].", answer="Your words as a picture [img]."),
        Phrasing(request="Illustrate [cap] for me.", answer="The illustration is done [img]."),
    ),
)
"""Requests to draw what a caption says, in phrasings of our own; the authors' 17 can be read with `read_prompts`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionRow:
    """One caption as tokens.

    Attributes:
        example_id: Which row of the manifest.
        input_ids: Request and answer.
        targets: The same with `IGNORED` before the answer.
        clip_ids: The caption for CLIP's text encoder, as long as there are queries.
    """

    example_id: str
    input_ids: list[int]
    targets: list[int]
    clip_ids: list[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionBatch:
    """What a step of the alignment stage reads.

    Attributes:
        sequences: Request and answer; no picture is spliced in, all [IMG] tokens belong to the answer.
        clip_ids: [B, num_queries], long.
    """

    sequences: Sequences
    clip_ids: Tensor

    def to(self, device: torch.device | str) -> "CaptionBatch":
        """The same on another device."""
        return CaptionBatch(sequences=self.sequences.to(device), clip_ids=self.clip_ids.to(device))


class CaptionDataset(Dataset[CaptionRow]):
    """The captions of a manifest in the endless order of a mixture.

    As in `ManifestDataset` a position is a visit: caption and phrasing follow from the position alone, and the data set
    can be sent to workers by fork and by pickling.
    """

    def __init__(
        self,
        manifest: Manifest,
        mixture: Mixture | Sequence[str],
        *,
        tokenizer: Any,
        layout: TokenLayout,
        text_tokenizer: Any,
        num_queries: int,
        length: int,
        prompts: Prompts = CAPTION_PROMPTS,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        """Prepare a data set.

        Args:
            manifest: The rows.
            mixture: Their order, or the names of sources whose captions are drawn all alike.
            tokenizer: A tokenizer with the [IMG] tokens.
            layout: Where they are.
            text_tokenizer: CLIP's tokenizer of transformers.
            num_queries: n, the length that CLIP's texts are padded and cut to.
            length: Number of positions: steps times batch size.
            prompts: The words around a caption.
            max_tokens: Longest request and answer in tokens; a caption is halved while it exceeds this.

        Raises:
            DecodingError: A source holds something else than captions, or there is no such source.
            MixtureError: No source is named, or one has no rows.
        """
        self.mixture = mixture if isinstance(mixture, Mixture) else _alike(manifest, mixture)
        _need_captions(manifest, self.mixture.names)
        self.manifest = manifest
        self.tokenizer = tokenizer
        self.layout = layout
        self.text_tokenizer = text_tokenizer
        self.num_queries = num_queries
        self.length = length
        self.prompts = prompts
        self.max_tokens = max_tokens
        self._opened: tuple[int, RowAccess] | None = None
        self._open()  # writes the copy of the rows before there are workers

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> CaptionRow:
        """The caption at a position.

        Raises:
            IndexError: The position is beyond the length.
        """
        if not 0 <= position < self.length:
            raise IndexError(f"there is no position {position} among {self.length}")
        example = self._open()[int(self.mixture.rows([position])[0])]
        drawn = numpy_generator("phrasing", example.example_id, position)
        phrasing = int(drawn.integers(len(self.prompts.phrasings)))
        return self.assemble(example.example_id, example.caption or "", phrasing)

    def assemble(self, example_id: str, caption: str, phrasing: int) -> CaptionRow:
        """Tokens of a caption.

        CLIP reads what is left of a caption that was halved, so that f is compared with words that were read.

        Args:
            example_id: Which row it is.
            caption: What a picture shows.
            phrasing: Which of the prompts' phrasings.

        Raises:
            PromptError: The words around the caption alone are too long.
        """
        words = " ".join(caption.split())
        while True:
            request, ids = self._encode(words, phrasing)
            if len(ids) <= self.max_tokens:
                break
            if not words:
                raise PromptError(
                    f"phrasing {phrasing} has {len(ids)} tokens without a caption, over {self.max_tokens}"
                )
            words = words[: len(words) // 2].rstrip()
        clip_ids: list[int] = self.text_tokenizer(
            words, padding="max_length", truncation=True, max_length=self.num_queries
        ).input_ids
        return CaptionRow(
            example_id=example_id,
            input_ids=ids,
            targets=[IGNORED] * request + ids[request:],
            clip_ids=clip_ids,
        )

    def collate(self, rows: Sequence[CaptionRow]) -> CaptionBatch:
        """A batch for the training step; `torch.utils.data.DataLoader(dataset, collate_fn=dataset.collate)`."""
        input_ids = pad([row.input_ids for row in rows], self.layout.pad)
        lengths = torch.tensor([[len(row.input_ids)] for row in rows])
        img = self.layout.img_tokens
        return CaptionBatch(
            sequences=Sequences(
                input_ids=input_ids,
                # By length: the padding is also the unknown token, which a caption can hold.
                attention_mask=torch.arange(input_ids.shape[1]) < lengths,
                img_mask=(input_ids >= img.start) & (input_ids < img.stop),
                targets=pad([row.targets for row in rows], IGNORED),
            ),
            clip_ids=torch.tensor([row.clip_ids for row in rows], dtype=torch.long),
        )

    def fixed_tokens(self) -> list[int]:
        """The tokens that requests begin with whatever the caption and the phrasing, up to an added token.

        They are the system message, and each request goes on behind them.
        """
        requests: list[list[int]] = []
        for phrasing in range(len(self.prompts.phrasings)):
            for words in ("a", "The 2"):
                length, ids = self._encode(words, phrasing)
                requests.append(ids[: length - 1])
        fixed: list[int] = []
        for column in zip(*requests, strict=False):
            if len(set(column)) > 1 or column[0] in added_tokens(self.layout):
                break
            fixed.append(column[0])
        return fixed

    def _encode(self, words: str, phrasing: int) -> tuple[int, list[int]]:
        """The length of a request, and the tokens of request and answer."""
        asked = self.prompts.phrasings[phrasing].request.replace(INSTRUCTION_SLOT, f'"{words}"')
        # One of the authors' phrasings names the caption in its answer too; their code leaves a literal "[cap]" there.
        answer = self.prompts.answer(self.layout.num_img_tokens, phrasing).replace(INSTRUCTION_SLOT, f'"{words}"')
        request = f"{self.prompts.system} USER: {asked} ASSISTANT:"
        text = f"{request} {answer}"
        first = [] if self.layout.bos is None else [self.layout.bos]
        encoded: list[list[int]] = self.tokenizer([request, text], add_special_tokens=False).input_ids
        return len(first) + len(encoded[0]), [*first, *encoded[1], self.layout.eos]

    def _open(self) -> RowAccess:
        """The file of this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), RowAccess(self.manifest, self.mixture.names))
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "manifest": (self.manifest.path, self.manifest.data_root)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        path, data_root = state["manifest"]
        self.__dict__.update(state, manifest=Manifest(path, data_root=data_root))


def caption_sources(manifest: Manifest) -> list[str]:
    """The sources of a manifest that hold captions and nothing else."""
    return [name for name, tasks in manifest.counts.items() if set(tasks) == {Task.CAPTION.value}]


def _alike(manifest: Manifest, names: Sequence[str]) -> Mixture:
    """All rows of some sources, each as often as the other."""
    _need_captions(manifest, names)
    return Mixture.over(manifest.sizes, MixtureConfig(weights={name: manifest.sizes[name] for name in names}))


def _need_captions(manifest: Manifest, names: Sequence[str]) -> None:
    """Refuse sources that the alignment stage cannot read, before training starts."""
    fitting = caption_sources(manifest)
    for name in names:
        if name not in fitting:
            held = ", ".join(f"{count} x {task}" for task, count in manifest.counts.get(name, {}).items())
            raise DecodingError(
                f"{manifest.path}: source {name!r} holds {held or 'no rows'}, and the alignment stage reads captions "
                f"only; sources with captions: {', '.join(fitting) or 'none, build the manifest with cc12m'}"
            )
