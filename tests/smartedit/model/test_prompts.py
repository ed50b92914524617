"""The conversation's token ids: those of the authors' tokenizer, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from smartedit.model.prompts import (
    IGNORED,
    OUR_PROMPTS,
    Phrasing,
    PromptError,
    Prompts,
    encode_edit,
    encode_request,
    read_prompts,
)
from smartedit.model.tokenizer import TokenLayout, VocabularyError, add_img_tokens, load_tokenizer, read_layout
from tests.smartedit.model.recipe import Reference, sets_of, tokenizer_of

MOST = 256


@pytest.fixture(scope="module")
def tokenizer(golden: Path) -> Any:
    tokenizer = load_tokenizer(tokenizer_of(golden))
    add_img_tokens(tokenizer, 32)
    return tokenizer


@pytest.fixture(scope="module")
def layout(tokenizer: Any) -> TokenLayout:
    return read_layout(tokenizer, 32)


def words_of(tokenizer: Any, ids: list[int]) -> tuple[Prompts, str]:
    """The phrasing and the instruction that token ids were made of; no such text is stored here."""
    text = tokenizer.decode(ids)
    match = re.fullmatch(
        r'<s> (?P<system>.*?) USER: (?P<before>.*?)"<im_start><img_0><im_end> (?P<instruction>.*?)"(?P<after>.*?) '
        r"ASSISTANT:( (?P<answer>.*?)<img_0>.*)?",
        text,
        flags=re.DOTALL,
    )
    request = f"{match['before']}[cap]{match['after']}"
    phrasing = Phrasing(request=request, answer=f"{match['answer'] or 'Done'} [img].")
    return Prompts(system=match["system"], phrasings=(phrasing,)), match["instruction"]


@pytest.mark.parity
def test_request_has_the_authors_ids(golden: Path, tokenizer: Any, layout: TokenLayout) -> None:
    meta = json.loads((sets_of(golden) / "decode.json").read_text(encoding="utf-8"))
    expected = meta["prompt_input_ids_before_removing_placeholder"]
    prompts, instruction = words_of(tokenizer, expected)
    assert instruction == meta["instruction"]
    assert encode_request(tokenizer, layout, prompts, instruction, max_tokens=MOST) == expected


@pytest.mark.parity
def test_training_rows_have_the_authors_ids_and_targets(golden: Path, tokenizer: Any, layout: TokenLayout) -> None:
    reference = Reference(golden, "train_step")
    checked = 0
    for ids, targets, is_edit in zip(
        reference["in.input_ids"].tolist(),
        reference["in.generated_caption_targets"].tolist(),
        reference["in.is_editing_task"].flatten().tolist(),
        strict=True,
    ):
        if not is_edit:
            continue
        length = sum(1 for i in ids if i != layout.pad)
        prompts, instruction = words_of(tokenizer, ids[:length])
        row = encode_edit(tokenizer, layout, prompts, instruction, max_tokens=MOST)
        assert row.input_ids == ids[:length]
        assert row.targets == targets[:length]
        checked += 1
    assert checked


def test_saved_tokenizer_splits_as_before_twice(tokenizer: Any, layout: TokenLayout, tmp_path: Path) -> None:
    """transformers forgets a setting on the way, and a reloaded tokenizer then reads `<im_end>Change` differently."""
    expected = encode_request(tokenizer, layout, OUR_PROMPTS, "Change the cup", max_tokens=MOST)
    for folder in ("first", "second"):
        tokenizer.save_pretrained(tmp_path / folder)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / folder)  # as diffusers does it
        assert read_layout(tokenizer, 32) == layout
        assert encode_request(tokenizer, layout, OUR_PROMPTS, "Change the cup", max_tokens=MOST) == expected


def test_answer_holds_every_img_token_in_order_and_only_it_counts(tokenizer: Any, layout: TokenLayout) -> None:
    for phrasing in range(len(OUR_PROMPTS.phrasings)):
        row = encode_edit(tokenizer, layout, OUR_PROMPTS, "Make it red", phrasing=phrasing, max_tokens=MOST)
        request = encode_request(tokenizer, layout, OUR_PROMPTS, "Make it red", phrasing=phrasing, max_tokens=MOST)
        assert row.input_ids[-33:] == [*layout.img_tokens, layout.eos]
        assert row.input_ids[: len(request)] == request
        assert row.targets == [IGNORED] * len(request) + row.input_ids[len(request) :]


def test_too_long_by_how_many(tokenizer: Any, layout: TokenLayout) -> None:
    row = encode_edit(tokenizer, layout, OUR_PROMPTS, "Make the cup red", max_tokens=MOST)
    most = len(row.input_ids)
    encode_edit(tokenizer, layout, OUR_PROMPTS, "Make the cup red", max_tokens=most)
    with pytest.raises(PromptError, match="3 tokens too long"):
        encode_edit(tokenizer, layout, OUR_PROMPTS, "Make the cup red", max_tokens=most - 3)


@pytest.mark.parametrize("instruction", ["", "  \n"])
def test_empty_instruction(tokenizer: Any, layout: TokenLayout, instruction: str) -> None:
    with pytest.raises(PromptError, match="instruction is empty"):
        encode_request(tokenizer, layout, OUR_PROMPTS, instruction, max_tokens=MOST)


@pytest.mark.parametrize("token", ["<img_1>", "<im_end>", "<img>", "</s>"])
def test_tokens_of_the_format_are_refused_in_an_instruction(tokenizer: Any, layout: TokenLayout, token: str) -> None:
    """One more <img_1> would be one more row of h, and nothing further on would notice."""
    with pytest.raises(PromptError, match=f"the instruction holds {token}, a token of the model's own format"):
        encode_edit(tokenizer, layout, OUR_PROMPTS, f"make the {token} red", max_tokens=MOST)
    encode_edit(tokenizer, layout, OUR_PROMPTS, "make the <imag_1> [img]. [cap] red", max_tokens=MOST)


def test_plainly_added_tokens_are_noticed(golden: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_of(golden))
    tokenizer.add_tokens(["<img>", "<im_start>", "<im_end>", *(f"<img_{i}>" for i in range(32))])
    with pytest.raises(VocabularyError, match="split"):
        read_layout(tokenizer, 32)


def test_missing_and_shifted_tokens_are_named(golden: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_of(golden))
    with pytest.raises(VocabularyError, match="lacks <img>, <im_start>, <im_end>"):
        read_layout(tokenizer, 32)
    tokenizer.add_tokens(["<img_1>"])
    with pytest.raises(VocabularyError, match="not consecutive"):
        add_img_tokens(tokenizer, 32)
    with pytest.raises(VocabularyError, match="holds neither"):
        load_tokenizer(Path(__file__).parent)


def test_own_phrasings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text('system = "S"\n[[phrasings]]\nrequest = "do [cap]"\nanswer = "ok [img]."\n', encoding="utf-8")
    assert read_prompts(path).request("x  y") == 'S USER: do "<im_start> <img_0> <im_end>x y" ASSISTANT:'
    for broken, reason in [('answer = "ok"', "phrasing 1 must end"), ("answer = 3", "no file of phrasings")]:
        path.write_text(f'system = "S"\n[[phrasings]]\nrequest = "do [cap]"\n{broken}\n', encoding="utf-8")
        with pytest.raises(PromptError, match=reason):
            read_prompts(path)
