"""What changed between two manifests: rows that came, went, or hold something else, found by hashes in columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smartedit.data.manifest import Manifest
from smartedit.data.row_hashes import REPEATED, hash_rows, hash_texts

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
class RowHashes:
    """Hashes of a source's ids and contents, by row, sorted by the id's hash; `order` leads back to the rows."""

    ids: NDArray[np.uint64]
    contents: NDArray[np.uint64]
    order: NDArray[np.int64]


def compare_manifests(before: Manifest, after: Manifest) -> list[SourceDifference]:
    """Compare two manifests source by source, in the order of the first and then of the second."""
    names = list(dict.fromkeys([*before.sources, *after.sources]))
    return [_compare(name, before, after) for name in names]


def _compare(source: str, before: Manifest, after: Manifest) -> SourceDifference:
    sizes = before.sizes.get(source, 0), after.sizes.get(source, 0)
    if sizes[0] == sizes[1] and _is_same(source, before, after):
        return SourceDifference(
            source=source, before=sizes[0], after=sizes[1], added=0, removed=0, changed=0, examples=()
        )
    old, new = _hashes(before, source), _hashes(after, source)
    places = np.searchsorted(new.ids, old.ids)
    is_kept = places < len(new.ids)
    is_kept[is_kept] = new.ids[places[is_kept]] == old.ids[is_kept]
    places = places[is_kept]
    is_known = np.zeros(len(new.ids), dtype=bool)
    is_known[places] = True
    removed, added = old.order[~is_kept], new.order[~is_known]
    changed = new.order[places[old.contents[is_kept] != new.contents[places]]]
    return SourceDifference(
        source=source,
        before=sizes[0],
        after=sizes[1],
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        examples=(
            *(f"+ {name}" for name in _names(after, source, added)),
            *(f"- {name}" for name in _names(before, source, removed)),
            *(f"~ {name}" for name in _names(after, source, changed)),
        ),
    )


def _is_same(source: str, before: Manifest, after: Manifest) -> bool:
    """Whether a source's rows are the same in the same order, as they are after most changes of other sources."""
    batches = zip(*(m.batches(source, encoded=REPEATED) for m in (before, after)), strict=False)
    return all(old.equals(new) for old, new in batches)


def _names(manifest: Manifest, source: str, rows: NDArray[np.int64]) -> list[str]:
    if not len(rows):
        return []
    first = manifest.rows(source).start
    return [example.example_id for example in manifest.take([first + int(row) for row in np.sort(rows)[:EXAMPLES]])]


def _hashes(manifest: Manifest, source: str) -> RowHashes:
    ids: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    contents: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
    if source in manifest.sources:
        for batch in manifest.batches(source, encoded=REPEATED):
            ids.append(hash_texts(batch.column("example_id")))
            contents.append(hash_rows(batch))
    hashed = np.concatenate(ids)
    order = np.argsort(hashed)
    return RowHashes(ids=hashed[order], contents=np.concatenate(contents)[order], order=order)
