"""Pictures that are the same or nearly the same, found among their fingerprints."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartedit.data.fingerprints import MIRROR, Views

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

THRESHOLD = 26
"""Bits of 128 that may differ in the nearer of the two hashes."""
BLOCK = 16_384
BUCKET = 500
PAIRS = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Prints:
    """The fingerprints of many pictures, in columns.

    Attributes:
        pixels: Digests, as void [N] of 32 bytes.
        luma: uint64 [N, 2].
        edges: uint64 [N, 2].
        is_usable: Whether the hashes mean anything: the picture was read and is not plain.
        is_read: Whether the picture was read.
    """

    pixels: NDArray[np.void]
    luma: Words
    edges: Words
    is_usable: NDArray[np.bool_]
    is_read: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """Pairs of pictures, by their numbers, with the number of bits that differ."""

    first: Numbers
    second: Numbers
    distance: Numbers


def find_exact(digests: list[bytes], prints: Prints) -> Pairs:
    """The pictures whose pixels are those of some others: numbers among `digests`, numbers among `prints`."""
    places = {digest: number for number, digest in enumerate(digests)}
    hits = np.flatnonzero(np.isin(prints.pixels, np.array(digests, dtype="V32")) & prints.is_read)
    first = np.array([places[prints.pixels[i].tobytes()] for i in hits], dtype=np.int64)
    return Pairs(first=first, second=hits.astype(np.int64), distance=np.zeros(len(hits), dtype=np.int64))


def find_near(queries: list[Views], prints: Prints, threshold: int = THRESHOLD) -> Pairs:
    """The pictures near to any view of some others, mirrored or not: numbers among `queries` and among `prints`."""
    found: dict[tuple[int, int], int] = {}
    usable = np.flatnonzero(prints.is_usable)
    for name in ("luma", "edges"):
        words = getattr(prints, name)[usable]
        asked = np.stack([getattr(query, name) for query in queries])
        asked = np.concatenate([asked, asked ^ MIRROR], axis=1)
        each = asked.shape[1]
        asked = asked.reshape(-1, 2)
        for start in range(0, len(words), BLOCK):
            low, high = (np.ascontiguousarray(words[start : start + BLOCK, i]) for i in range(2))
            mixed, bits, more = np.empty_like(low), np.empty(len(low), np.uint8), np.empty(len(low), np.uint8)
            for number, view in enumerate(asked):
                np.bitwise_count(np.bitwise_xor(low, view[0], out=mixed), out=bits)
                np.bitwise_count(np.bitwise_xor(high, view[1], out=mixed), out=more)
                np.add(bits, more, out=bits)
                if bits.min() > threshold:  # nearly always
                    continue
                for place in np.flatnonzero(bits <= threshold):
                    key = number // each, int(usable[start + place])
                    found[key] = min(found.get(key, threshold), int(bits[place]))
    keys = sorted(found)
    return _pairs(np.array([(a, b, found[a, b]) for a, b in keys], dtype=np.int64).reshape(-1, 3))


def same_groups(prints: Prints) -> Numbers:
    """For every picture the number of the first one with the same pixels."""
    _, first, inverse = np.unique(prints.pixels, return_index=True, return_inverse=True)
    groups = first[inverse].astype(np.int64)
    groups[~prints.is_read] = np.flatnonzero(~prints.is_read)
    return groups


@dataclass(frozen=True, kw_only=True, slots=True)
class InsidePairs:
    """Near pairs within one set, and how many look-ups were cut short because too many pictures share 16 bits."""

    pairs: Pairs
    cut_short: int


def find_near_inside(prints: Prints, among: Numbers, threshold: int = THRESHOLD) -> InsidePairs:
    """Near pairs among some pictures of one set, mirrored or not.

    Comparing all with all is out of reach; pictures are compared that agree in one of eight groups of 16 bits of a
    hash. What that misses is measured (`benchmarks/audit_speed.py`).

    Args:
        prints: All fingerprints.
        among: Numbers of the pictures to compare, ascending.
        threshold: As in `find_near`.
    """
    among = among[prints.is_usable[among]]
    luma, edges = prints.luma[among], prints.edges[among]
    found: list[NDArray[np.int64]] = []
    cut_short = 0
    for words in (luma, edges):
        for turned in (words, words ^ MIRROR):
            bands, others = words.view(np.uint16), turned.view(np.uint16)
            for band in range(bands.shape[1]):
                bucket = _Buckets(bands[:, band])
                cut_short += bucket.count_full(others[:, band])
                for first, second in bucket.candidates(others[:, band]):
                    bits = np.bitwise_count(turned[first, 0] ^ words[second, 0])
                    near = bits <= threshold
                    first, second, bits = first[near], second[near], bits[near]
                    bits = bits + np.bitwise_count(turned[first, 1] ^ words[second, 1])
                    near = bits <= threshold
                    found.append(np.stack([first[near], second[near], bits[near].astype(np.int64)], axis=1))
    rows = np.concatenate([np.empty((0, 3), dtype=np.int64), *found])
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    if len(rows):
        is_first = np.append(True, (np.diff(rows[:, :2], axis=0) != 0).any(axis=1))
        rows = rows[is_first]
    rows[:, 0], rows[:, 1] = among[rows[:, 0]], among[rows[:, 1]]
    return InsidePairs(pairs=_pairs(rows), cut_short=cut_short)


class _Buckets:
    """Numbers by a key of 16 bits."""

    def __init__(self, keys: NDArray[np.uint16]) -> None:
        self._order = np.argsort(keys, kind="stable")
        counts = np.bincount(keys, minlength=1 << 16)
        self._starts = np.cumsum(counts) - counts
        self._counts = np.where(counts > BUCKET, 0, counts)
        self._is_full = counts > BUCKET

    def count_full(self, keys: NDArray[np.uint16]) -> int:
        """How many look-ups fall into a bucket that is too full to be compared."""
        return int(self._is_full[keys].sum())

    def candidates(self, keys: NDArray[np.uint16]) -> Iterator[tuple[Numbers, Numbers]]:
        """Pairs (i, j), i < j, of a look-up i and a number j with the same key, some millions at a time."""
        counts = self._counts[keys]
        ends = np.cumsum(counts)
        start = 0
        while start < len(keys):
            before = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, before + PAIRS, side="right")), start + 1)
            part = counts[start:stop]
            first = np.repeat(np.arange(start, stop), part)
            within = np.arange(len(first)) - np.repeat(np.cumsum(part) - part, part)
            second = self._order[self._starts[keys[first]] + within]
            ordered = first < second
            yield first[ordered], second[ordered]
            start = stop


def _pairs(rows: NDArray[np.int64]) -> Pairs:
    return Pairs(first=rows[:, 0], second=rows[:, 1], distance=rows[:, 2])
