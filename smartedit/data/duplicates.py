"""Pictures that are the same or nearly the same, found among their fingerprints."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartedit.data.fingerprints import BITS, MIRROR, Views

Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]

THRESHOLD = 26
"""Bits of 128 that may differ in the nearer of the two hashes."""
BLOCK = 16_384
BANDS = 8
BUCKET = 500
PAIRS = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Prints:
    """The fingerprints of many pictures, in columns.

    Attributes:
        pixels: Digests, as void [N] of 32 bytes.
        luma: uint64 [N, 2].
        edges: uint64 [N, 2].
        middle_luma: uint64 [N, 2], of the middle of each picture.
        middle_edges: uint64 [N, 2].
        is_usable: Whether the hashes mean anything: the picture was read and is not plain.
        is_read: Whether the picture was read.
    """

    pixels: NDArray[np.void]
    luma: Words
    edges: Words
    middle_luma: Words
    middle_edges: Words
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


def crop_distance(one: Views, other: Views) -> int:
    """The fewest bits between any crop of one of two pictures and the whole other one, mirrored or not."""
    least = BITS
    for name in ("luma", "edges"):
        mine, its = getattr(one, name), getattr(other, name)
        for cut, whole in ((mine, its[:1]), (its, mine[:1])):
            for turned in (whole, whole ^ MIRROR):
                least = min(least, int(np.bitwise_count(cut ^ turned).sum(axis=1).min()))
    return least


def same_groups(prints: Prints) -> Numbers:
    """For every picture the number of the first one with the same pixels; for one that was not read its own."""
    groups = np.arange(len(prints.is_read), dtype=np.int64)
    read = np.flatnonzero(prints.is_read)
    _, first, inverse = np.unique(prints.pixels[read], return_index=True, return_inverse=True)
    groups[read] = read[first][inverse]
    return groups


@dataclass(frozen=True, kw_only=True, slots=True)
class InsidePairs:
    """Near pairs within one set, and how many look-ups were cut short because too many pictures share 16 bits."""

    pairs: Pairs
    cut_short: int


def find_near_inside(prints: Prints, among: Numbers, threshold: int = THRESHOLD) -> InsidePairs:
    """Near pairs among some pictures of one set, whole or one of them cut to its middle, mirrored or not.

    Comparing all with all is out of reach; pictures are compared that agree in one of eight groups of 16 bits of a
    hash. A crop is like the middle of its picture rather than like the whole. What that misses is measured
    (`benchmarks/audit_speed.py`).

    Args:
        prints: All fingerprints.
        among: Numbers of the pictures to compare, ascending.
        threshold: As in `find_near`.
    """
    among = among[prints.is_usable[among]]
    found: list[NDArray[np.int64]] = []
    cut_short = 0
    for name in ("luma", "edges"):
        words = getattr(prints, name)[among]
        for asked in (words, getattr(prints, f"middle_{name}")[among]):
            for turned in (asked, asked ^ MIRROR):
                for band in range(BANDS):
                    buckets = _Buckets(words, turned, band)
                    cut_short += buckets.cut_short
                    found += buckets.near(threshold)
    rows = np.concatenate([np.empty((0, 3), dtype=np.int64), *found])
    rows = rows[np.lexsort((rows[:, 2], rows[:, 1], rows[:, 0]))]
    if len(rows):
        is_first = np.append(True, (np.diff(rows[:, :2], axis=0) != 0).any(axis=1))
        rows = rows[is_first]
    rows[:, 0], rows[:, 1] = among[rows[:, 0]], among[rows[:, 1]]
    return InsidePairs(pairs=_pairs(rows), cut_short=cut_short)


class _Buckets:
    """Hashes sorted by one group of 16 bits, and look-ups sorted likewise, so that what is compared lies together."""

    def __init__(self, words: Words, turned: Words, band: int) -> None:
        keys, asked = words.view(np.uint16)[:, band], turned.view(np.uint16)[:, band]
        counts = np.bincount(keys, minlength=1 << 16)
        is_full = counts > BUCKET
        self.cut_short = int(is_full[asked].sum())
        self._numbers, self._asked = np.argsort(keys, kind="stable"), np.argsort(asked, kind="stable")
        asked = asked[self._asked]
        self._starts = (np.cumsum(counts) - counts)[asked]
        self._counts = np.where(is_full, 0, counts)[asked]
        # The group is in one of the two words and there the same: the other word tells most strangers.
        first, second = (1, 0) if band < BANDS // 2 else (0, 1)
        self._words = [np.ascontiguousarray(words[self._numbers, i]) for i in (first, second)]
        self._turned = [np.ascontiguousarray(turned[self._asked, i]) for i in (first, second)]

    def near(self, threshold: int) -> Iterator[NDArray[np.int64]]:
        """Rows (i, j, bits), i < j, of two numbers that share the group and differ in few bits."""
        ends = np.cumsum(self._counts)
        start = 0
        while start < len(ends):
            before = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, before + PAIRS, side="right")), start + 1)
            counts = self._counts[start:stop]
            asked = np.repeat(np.arange(start, stop), counts)
            shift = self._starts[start:stop] - (np.cumsum(counts) - counts)
            other = np.arange(len(asked)) + np.repeat(shift, counts)
            bits = np.bitwise_count(self._turned[0][asked] ^ self._words[0][other])
            kept = np.flatnonzero(bits <= threshold)
            asked, other, bits = asked[kept], other[kept], bits[kept]
            bits = bits + np.bitwise_count(self._turned[1][asked] ^ self._words[1][other])
            one, two = self._asked[asked], self._numbers[other]
            kept = np.flatnonzero((bits <= threshold) & (one != two))
            one, two = one[kept], two[kept]
            yield np.stack([np.minimum(one, two), np.maximum(one, two), bits[kept].astype(np.int64)], axis=1)
            start = stop


def _pairs(rows: NDArray[np.int64]) -> Pairs:
    return Pairs(first=rows[:, 0], second=rows[:, 1], distance=rows[:, 2])
