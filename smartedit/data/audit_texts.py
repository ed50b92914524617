"""Instructions that a manifest shares with a benchmark, or says again and again."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from smartedit.data.manifest import Manifest

GRAM = 3
SIMILARITY = 0.6
"""Share of three-word sequences that two instructions have in common, of all that either has."""
MIN_WORDS = 5
"""Shorter instructions are only compared as a whole: three words in a row are most of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextTable:
    """The instructions of a manifest.

    Attributes:
        rows: Row number of each instruction.
        texts: Number of each instruction's text among `unique`.
        unique: The texts, normalized.
    """

    rows: NDArray[np.int64]
    texts: NDArray[np.int64]
    unique: pa.Array


@dataclass(frozen=True, kw_only=True, slots=True)
class TextMatch:
    """A text of the manifest and an instruction of the benchmark.

    Attributes:
        text: Number of the manifest's text.
        other: Number of the benchmark's instruction.
        similarity: 1 for the same text, else the share of three-word sequences in common.
    """

    text: int
    other: int
    similarity: float


def normalize(texts: Any) -> Any:
    """Texts in lower case, their words separated by single spaces, without punctuation."""
    words = pc.replace_substring_regex(pc.utf8_lower(texts), r"[^\p{L}\p{N}]+", " ")
    return pc.utf8_trim_whitespace(words)


def find_texts(manifest: Manifest) -> TextTable:
    """The instructions of all rows: edit instructions and the questions of segmentation rows."""
    table = pa.Table.from_batches(list(manifest.batches(columns=["instructions"])))
    column = table.column("instructions")
    counts = pc.list_value_length(column).to_numpy().astype(np.int64)
    encoded = normalize(pc.list_flatten(column)).combine_chunks().dictionary_encode()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    return TextTable(
        rows=np.repeat(np.arange(len(counts)), counts),
        texts=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        unique=encoded.dictionary,
    )


def find_shared(table: TextTable, instructions: Sequence[str]) -> list[TextMatch]:
    """The texts that equal an instruction or are similar to it, the most similar first for each text."""
    wanted: list[str] = normalize(pa.array(instructions, pa.string())).to_pylist()
    by_text: dict[str, list[int]] = defaultdict(list)
    by_gram: dict[tuple[str, ...], list[int]] = defaultdict(list)
    grams = [_grams(text) for text in wanted]
    for number, text in enumerate(wanted):
        by_text[text].append(number)
        for gram in grams[number]:
            by_gram[gram].append(number)
    matches: list[TextMatch] = []
    for number, text in enumerate(table.unique.to_pylist()):
        same = by_text.get(text, []) if text else []
        matches += [TextMatch(text=number, other=other, similarity=1.0) for other in same]
        words = text.split()
        if not any(gram in by_gram for gram in zip(words, words[1:], words[2:], strict=False)):
            continue
        own = _grams(text)
        common = Counter(other for gram in own for other in by_gram.get(gram, ()))
        similar = [(n / (len(own) + len(grams[other]) - n), other) for other, n in common.items() if other not in same]
        matches += [
            TextMatch(text=number, other=other, similarity=share)
            for share, other in sorted(similar, key=lambda pair: (-pair[0], pair[1]))
            if share >= SIMILARITY
        ]
    return matches


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    words = text.split()
    if len(words) < MIN_WORDS:
        return frozenset()
    return frozenset(zip(*(words[i:] for i in range(GRAM)), strict=False))


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """A text that several rows share, and how many."""

    text: str
    rows: int


def find_repeated(table: TextTable, most: int) -> tuple[int, list[Repeated]]:
    """How many texts are said more than once, and those that are said most often."""
    if not len(table.texts):
        return 0, []
    counts = np.bincount(table.texts, minlength=len(table.unique))
    order = np.argsort(-counts, kind="stable")[:most]
    top = [Repeated(text=table.unique[int(i)].as_py(), rows=int(counts[i])) for i in order if counts[i] > 1]
    return int((counts > 1).sum()), top
