"""Token rows of training examples: edits in the model's prompts, and conversations about a picture."""

from dataclasses import dataclass, replace
from typing import Any

from smartedit.data.decoding import DecodingError
from smartedit.data.examples import Speaker, TrainingExample, Turn
from smartedit.model.prompts import INSTRUCTION_SLOT, PromptError, Prompts, encode_edit
from smartedit.model.sequences import IGNORED
from smartedit.model.tokenizer import IMAGE_END, IMAGE_START, TokenLayout, img_token_texts

PICTURE = "<image>"
MAX_CONVERSATION = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRow:
    """The tokens of one example, the picture still one token long.

    Attributes:
        input_ids: Request and answer, or a whole conversation.
        targets: The same with `IGNORED` where nothing is to be learned.
        is_edit: Whether the row's picture counts in the diffusion loss.
    """

    input_ids: list[int]
    targets: list[int]
    is_edit: bool


def edit_tokens(
    tokenizer: Any, layout: TokenLayout, prompts: Prompts, instruction: str, *, phrasing: int, max_tokens: int
) -> TokenRow:
    """The tokens of an edit.

    An instruction that does not fit is left out and the row does not count as an edit, as in the released loaders of
    the large data sets; the row still teaches to answer with [IMG] tokens.
    """
    try:
        row = encode_edit(tokenizer, layout, prompts, instruction, phrasing=phrasing, max_tokens=max_tokens)
    except PromptError:
        if not instruction.strip():
            raise
        blank = _without_instruction(prompts, phrasing)
        row = encode_edit(tokenizer, layout, blank, "-", max_tokens=max_tokens)
        return TokenRow(input_ids=row.input_ids, targets=row.targets, is_edit=False)
    return TokenRow(input_ids=row.input_ids, targets=row.targets, is_edit=True)


def _without_instruction(prompts: Prompts, phrasing: int) -> Prompts:
    """The same words around a picture and nothing else."""
    chosen = prompts.phrasings[phrasing]
    place = f'"{IMAGE_START} {img_token_texts(1)[0]} {IMAGE_END}"'
    return replace(prompts, phrasings=(replace(chosen, request=chosen.request.replace(INSTRUCTION_SLOT, place)),))


def answer_tokens(
    tokenizer: Any,
    layout: TokenLayout,
    prompts: Prompts,
    example: TrainingExample,
    *,
    max_tokens: int = MAX_CONVERSATION,
) -> TokenRow:
    """The tokens of a conversation about a picture; what the assistant says is to be learned.

    The picture's tokens stand where `<image>` does, and line breaks around them stay (released format). Turns that
    do not fit are cut off as in the released code.

    Raises:
        DecodingError: The conversation does not take turns, shows no picture or several, or nothing is left to learn.
    """
    rounds = _rounds(example)
    ids: list[int] = [] if layout.bos is None else [layout.bos]
    targets = [IGNORED] * len(ids)
    for number, (question, answer) in enumerate(rounds):
        opening = f"{prompts.system} USER: " if number == 0 else "USER: "
        asked = f"{opening}{question.text} ASSISTANT:"
        request = _with_picture(tokenizer, layout, asked)
        whole = [*_with_picture(tokenizer, layout, f"{asked} {answer.text}"), layout.eos]
        ids += whole
        targets += [IGNORED] * len(request) + whole[len(request) :]
    if ids.count(layout.first_img_token) != 1:
        raise DecodingError(f"{example.example_id}: a conversation shows one picture, with one {PICTURE} in its turns")
    ids, targets = ids[:max_tokens], targets[:max_tokens]
    if layout.first_img_token not in ids or all(target == IGNORED for target in targets):
        raise DecodingError(f"{example.example_id}: the first question fills all {max_tokens} tokens")
    return TokenRow(input_ids=ids, targets=targets, is_edit=False)


def _rounds(example: TrainingExample) -> list[tuple[Turn, Turn]]:
    turns = example.conversation
    rounds = list(zip(turns[::2], turns[1::2], strict=False))
    if not rounds or any(q.speaker is not Speaker.HUMAN or a.speaker is not Speaker.ASSISTANT for q, a in rounds):
        raise DecodingError(f"{example.example_id}: the turns are not those of a person and an assistant in turn")
    return rounds


def _with_picture(tokenizer: Any, layout: TokenLayout, text: str) -> list[int]:
    """The tokens of a text; pieces between pictures are read on their own, so that their line breaks stay."""
    picture = [layout.image_start, layout.first_img_token, layout.image_end]
    ids: list[int] = []
    for number, piece in enumerate(text.split(PICTURE)):
        ids += [*(picture if number else []), *tokenizer(piece, add_special_tokens=False).input_ids]
    return ids
