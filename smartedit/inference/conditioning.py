"""From pictures and instructions to h and v, batched, and remembered for each picture and instruction."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from smartedit.model.decoding import Answer, decode_answer, gather_img_states, greedy_agreement, read_answer
from smartedit.model.images import encoder_pixels
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.prefix import SharedPrefix, common_prefix, read_prefix
from smartedit.model.prompts import Prompts, encode_edit, encode_request
from smartedit.model.sequences import pad, splice
from smartedit.model.tokenizer import TokenLayout


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What the language model made of one picture and instruction.

    Attributes:
        hidden_states: h, [r, D].
        image_features: v, [P, C].
        answer: What it said, where it was asked to speak; otherwise None.
        agreement: Share of the [IMG] tokens that it would have said itself behind the given words; below 1 the free
            decode would not emit the block, and h is what the block forces.
    """

    hidden_states: Tensor
    image_features: Tensor
    answer: str | None
    agreement: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """Reads requests with a language model.

    Attributes:
        mllm: The language model.
        tokenizer: With the added tokens.
        layout: Where they are.
        prompts: The words around an instruction.
        max_tokens: Longest conversation, picture not counted.
        device: Where the language model computes; with offloading not where its weights wait.
        prefixes: What was made of the words before the picture; added to here.
    """

    mllm: ImageTextMllm
    tokenizer: Any
    layout: TokenLayout
    prompts: Prompts
    max_tokens: int
    device: torch.device
    prefixes: dict[object, SharedPrefix] = field(default_factory=dict)

    @torch.no_grad()
    def read(self, images: Sequence[Image.Image], instructions: Sequence[str]) -> list[Reading]:
        """One pass over requests with the given answer (Eq. 3).

        Args:
            images: Upright RGB pictures.
            instructions: One for each.
        """
        rows = [
            encode_edit(self.tokenizer, self.layout, self.prompts, text, max_tokens=self.max_tokens).input_ids
            for text in instructions
        ]
        return self._read_rows(images, rows, [None] * len(rows))

    @torch.no_grad()
    def speak(self, images: Sequence[Image.Image], instructions: Sequence[str]) -> list[Reading]:
        """Let the model answer freely, one request at a time, and read the states behind its own words.

        Where the answer has no proper [IMG] block, the block is put behind the words that came before it went wrong.
        """
        rows, answers = [], []
        for image, text in zip(images, instructions, strict=True):
            request = encode_request(self.tokenizer, self.layout, self.prompts, text, max_tokens=self.max_tokens)
            answer = self._decode(image, request)
            words = _words_before_block(answer.token_ids, self.layout)
            rows.append([*request, *words, *self.layout.img_tokens])
            said = self.tokenizer.decode(answer.token_ids, skip_special_tokens=True)
            answers.append(said if answer.complete else f"{said} (without a proper [IMG] block; it was added)")
        return self._read_rows(images, rows, answers)

    def _decode(self, image: Image.Image, request: list[int]) -> Answer:
        pixels, ids = self._pixels([image]), torch.tensor([request])
        sequences = self._splice(ids).to(self.device)
        return decode_answer(
            self.mllm,
            sequences,
            pixels,
            img_tokens=self.layout.img_tokens,
            eos=self.layout.eos,
            max_new_tokens=max(1, self.max_tokens - len(request)),
        )

    def _read_rows(
        self, images: Sequence[Image.Image], rows: list[list[int]], answers: Sequence[str | None]
    ) -> list[Reading]:
        sequences = self._splice(pad(rows, self.layout.pad)).to(self.device)
        words = common_prefix(sequences)
        read = read_answer(self.mllm, sequences, self._pixels(images), self._prefix(words))
        rest = sequences.behind(len(words))
        states = gather_img_states(read.hidden_states, rest.img_mask)
        agreement = greedy_agreement(self.mllm, rest, read.hidden_states)
        assert read.image_features is not None
        return [
            Reading(hidden_states=h, image_features=v, answer=a, agreement=float(s))
            for h, v, a, s in zip(states, read.image_features, answers, agreement, strict=True)
        ]

    def _prefix(self, words: Tensor) -> SharedPrefix | None:
        """What the model made of the words before the picture, read once a prompt, place and precision."""
        if not len(words):
            return None
        key = (tuple(words.tolist()), self.device, self.mllm.dtype)
        if key not in self.prefixes:
            self.prefixes.clear()  # a pipeline has one prompt at a time
            self.prefixes[key] = read_prefix(self.mllm, words)
        return self.prefixes[key]

    def _splice(self, ids: Tensor) -> Any:
        return splice(ids, img_tokens=self.layout.img_tokens, pad_id=self.layout.pad, num_patches=self.mllm.num_patches)

    def _pixels(self, images: Sequence[Image.Image]) -> Tensor:
        return encoder_pixels(images, self.mllm.image_size).to(self.device)


def _words_before_block(token_ids: list[int], layout: TokenLayout) -> list[int]:
    stop = next((i for i, t in enumerate(token_ids) if t in layout.img_tokens or t == layout.eos), len(token_ids))
    return token_ids[: min(stop, layout.num_img_tokens)]


class ReadingCache:
    """The last readings, by the content of picture and instruction, kept on the CPU; and the prompt's own words.

    Attributes:
        prefixes: For `Reader`.
    """

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._kept: OrderedDict[str, Reading] = OrderedDict()
        self.prefixes: dict[object, SharedPrefix] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        """Forget everything; needed after the weights have changed."""
        self._kept.clear()
        self.prefixes.clear()

    def read(
        self,
        reader: Reader,
        images: Sequence[Image.Image],
        instructions: Sequence[str],
        *,
        variant: object,
        speak: bool,
    ) -> list[Reading]:
        """Readings of pictures and instructions, those known from before and the others read in one batch.

        Args:
            reader: Reads what is not known.
            images: Upright RGB pictures.
            instructions: One for each.
            variant: What a reading depends on besides picture, instruction and weights.
            speak: Let the model answer freely.
        """
        keys = [reading_key(i, text, variant) for i, text in zip(images, instructions, strict=True)]
        known = {key: self._kept[key] for key in keys if key in self._kept}
        new = [i for i, key in enumerate(keys) if key not in known and key not in keys[:i]]
        if new:
            read = reader.speak if speak else reader.read
            found = read([images[i] for i in new], [instructions[i] for i in new])
            known.update(zip([keys[i] for i in new], found, strict=True))
        for key in keys:
            self.put(key, known[key])
        return [known[key] for key in keys]

    def put(self, key: str, reading: Reading) -> None:
        """Remember a reading, and forget the one that was not used for longest."""
        self._kept[key] = Reading(
            hidden_states=reading.hidden_states.cpu(),
            image_features=reading.image_features.cpu(),
            answer=reading.answer,
            agreement=reading.agreement,
        )
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


def reading_key(image: Image.Image, instruction: str, *rest: object) -> str:
    """What a reading depends on besides the weights."""
    digest = hashlib.sha256(image.tobytes())
    digest.update(repr((image.size, image.mode, " ".join(instruction.split()), rest)).encode())
    return digest.hexdigest()
