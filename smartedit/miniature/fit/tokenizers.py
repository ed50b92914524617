"""Trains the miniature's two tokenizers: CLIP's for the text encoder, LLaMA's for the language model."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reason_edit.files import write_bytes
from smartedit.miniature.fit.schedule import is_finished, save_finished
from smartedit.model.tokenizer import add_img_tokens, load_tokenizer

ALPHABET = [chr(c) for c in range(33, 127)]
MARK = "tokenizer.json"
"""What the folder of a finished tokenizer has."""


def fit_clip_tokenizer(texts: Sequence[str], out: Path, *, vocab_size: int, length: int) -> Any:
    """Train CLIP's tokenizer: lower case, pairs of letters, words end in `</w>`, begin and end tokens last.

    Args:
        texts: What to train on.
        out: Where it is written.
        vocab_size: Rows of the vocabulary.
        length: Text length of the encoder in tokens.
    """
    from tokenizers import models, trainers
    from transformers import CLIPTokenizer

    if not is_finished(out, MARK):
        blank = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[])
        backend = blank.backend_tokenizer
        backend.model = models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>")
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 2,
            end_of_word_suffix="</w>",
            initial_alphabet=ALPHABET,
            show_progress=False,
        )
        backend.train_from_iterator(texts, trainer)
        model = json.loads(backend.to_str())["model"]
        special = {"<|startoftext|>", "<|endoftext|>"}
        pieces = [piece for piece in sorted(model["vocab"], key=model["vocab"].get) if piece not in special]
        pieces = pieces[: vocab_size - 2]
        kept = set(pieces)
        merges = [tuple(m) for m in model["merges"] if "".join(m) in kept]
        vocab = {piece: k for k, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
        tokenizer = CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=length)
        save_finished(tokenizer, out, MARK)
    return CLIPTokenizer.from_pretrained(out)


def fit_llama_tokenizer(texts: Sequence[str], out: Path, *, vocab_size: int, num_img_tokens: int) -> Any:
    """Train a SentencePiece model in LLaMA's form and add the [IMG] tokens.

    Args:
        texts: What to train on.
        out: Where `tokenizer.model` and the finished tokenizer are written.
        vocab_size: Rows before the added tokens.
        num_img_tokens: r.
    """
    import sentencepiece

    if not is_finished(out, MARK):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=vocab_size,
            model_type="bpe",
            character_coverage=1.0,
            required_chars="".join(ALPHABET),
            unk_id=0,
            bos_id=1,
            eos_id=2,
            pad_id=-1,
            minloglevel=2,
        )
        source = out / "sentencepiece"
        source.mkdir(parents=True, exist_ok=True)
        write_bytes(source / "tokenizer.model", model.getvalue())
        tokenizer = load_tokenizer(source)
        add_img_tokens(tokenizer, num_img_tokens)
        save_finished(tokenizer, out, MARK)
    return load_tokenizer(out)


def clip_ids(tokenizer: Any, texts: Sequence[str], length: int) -> Any:
    """Token ids [N, length] as CLIP pads them."""
    return tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    ).input_ids
