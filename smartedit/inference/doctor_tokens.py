"""The vocabulary of a checkpoint: ids of the added tokens, how they split, and rows for all of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartedit.inference.findings import Finding, Grade
from smartedit.model.released_files import read_weight_files
from smartedit.model.tokenizer import TokenLayout, VocabularyError, read_layout

TOPIC = "vocabulary"
KNOWN_ROWS = {
    32000: "plain LLaMA's or Vicuna's",
    32003: "LLaVA's own, with 3 added tokens",
    32033: "the authors' first training stage's, with 33 added tokens",
    32035: "the released SmartEdit's, with 35 added tokens",
}
PROBES = ("Change the left apple to a red orange.", "make it blue", "What would it look like in winter?")


def examine_vocabulary(folder: Path) -> Iterator[Finding]:
    """Read the tokenizer as the pipeline does, and hold it against embedding and output layer."""
    from transformers import AutoTokenizer

    num_img_tokens = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("num_img_tokens", 32)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield _fault(f"{folder / 'tokenizer'}: no tokenizer can be read ({str(error).splitlines()[0]})")
        return
    yield from _rows(folder, len(tokenizer))
    yield from _splitting(tokenizer, num_img_tokens)


def layout_of(folder: Path) -> TokenLayout | None:
    """Where a checkpoint's added tokens are; None where `examine_vocabulary` finds a fault with its tokenizer."""
    from transformers import AutoTokenizer

    num_img_tokens = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("num_img_tokens", 32)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        return read_layout(tokenizer, num_img_tokens)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _rows(folder: Path, tokens: int) -> Iterator[Finding]:
    entries = read_weight_files(folder / "mllm").entries
    for what, ending in (("embedding", "embed_tokens.weight"), ("output layer", "lm_head.weight")):
        rows = next((entry.shape[0] for name, entry in entries.items() if name.endswith(ending)), None)
        if rows is None:
            continue
        if rows < tokens:
            yield _fault(f"{what}: {rows} rows{_known(rows)} for {tokens} tokens{_known(tokens)}: ids beyond it crash")
        else:
            padding = f", {rows - tokens} of them padding" if rows > tokens else ""
            yield Finding(topic=TOPIC, grade=Grade.GOOD, text=f"{what}: {rows} rows for {tokens} tokens{padding}")


def _known(count: int) -> str:
    return f" ({KNOWN_ROWS[count]})" if count in KNOWN_ROWS else ""


def _splitting(tokenizer: Any, num_img_tokens: int) -> Iterator[Finding]:
    try:
        layout = read_layout(tokenizer, num_img_tokens)
    except VocabularyError as error:
        yield _fault(
            f"{error}. Today's tokenizers split text round added tokens in another way than those that the model was "
            "trained with; `smartedit.model.tokenizer.add_img_tokens` adds them rightly"
        )
        return
    img = layout.img_tokens
    text = (
        f"<img> {layout.system_image}, <im_start> {layout.image_start}, <im_end> {layout.image_end}, "
        f"<img_0> to <img_{num_img_tokens - 1}> {img.start} to {img.stop - 1}"
    )
    yield Finding(topic=TOPIC, grade=Grade.GOOD, text=text)
    yield from _probes(tokenizer, layout)


def _probes(tokenizer: Any, layout: TokenLayout) -> Iterator[Finding]:
    """An instruction behind added tokens must have the ids that it has alone."""
    for words in PROBES:
        alone = tokenizer(words, add_special_tokens=False).input_ids
        expected = [layout.image_start, layout.first_img_token, layout.image_end, *alone]
        found = tokenizer(f"<im_start> <img_0> <im_end>{words}", add_special_tokens=False).input_ids
        if found != expected:
            yield _fault(f"{words!r} behind <im_end> becomes {found[3:9]}..., alone it is {alone[:6]}...")
            return
    yield Finding(topic=TOPIC, grade=Grade.GOOD, text="text behind the added tokens splits as in training")


def _fault(text: str) -> Finding:
    return Finding(topic=TOPIC, grade=Grade.FAULT, text=text)
