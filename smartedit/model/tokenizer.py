"""The tokenizer with the [IMG] tokens: reading it, adding them so that they split as the released model expects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartedit.hub import locate_model

SYSTEM_IMAGE, IMAGE_START, IMAGE_END = "<img>", "<im_start>", "<im_end>"


class VocabularyError(ValueError):
    """The tokenizer and the model disagree about the vocabulary; the message says what was found and expected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenLayout:
    """Where the tokens lie that the model treats specially.

    Attributes:
        vocab_size: Tokens in all, added ones included; 32035 in the released weights.
        system_image: `<img>`, which stands for "picture" in the system text.
        image_start: `<im_start>`.
        image_end: `<im_end>`.
        first_img_token: `<img_0>`, [IMG_1] of the paper; in the request it also holds the picture's place.
        num_img_tokens: r.
        bos: Begin of sequence.
        eos: End of sequence.
        pad: Padding; the unknown token in the released code.
    """

    vocab_size: int
    system_image: int
    image_start: int
    image_end: int
    first_img_token: int
    num_img_tokens: int
    bos: int
    eos: int
    pad: int

    @property
    def img_tokens(self) -> range:
        """The ids of the r [IMG] tokens, in order."""
        return range(self.first_img_token, self.first_img_token + self.num_img_tokens)


def img_token_texts(num_img_tokens: int) -> list[str]:
    """`<img_0>` to `<img_{r-1}>`."""
    return [f"<img_{i}>" for i in range(num_img_tokens)]


def load_tokenizer(path: Path | str) -> Any:
    """Read a tokenizer from a folder.

    Folders of the first LLaMA models hold `tokenizer.model` alone; it is read with sentencepiece, because the reader
    of transformers wants protobuf besides.

    Args:
        path: A folder, or a name on the Hub.

    Returns:
        A tokenizer of transformers.

    Raises:
        VocabularyError: The folder holds no tokenizer.
    """
    from transformers import AutoTokenizer

    folder = Path(path)
    if (folder / "tokenizer.json").is_file():
        # `legacy` starts a new word behind an added token; tokenizers that do not know it ignore it.
        return AutoTokenizer.from_pretrained(folder, legacy=True)
    if (folder / "tokenizer.model").is_file():
        return _from_sentencepiece(folder / "tokenizer.model")
    if folder.is_dir():
        raise VocabularyError(f"{folder}: holds neither tokenizer.json nor tokenizer.model")
    return AutoTokenizer.from_pretrained(locate_model(path), legacy=True)


def _from_sentencepiece(path: Path) -> Any:
    from sentencepiece import SentencePieceProcessor
    from transformers import LlamaTokenizer
    from transformers.tokenization_utils_base import generate_merges

    pieces = SentencePieceProcessor(model_file=str(path))
    names = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
    vocab = {name: i for i, name in enumerate(names)}
    merges = generate_merges(vocab, {name: pieces.get_score(i) for name, i in vocab.items()})
    return LlamaTokenizer(vocab=vocab, merges=merges, legacy=True, padding_side="right")


def add_img_tokens(tokenizer: Any, num_img_tokens: int) -> TokenLayout:
    """Add the 3 + r tokens to a tokenizer, in the released order; tokens that are there already stay.

    White space around an added token belongs to it and every piece of text between two of them starts a new word, as
    the tokenizers of 2023 did it: today's do so only when told (`lstrip`, `rstrip`, not `normalized`).

    Args:
        tokenizer: A tokenizer of transformers, changed in place.
        num_img_tokens: r.

    Returns:
        Where the tokens are.

    Raises:
        VocabularyError: Some are there already but not in the released order.
    """
    from transformers import AddedToken

    texts = [SYSTEM_IMAGE, IMAGE_START, IMAGE_END, *img_token_texts(num_img_tokens)]
    tokenizer.add_tokens([AddedToken(t, lstrip=True, rstrip=True, special=False, normalized=False) for t in texts])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    tokenizer.padding_side = "right"
    return read_layout(tokenizer, num_img_tokens)


def read_layout(tokenizer: Any, num_img_tokens: int) -> TokenLayout:
    """Find the added tokens.

    Raises:
        VocabularyError: One is missing, the [IMG] tokens do not follow each other, or the tokenizer splits them.
    """
    if hasattr(tokenizer, "legacy"):
        # transformers does not write this setting, and without it a reloaded tokenizer splits the text behind an added
        # token in another way.
        tokenizer.init_kwargs["legacy"] = tokenizer.legacy
    texts = [SYSTEM_IMAGE, IMAGE_START, IMAGE_END, *img_token_texts(num_img_tokens)]
    vocab = tokenizer.get_vocab()
    missing = [t for t in texts if t not in vocab]
    if missing:
        raise VocabularyError(f"the tokenizer lacks {', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}")
    ids = [vocab[t] for t in texts]
    img = ids[3:]
    if img != list(range(img[0], img[0] + num_img_tokens)):
        raise VocabularyError(
            f"{texts[3]} to {texts[-1]} have ids {img[0]}, {img[1]} ... {img[-1]}, not consecutive ones"
        )
    encoded = tokenizer(" ".join(texts[3:]), add_special_tokens=False).input_ids
    word = tokenizer("word", add_special_tokens=False).input_ids
    if tokenizer(f"{IMAGE_END}word", add_special_tokens=False).input_ids != [ids[2], *word]:
        raise VocabularyError(
            f"text behind {IMAGE_END} is not split as a new word: read the tokenizer with `load_tokenizer`"
        )
    if encoded != img:
        raise VocabularyError(
            f"the tokenizer splits {num_img_tokens} [IMG] tokens into {len(encoded)}: add them with `add_img_tokens`"
        )
    return TokenLayout(
        vocab_size=len(tokenizer),
        system_image=ids[0],
        image_start=ids[1],
        image_end=ids[2],
        first_img_token=img[0],
        num_img_tokens=num_img_tokens,
        bos=tokenizer.bos_token_id,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
    )
