"""Reading a training manifest: its metadata, rows by source or by number, and what is in it."""

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from reason_edit.tables import TableError, read_metadata
from smartedit.data.build import MANIFEST, REJECTIONS
from smartedit.data.columns import SCHEMA
from smartedit.data.examples import ImageRef, MaskRle, Speaker, Storage, Task, TrainingExample, Turn
from smartedit.data.parts import SCHEMA_VERSION

__all__ = ["MANIFEST", "REJECTIONS", "Manifest", "ManifestError"]

ROW_GROUPS = 8


class ManifestError(ValueError):
    """A file is no manifest, or one that this version cannot read."""


class Manifest:
    """A manifest on disk, opened for reading; holds at most a few row groups in memory.

    Rows of one source follow one another, in the order of `sources`.
    """

    def __init__(self, path: Path | str, *, data_root: Path | str | None = None) -> None:
        """Open a manifest.

        Args:
            path: The Parquet file, or the folder that it was built in.
            data_root: Where the data sets lie now, if they were moved; None for the place stored in the manifest.

        Raises:
            ManifestError: There is no manifest, it is of another schema version, or its table has lost or gained rows.
        """
        path = Path(path)
        self.path = path / MANIFEST if path.is_dir() else path
        try:
            self.metadata = read_metadata(self.path)
        except TableError as error:
            raise ManifestError(str(error)) from error
        version = self.metadata.get("smartedit.schema_version")
        if version is None:
            raise ManifestError(f"{self.path}: is no manifest (Parquet without a schema version of ours); name one")
        if version != SCHEMA_VERSION:
            raise ManifestError(
                f"{self.path}: schema version {version}, this program reads {SCHEMA_VERSION}; build the manifest again"
            )
        self.data_root = (
            Path(data_root) if data_root is not None else self.path.parent / self.metadata["smartedit.root"]
        )
        rows = pq.read_metadata(self.path).num_rows
        if rows != len(self):
            raise ManifestError(
                f"{self.path}: its metadata counts {len(self)} rows and its table has {rows}, as after another program "
                "has written it; build the manifest again"
            )
        self._groups: OrderedDict[int, pa.Table] = OrderedDict()

    def value(self, name: str) -> Any:
        """A value of the metadata, for example `counts` or `inputs`."""
        return json.loads(self.metadata[f"smartedit.{name}"])

    @cached_property
    def _file(self) -> pq.ParquetFile:
        return pq.ParquetFile(self.path, memory_map=True)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The sources in the order of their rows."""
        return tuple(self.value("sources"))

    @cached_property
    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Rows by source and task."""
        counts = self.value("counts")
        return {name: counts[name] for name in self.sources}

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Rows by source."""
        return {name: sum(tasks.values()) for name, tasks in self.counts.items()}

    @cached_property
    def rejections(self) -> Mapping[str, Mapping[str, int]]:
        """Records that were left out, by source and reason."""
        rejections = self.value("rejections")
        return {name: rejections[name] for name in self.sources}

    @cached_property
    def label_names(self) -> Mapping[str, Mapping[int, str]]:
        """For sources with label maps the names of all label values."""
        return {s: {int(k): v for k, v in names.items()} for s, names in self.value("label_names").items()}

    @cached_property
    def offsets(self) -> Mapping[str, int]:
        """The number of the first row of each source."""
        starts = [0, *accumulate(self.sizes.values())]
        return dict(zip(self.sources, starts, strict=False))

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def rows(self, source: str | None = None) -> range:
        """The row numbers of a source, or of the whole manifest.

        Raises:
            ManifestError: The manifest has no such source.
        """
        if source is None:
            return range(len(self))
        if source not in self.sizes:
            raise ManifestError(f"{self.path}: no source {source!r}; there are {', '.join(self.sources)}")
        return range(self.offsets[source], self.offsets[source] + self.sizes[source])

    @cached_property
    def _group_starts(self) -> list[int]:
        metadata = self._file.metadata
        return [0, *accumulate(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))]

    def _group(self, index: int) -> pa.Table:
        if index in self._groups:
            self._groups.move_to_end(index)
        else:
            with self._readable():
                self._groups[index] = self._file.read_row_group(index)
            if len(self._groups) > ROW_GROUPS:
                self._groups.popitem(last=False)
        return self._groups[index]

    def take(self, numbers: Sequence[int]) -> list[TrainingExample]:
        """The rows of these numbers, in this order.

        Raises:
            IndexError: There is no such row.
            ManifestError: The file is damaged.
        """
        examples = []
        for number in numbers:
            if not 0 <= number < len(self):
                raise IndexError(f"{self.path}: there is no row {number} among {len(self)}")
            group = bisect_right(self._group_starts, number) - 1
            offset = number - self._group_starts[group]
            examples.append(example_from(self._group(group).slice(offset, 1).to_pylist()[0]))
        return examples

    def batches(
        self, source: str | None = None, columns: Sequence[str] | None = None, *, encoded: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a source, or of all, in Arrow batches.

        Args:
            source: Which; None for all.
            columns: Only these columns are read.
            encoded: Columns that come as dictionaries, so that texts which many rows share are not copied for each.

        Raises:
            ManifestError: The manifest has no such source, or the file is damaged.
        """
        rows = self.rows(source)
        file = pq.ParquetFile(self.path, memory_map=True, read_dictionary=list(encoded)) if encoded else self._file
        groups = [i for i, start in enumerate(self._group_starts[:-1]) if rows.start <= start < rows.stop]
        with self._readable():
            yield from file.iter_batches(row_groups=groups, columns=list(columns) if columns else None)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Name the file whose row groups do not decode."""
        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise ManifestError(f"{self.path}: the file is damaged; build the manifest again ({error})") from error

    def examples(self, source: str | None = None) -> Iterator[TrainingExample]:
        """The rows of a source, or of all, one by one."""
        for batch in self.batches(source):
            for record in batch.to_pylist():
                yield example_from(record)


def example_from(record: Mapping[str, Any]) -> TrainingExample:
    """A row as Arrow gives it, as an example."""
    values = {name: record[name] for name in SCHEMA.names}
    for name in ("image", "target", "mask_image"):
        if values[name] is not None:
            values[name] = ImageRef(**{**values[name], "storage": Storage(values[name]["storage"])})
    for name in ("mask_rle", "ignore_rle"):
        if values[name] is not None:
            values[name] = MaskRle(**values[name])
    for name in ("label_ids", "phrases", "instructions"):
        values[name] = tuple(values[name])
    turns = values["conversation"]
    values["conversation"] = tuple(Turn(speaker=Speaker(turn["speaker"]), text=turn["text"]) for turn in turns)
    return TrainingExample(**{**values, "task": Task(values["task"])})
