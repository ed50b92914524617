"""Hashes of rows in columns, without a Python object a cell: two rows that differ in any cell have different hashes.

A sequence (the bytes of a text, the items of a list) is hashed as a polynomial in an odd number modulo 2^64, so that
the sums of all rows are one pass over a column; every level is mixed, so that nested values do not cancel out. The
hashes are for telling changes, not for keeping out somebody who wants two rows to look alike.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

FACTOR = 0x9E3779B97F4A7C15
INVERSE = pow(FACTOR, -1, 1 << 64)
MISSING = np.uint64(0xD1B54A32D192ED03)
BLOCK = 1 << 21
"""Bytes or items of a column that are hashed at a time; powers of the factor are kept for so many places."""
REPEATED = ("source", "task", "split", "license", "terms")
"""Columns of which each text is hashed once a batch."""


def hash_texts(texts: pa.Array) -> Hashes:
    """A hash of each text."""
    return _hash(texts)


def hash_rows(batch: pa.RecordBatch) -> Hashes:
    """A hash of each row's cells, whatever the types of the columns; the order of the columns counts."""
    total = np.zeros(batch.num_rows, np.uint64)
    for name in batch.schema.names:
        column = batch.column(name)
        is_plain = name in REPEATED and pa.types.is_string(column.type)
        total = _mixed(total * np.uint64(FACTOR) + _hash(column.dictionary_encode() if is_plain else column))
    return total


def _hash(array: pa.Array) -> Hashes:
    kind = array.type
    if array.null_count == len(array):
        return np.full(len(array), MISSING)
    if pa.types.is_dictionary(kind):
        found = _hash(array.dictionary)[array.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    elif pa.types.is_struct(kind):
        found = np.zeros(len(array), np.uint64)
        for index in range(kind.num_fields):  # the fields of a missing struct are missing
            found = _mixed(found * np.uint64(FACTOR) + _hash(pc.struct_field(array, index)))
    elif pa.types.is_list(kind):
        offsets = array.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
        found = _sequences(_hash(array.values[offsets[0] : offsets[-1]]), offsets - offsets[0])
    elif pa.types.is_string(kind):
        buffers: Any = array.buffers()
        offsets = np.frombuffer(buffers[1], np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)
        content = np.frombuffer(buffers[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
        found = _sequences(content, offsets - offsets[0])
    else:
        numbers = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        found = _mixed(numbers.view(np.uint64))
    if array.null_count:
        found[array.is_null().to_numpy(zero_copy_only=False)] = MISSING
    return np.asarray(found, dtype=np.uint64)


def _sequences(items: NDArray[Any], offsets: NDArray[np.int64]) -> Hashes:
    """For each sequence, from one offset to the next, a hash of its items and of their number."""
    lengths = np.diff(offsets)
    sums = np.zeros(len(lengths), np.uint64)
    first = 0
    while first < len(lengths):
        last = max(int(np.searchsorted(offsets, offsets[first] + BLOCK, side="right")) - 1, first + 1)
        start, stop = int(offsets[first]), int(offsets[last])
        terms = items[start:stop].astype(np.uint64)
        terms *= _powers(FACTOR, len(terms))
        full = np.flatnonzero(lengths[first:last])
        begins = offsets[first:last][full] - start
        if len(full):
            sums[first + full] = np.add.reduceat(terms, begins) * _powers(INVERSE, len(terms))[begins]
        first = last
    return _mixed(sums * np.uint64(FACTOR) + lengths.view(np.uint64))


_kept: dict[int, Hashes] = {}


def _powers(factor: int, count: int) -> Hashes:
    """The powers of a number from 0 on, modulo 2^64."""
    if factor not in _kept or len(_kept[factor]) < count:
        powers = np.full(max(count, BLOCK), factor, np.uint64)
        powers[0] = 1
        _kept[factor] = np.multiply.accumulate(powers)
    return _kept[factor][:count]


def _mixed(values: Hashes) -> Hashes:
    """A bijection that spreads every bit (SplitMix64's finalizer)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
