"""Single rows of a big manifest in any order, from an uncompressed copy that processes share through memory mapping.

A Parquet row must be found among the 16,384 of its row group, which costs far more than to decode its pictures.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pyarrow as pa

from reason_edit.files import atomic_path
from smartedit.data.columns import SCHEMA
from smartedit.data.examples import TrainingExample
from smartedit.data.manifest import Manifest, example_from

ROWS = 4096


class RowAccess:
    """The rows of some sources by their number in the manifest."""

    def __init__(self, manifest: Manifest, sources: Sequence[str] | None = None) -> None:
        """Open the copy, and write it first where there is none (a hidden file beside the manifest).

        Args:
            manifest: The rows.
            sources: Sources whose rows will be asked for; None for all.

        Raises:
            ManifestError: The manifest has no such source.
        """
        chosen = [name for name in manifest.sources if sources is None or name in sources]
        self._starts = [manifest.rows(name).start for name in chosen]
        self._offsets = [0, *accumulate(manifest.sizes[name] for name in chosen)]
        path = copy_path(manifest, chosen)
        if not path.is_file():
            _write(manifest, chosen, path)
        with pa.memory_map(str(path)) as file:
            reader = pa.ipc.open_file(file)
            self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]

    def __getitem__(self, number: int) -> TrainingExample:
        """The row of a number in the manifest.

        Raises:
            IndexError: There is no such row in the chosen sources.
        """
        block = bisect_right(self._starts, number) - 1
        position = self._offsets[block] + number - self._starts[block] if block >= 0 else -1
        if not 0 <= position < self._offsets[block + 1]:
            raise IndexError(f"there is no row {number} in the chosen sources")
        batch, row = divmod(position, ROWS)
        return example_from(self._batches[batch].slice(row, 1).to_pylist()[0])


def copy_path(manifest: Manifest, sources: Sequence[str]) -> Path:
    """Where the copy of these sources lies; the name changes with the manifest's content."""
    content = "\0".join([manifest.path.name, str(sorted(manifest.metadata.items())), *sources])
    return manifest.path.parent / f".rows-{hashlib.sha256(content.encode()).hexdigest()[:16]}.arrow"


def _write(manifest: Manifest, sources: Sequence[str], path: Path) -> None:
    """Copy rows into batches of `ROWS`."""
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), SCHEMA) as writer:
        pending: list[pa.RecordBatch] = []
        count = 0
        for name in sources:
            for batch in manifest.batches(name):
                pending.append(batch)
                count += batch.num_rows
                if count >= ROWS:
                    table = pa.Table.from_batches(pending, SCHEMA).combine_chunks()
                    whole = count - count % ROWS
                    writer.write_table(table.slice(0, whole), max_chunksize=ROWS)
                    pending, count = table.slice(whole).to_batches(), count - whole
        if count:
            writer.write_table(pa.Table.from_batches(pending, SCHEMA).combine_chunks(), max_chunksize=ROWS)
