"""One source's share of a manifest: read once, written whole, and good for as long as its inputs stay the same."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from reason_edit.files import atomic_path
from reason_edit.tables import arrow_schema, read_metadata, to_table
from smartedit.config.sources import SourceConfig
from smartedit.data.columns import SCHEMA, examples_to_batch
from smartedit.data.digests import InputDigest
from smartedit.data.examples import Reason, Rejection, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, SourceError
from smartedit.data.pictures import PictureStore
from smartedit.data.row_groups import RowGroupWriter
from smartedit.data.sources.registry import terms_of

SCHEMA_VERSION = "1"
BATCH = 4096
REJECTION_SCHEMA: pa.Schema = arrow_schema(Rejection)

Progress = Callable[[str, int, int | None], None]
"""Told the source's name, the records read so far, and how many there are if that is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Where a source's rows lie, and under which key they were made."""

    name: str
    key: str
    folder: Path

    @property
    def rows(self) -> Path:
        """The source's rows; this file is written last, so that it stands for both."""
        return self.folder / f"{self.name}-{self.key[:16]}.parquet"

    @property
    def rejections(self) -> Path:
        """The records that were left out."""
        return self.folder / f"{self.name}-{self.key[:16]}.rejections.parquet"

    def is_done(self) -> bool:
        """Whether the part was written from the same inputs with the same configuration."""
        return self.rows.is_file() and self.rejections.is_file()

    def summary(self) -> dict[str, Any]:
        """The counts that were stored with the rows."""
        content: dict[str, Any] = json.loads(read_metadata(self.rows)["smartedit.part"])
        return content


def part_key(name: str, config: SourceConfig, found: Found, digests: list[InputDigest]) -> str:
    """A key that changes whenever the rows might."""
    content = {
        "schema": SCHEMA_VERSION,
        "arrow": pa.__version__,
        "name": name,
        "config": config_values(config),
        "terms": asdict(terms_of(config)),
        "layout": found.layout,
        "inputs": [asdict(digest) for digest in digests],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def config_values(config: SourceConfig) -> dict[str, Any]:
    """A source's configuration as plain values."""
    values = asdict(config)
    return {k: v.as_posix() if isinstance(v, Path) else v for k, v in values.items()}


@dataclass(slots=True)
class Tally:
    """What has been read of a source so far."""

    tasks: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def records(self) -> int:
        """Rows and rejections."""
        return self.tasks.total() + self.reasons.total()


def write_part(part: Part, config: SourceConfig, found: Found, data_root: Path, progress: Progress) -> None:
    """Read a source and write its rows and rejections.

    Raises:
        SourceError: There is not a single row; the message lists the reasons of the rejections.
    """
    tally = Tally()
    with (
        atomic_path(part.rows) as rows_path,
        atomic_path(part.rejections) as rejections_path,
        RowGroupWriter(rows_path, SCHEMA) as rows,
        RowGroupWriter(rejections_path, REJECTION_SCHEMA) as rejections,
    ):
        for batch in _batches(part.name, config, found, data_root, tally):
            (rejections if "reason" in batch.schema.names else rows).add(batch)
            progress(part.name, tally.records, found.total)
        if not tally.tasks:
            raise SourceError(f"source {part.name!r}: no usable record; {_reasons(tally)} ({found.layout})")
        summary = {"tasks": dict(tally.tasks), "rejections": dict(sorted(tally.reasons.items()))}
        rows.add_metadata({"smartedit.part": json.dumps(summary, sort_keys=True)})


def _reasons(tally: Tally) -> str:
    if not tally.reasons:
        return "it holds no record at all"
    return "left out: " + ", ".join(f"{count} {reason}" for reason, count in sorted(tally.reasons.items()))


def _batches(name: str, config: SourceConfig, found: Found, data_root: Path, tally: Tally) -> Iterator[pa.RecordBatch]:
    """The source's rows and rejections in batches, in the order in which they are read."""
    examples: list[TrainingExample] = []
    rejected: list[Rejection] = []
    for item in _checked(name, config, found, data_root):
        if isinstance(item, Rejection):
            rejected.append(item)
            tally.reasons[item.reason.value] += 1
            if len(rejected) >= BATCH:
                yield _rejection_batch(rejected)
                rejected = []
        elif isinstance(item, TrainingExample):
            examples.append(item)
            if len(examples) >= BATCH:
                yield from _example_batches(examples, rejected, tally)
                examples = []
        else:
            for counted in item.column("task").value_counts():
                tally.tasks[counted["values"].as_py()] += counted["counts"].as_py()
            yield item
    yield from _example_batches(examples, rejected, tally)
    if rejected:
        yield _rejection_batch(rejected)


def _example_batches(
    examples: list[TrainingExample], rejected: list[Rejection], tally: Tally
) -> Iterator[pa.RecordBatch]:
    """Rows as a batch; those with texts that are no Unicode (half of a surrogate pair) become rejections."""
    try:
        batches = [examples_to_batch(examples)] if examples else []
        kept = examples
    except UnicodeEncodeError:
        batches, kept = [], []
        for example in examples:
            try:
                batches.append(examples_to_batch([example]))
                kept.append(example)
            except UnicodeEncodeError as error:
                record_id = example.example_id.removeprefix(f"{example.source}/")
                detail = f"a text that is no Unicode: {error.object!r}"
                rejected.append(
                    Rejection(source=example.source, record_id=record_id, reason=Reason.BAD_ENCODING, detail=detail)
                )
                tally.reasons[Reason.BAD_ENCODING.value] += 1
    tally.tasks.update(example.task.value for example in kept)
    yield from batches


def _rejection_batch(rejected: list[Rejection]) -> pa.RecordBatch:
    readable = [replace(r, record_id=_readable(r.record_id), detail=_readable(r.detail)) for r in rejected]
    return to_table(readable, Rejection).combine_chunks().to_batches()[0]


def _readable(text: str) -> str:
    """A text with what is no Unicode (in names of files, for example) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _checked(
    name: str, config: SourceConfig, found: Found, data_root: Path
) -> Iterator[TrainingExample | Rejection | pa.RecordBatch]:
    """The source's records; a second one of an id, and broken pictures where they are checked, become rejections."""
    if found.batches is not None:
        yield from found.batches()
        return
    store = PictureStore(data_root) if config.check_pictures else None
    seen: set[str] = set()
    for item in found.rows():
        if isinstance(item, Rejection):
            yield item
            continue
        record_id = item.example_id.removeprefix(f"{name}/")
        try:
            if item.example_id in seen:
                raise FaultyRecordError(Reason.DUPLICATE_ID, f"another record has the id {record_id}")
            seen.add(item.example_id)
            if store is not None:
                for ref in (item.image, item.target):
                    if ref is not None:
                        store.check(ref)
        except FaultyRecordError as error:
            yield Rejection(source=name, record_id=record_id, reason=error.reason, detail=str(error))
            continue
        yield item
