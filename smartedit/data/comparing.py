"""What changed between two manifests: rows that came, went, or hold something else, found by hashes in columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from smartedit.data.columns import SCHEMA
from smartedit.data.manifest import Manifest

EXAMPLES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceDifference:
    """How a source's rows differ between two manifests.

    Attributes:
        source: The source's name.
        before: Rows in the first manifest.
        after: Rows in the second.
        added: Rows of ids that only the second holds.
        removed: Rows of ids that only the first holds.
        changed: Rows of one id with another content.
        examples: A few ids of such rows, each behind `+`, `-` or `~`.
    """

    source: str
    before: int
    after: int
    added: int
    removed: int
    changed: int
    examples: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether the source's rows are the same in both, in whatever order."""
        return not (self.added or self.removed or self.changed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprints:
    """Hashes of a source's ids and contents, by row, sorted by the id's hash; `order` leads back to the rows."""

    ids: NDArray[np.uint64]
    contents: NDArray[np.uint64]
    order: NDArray[np.int64]


def compare_manifests(before: Manifest, after: Manifest) -> list[SourceDifference]:
    """Compare two manifests source by source, in the order of the first and then of the second."""
    names = list(dict.fromkeys([*before.sources, *after.sources]))
    return [_compare(name, before, after) for name in names]


def _compare(source: str, before: Manifest, after: Manifest) -> SourceDifference:
    old, new = _fingerprints(before, source), _fingerprints(after, source)
    kept_old, kept_new = np.isin(old.ids, new.ids), np.isin(new.ids, old.ids)
    differs = old.contents[kept_old] != new.contents[kept_new]
    removed, added = old.order[~kept_old], new.order[~kept_new]
    changed = new.order[kept_new][differs]
    return SourceDifference(
        source=source,
        before=len(old.ids),
        after=len(new.ids),
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        examples=(
            *(f"+ {name}" for name in _names(after, source, added)),
            *(f"- {name}" for name in _names(before, source, removed)),
            *(f"~ {name}" for name in _names(after, source, changed)),
        ),
    )


def _names(manifest: Manifest, source: str, rows: NDArray[np.int64]) -> list[str]:
    if not len(rows):
        return []
    first = manifest.rows(source).start
    return [example.example_id for example in manifest.take([first + int(row) for row in np.sort(rows)[:EXAMPLES]])]


def _fingerprints(manifest: Manifest, source: str) -> Fingerprints:
    ids: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    contents: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    if source in manifest.sources:
        for batch in manifest.batches(source):
            ids.append(_hash(batch.column("example_id")))
            contents.append(_hash(_row_texts(batch)))
    hashed = np.concatenate(ids)
    order = np.argsort(hashed, kind="stable")
    return Fingerprints(ids=hashed[order], contents=np.concatenate(contents)[order], order=order)


def _hash(texts: pa.Array) -> NDArray[np.uint64]:
    import pandas as pd

    values = texts.to_numpy(zero_copy_only=False)
    return np.asarray(pd.util.hash_array(values, categorize=False), dtype=np.uint64)


def _row_texts(batch: pa.RecordBatch) -> pa.Array:
    """Each row as one text that is another one whenever a cell is."""
    parts = [_cell_texts(batch.column(name)) for name in SCHEMA.names if name in batch.schema.names]
    return pc.binary_join_element_wise(*parts, "\x1e", null_handling="replace", null_replacement="\x00")


def _cell_texts(column: pa.Array) -> pa.Array:
    if pa.types.is_struct(column.type):
        children: Sequence[pa.Array] = [_cell_texts(pc.struct_field(column, i)) for i in range(column.type.num_fields)]
        return pc.binary_join_element_wise(*children, "\x1d", null_handling="replace", null_replacement="\x00")
    if pa.types.is_list(column.type):
        items = _cell_texts(column.flatten())
        lengths = pc.fill_null(pc.list_value_length(column), 0)
        offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(zero_copy_only=False))]).astype(np.int32)
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), items), "\x1f")
        return pc.binary_join_element_wise(pc.cast(lengths, pa.string()), joined, ":")
    return column.cast(pa.string())
