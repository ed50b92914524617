"""The conversation that the model reads: system text, request with picture, answer with [IMG] tokens."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from smartedit.model.sequences import IGNORED
from smartedit.model.tokenizer import IMAGE_END, IMAGE_START, TokenLayout, img_token_texts

INSTRUCTION_SLOT, IMG_SLOT = "[cap]", " [img]."


class PromptError(ValueError):
    """An instruction or a file of phrasings cannot be used; the message says why and what would fit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phrasing:
    """One way to ask and to answer.

    Attributes:
        request: Holds `[cap]` once, where picture and instruction go.
        answer: Ends in ` [img].`, where the [IMG] tokens go.
    """

    request: str
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompts:
    """The words around an instruction.

    A model is best asked with the words that it was trained with. The system message is the released one, the phrasings
    of the package are ours; the released weights were trained with 30 phrasings of the authors, which `read_prompts`
    takes as a file.

    Attributes:
        system: Opens the conversation; `<img>` in it stands for pictures in general.
        phrasings: The first is used for inference, all of them for training.
    """

    system: str
    phrasings: tuple[Phrasing, ...]

    def request(self, instruction: str, phrasing: int = 0) -> str:
        """The text up to the answer, `USER:` and `ASSISTANT:` included.

        Raises:
            PromptError: The instruction is empty.
        """
        words = " ".join(instruction.split())
        if not words:
            raise PromptError("the instruction is empty: say what to change in the picture")
        slot = f'"{IMAGE_START} {img_token_texts(1)[0]} {IMAGE_END}{words}"'
        asked = self.phrasings[phrasing].request.replace(INSTRUCTION_SLOT, slot)
        return f"{self.system} USER: {asked} ASSISTANT:"

    def answer(self, num_img_tokens: int, phrasing: int = 0) -> str:
        """The answer's text with its [IMG] tokens, which end it."""
        return self.phrasings[phrasing].answer.replace(IMG_SLOT, " " + " ".join(img_token_texts(num_img_tokens)))


RELEASED_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant can generate <img>. The "
    "assistant needs to conduct the image to image translation task based on given image and text information. The "
    "assistant gives helpful, detailed, and polite answers to the user's questions."
)
"""The system message of the released weights' chat format; like its roles and separators, a fact of the format."""

OUR_PROMPTS = Prompts(
    system=RELEASED_SYSTEM,
    phrasings=(
        Phrasing(request="Edit this picture: [cap].", answer="Here is the edited picture [img]."),
        Phrasing(request="Please apply the following change: [cap].", answer="The change is made [img]."),
        Phrasing(request="I would like [cap] to be done here.", answer="Of course, this is the result [img]."),
        Phrasing(request="Take the picture and do this: [cap].", answer="Done, have a look [img]."),
        Phrasing(request="What would it look like after [cap]?", answer="It would look like this [img]."),
        Phrasing(request="My wish for this picture is [cap].", answer="Your wish turned into a picture [img]."),
    ),
)
"""The released chat format with phrasings of our own."""


def prompts_of(named: str | None) -> Prompts:
    """The words that a model's settings name: a file's or a shipped set's, ours where they name none."""
    return OUR_PROMPTS if named is None else read_prompts(named)


def read_prompts(path: Path | str) -> Prompts:
    """Read phrasings from a TOML file: `system = "..."` and `[[phrasings]]` with `request` and `answer`.

    Args:
        path: A file that ends in .toml, or the name of a set that ships with the package (`smartedit.presets.prompts`).

    Raises:
        PromptError: The file cannot be read, or a phrasing lacks its slot.
    """
    shipped = resources.files("smartedit.presets.prompts").joinpath(f"{path}.toml")
    source = Path(path) if str(path).endswith(".toml") else shipped
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
        prompts = Prompts(
            system=_text(table, "system"),
            phrasings=tuple(
                Phrasing(request=_text(p, "request"), answer=_text(p, "answer")) for p in table["phrasings"]
            ),
        )
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise PromptError(f"{path}: no file of phrasings ({type(error).__name__}: {error})") from error
    for number, phrasing in enumerate(prompts.phrasings, start=1):
        if phrasing.request.count(INSTRUCTION_SLOT) != 1:
            raise PromptError(f"{path}: phrasing {number} must hold {INSTRUCTION_SLOT} exactly once in its request")
        if not phrasing.answer.endswith(IMG_SLOT):
            raise PromptError(f"{path}: phrasing {number} must end its answer in {IMG_SLOT!r}")
    if not prompts.phrasings:
        raise PromptError(f"{path}: holds no [[phrasings]]")
    return prompts


def _text(table: dict[str, Any], key: str) -> str:
    if not isinstance(table[key], str):
        raise TypeError(f"{key} is {table[key]!r}, not a text")
    text: str = table[key]
    return text


@dataclass(frozen=True, kw_only=True, slots=True)
class EditRow:
    """The tokens of one edit, the picture still one token long.

    Attributes:
        input_ids: The request, and the answer where there is one.
        targets: The same with `IGNORED` before the answer, so that Eq. 2 counts the answer only.
    """

    input_ids: list[int]
    targets: list[int]


def encode_request(
    tokenizer: Any, layout: TokenLayout, prompts: Prompts, instruction: str, *, phrasing: int = 0, max_tokens: int
) -> list[int]:
    """The token ids of a request.

    Args:
        tokenizer: With the added tokens.
        layout: Where they are.
        prompts: The words around the instruction.
        instruction: What to change.
        phrasing: Which of the phrasings.
        max_tokens: Longest request and answer together.

    Raises:
        PromptError: The instruction is empty, holds a token of the format, or is too long; the message says by how many
            tokens.
    """
    _refuse_own_tokens(tokenizer, layout, instruction)
    ids = _encode(tokenizer, layout, prompts.request(instruction, phrasing))
    answer = _encode(tokenizer, layout, prompts.answer(layout.num_img_tokens, phrasing))
    excess = len(ids) + len(answer) - max_tokens  # the answer's BOS pays for the EOS at its end
    if excess > 0:
        raise PromptError(
            f"the instruction is {excess} tokens too long: with its {len(ids) + len(answer)} tokens the conversation "
            f"exceeds {max_tokens}; shorten {instruction[:40]!r}..."
        )
    return ids


def encode_edit(
    tokenizer: Any, layout: TokenLayout, prompts: Prompts, instruction: str, *, phrasing: int = 0, max_tokens: int
) -> EditRow:
    """The token ids and targets of a request with its answer; arguments and errors as in `encode_request`.

    The targets are those of the released code: the whole answer, its [IMG] tokens and the end. The paper's Eq. 2 counts
    the [IMG] tokens only (`smartedit.training.losses.img_token_targets`).
    """
    request = encode_request(tokenizer, layout, prompts, instruction, phrasing=phrasing, max_tokens=max_tokens)
    text = f"{prompts.request(instruction, phrasing)} {prompts.answer(layout.num_img_tokens, phrasing)}"
    ids = [*_encode(tokenizer, layout, text), layout.eos]
    return EditRow(input_ids=ids, targets=[IGNORED] * len(request) + ids[len(request) :])


def _refuse_own_tokens(tokenizer: Any, layout: TokenLayout, instruction: str) -> None:
    """An `<img_3>` in an instruction would be read as one of h's places, a `</s>` as the end of the conversation."""
    ids = {layout.system_image, layout.image_start, layout.image_end, layout.bos, layout.eos, *layout.img_tokens}
    held = [text for text in tokenizer.convert_ids_to_tokens(sorted(ids - {None})) if text in instruction]
    if held:
        raise PromptError(f"the instruction holds {held[0]}, a token of the model's own format; say it in other words")


def _encode(tokenizer: Any, layout: TokenLayout, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False).input_ids
    return ids if layout.bos is None else [layout.bos, *ids]
