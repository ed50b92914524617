"""Parquet written in row groups of one size, however the rows come, so that the same rows give the same bytes."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 16_384
"""Rows of a row group: what a reader that streams holds at a time."""
UNREPEATED = frozenset({"example_id", "caption", "counts", "record_id", "detail"})
"""Columns of texts that hardly repeat; a dictionary of them would be thrown away again."""


class RowGroupWriter:
    """Collects batches and writes them in row groups of `ROWS` rows; the last one may be shorter."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        columns = [name for name in _leaves(schema) if name.rpartition(".")[2] not in UNREPEATED]
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=columns)
        self._schema = schema
        self._pending: list[pa.RecordBatch] = []
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end_group()
        self._writer.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch of any length."""
        self._pending.append(batch)
        self._count += batch.num_rows
        if self._count >= ROWS:
            table = pa.Table.from_batches(self._pending, self._schema)
            whole = self._count - self._count % ROWS
            for start in range(0, whole, ROWS):
                self._writer.write_table(table.slice(start, ROWS), row_group_size=ROWS)
            self._pending = table.slice(whole).to_batches()
            self._count -= whole

    def end_group(self) -> None:
        """Write what is left as a row group of its own."""
        if self._count:
            self._writer.write_table(pa.Table.from_batches(self._pending, self._schema), row_group_size=ROWS)
        self._pending, self._count = [], 0

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Put texts into the file's key-value metadata."""
        self._writer.add_key_value_metadata(dict(metadata))


def _leaves(schema: pa.Schema) -> list[str]:
    """The column paths of a schema as Parquet names them."""
    names: list[str] = []

    def walk(prefix: str, kind: pa.DataType) -> None:
        if pa.types.is_struct(kind):
            for child in kind:
                walk(f"{prefix}.{child.name}", child.type)
        elif pa.types.is_list(kind):
            walk(f"{prefix}.list.element", kind.value_type)
        else:
            names.append(prefix)

    for field in schema:
        walk(field.name, field.type)
    return names
