"""Frozen dataclasses in and out of Parquet: the table I/O of every stage."""

import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from reason_edit.files import atomic_path, missing_file

Row = TypeVar("Row")

SCALARS: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    bytes: pa.binary(),
    Path: pa.string(),
}


class TableError(ValueError):
    """A table cannot be read as the rows that were asked for."""


def arrow_schema(row_type: type) -> pa.Schema:
    """The Parquet schema of a row dataclass.

    Fields may be str, bool, int, float, bytes, Path, an Enum with string values, another dataclass, a tuple or list of
    one of them, or any of these or None.

    Args:
        row_type: A dataclass.

    Returns:
        One field per dataclass field; only `X | None` is nullable.
    """
    return pa.schema(_struct_fields(row_type))


def _struct_fields(row_type: type) -> list[pa.Field]:
    hints = get_type_hints(row_type)
    return [_field(f.name, hints[f.name]) for f in fields(row_type)]


def _without_none(hint: Any) -> tuple[Any, bool]:
    """The type beside None in `X | None`, and whether None is allowed."""
    if get_origin(hint) in (Union, types.UnionType):
        others = [a for a in get_args(hint) if a is not type(None)]
        if len(others) == 1:
            return others[0], len(others) < len(get_args(hint))
    return hint, False


def _field(name: str, hint: Any) -> pa.Field:
    inner, nullable = _without_none(hint)
    return pa.field(name, _arrow_type(inner), nullable=nullable)


def _arrow_type(hint: Any) -> pa.DataType:
    if get_origin(hint) in (tuple, list):
        return pa.list_(_field("item", get_args(hint)[0]))
    if isinstance(hint, type) and is_dataclass(hint):
        return pa.struct(_struct_fields(hint))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return pa.string()
    if hint in SCALARS:
        return SCALARS[hint]
    raise TypeError(f"no Parquet type for {hint!r}")


def _to_plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, tuple | list):
        return [_to_plain(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _to_plain(getattr(value, f.name)) for f in fields(value)}
    return value


def _from_plain(value: Any, hint: Any) -> Any:
    inner, _ = _without_none(hint)
    if value is None:
        return None
    origin = get_origin(inner)
    if origin in (tuple, list):
        return origin(_from_plain(v, get_args(inner)[0]) for v in value)
    if isinstance(inner, type) and is_dataclass(inner):
        hints = get_type_hints(inner)
        return inner(**{f.name: _from_plain(value.get(f.name), hints[f.name]) for f in fields(inner)})
    if isinstance(inner, type) and (issubclass(inner, Enum) or inner is Path):
        return inner(value)
    return value


def to_table(
    rows: Iterable[Row], row_type: type[Row], metadata: Mapping[str, str | Mapping[str, Any]] | None = None
) -> pa.Table:
    """Rows as an Arrow table with the schema of `row_type`; metadata values that are mappings become JSON."""
    plain_metadata = {
        k: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for k, v in (metadata or {}).items()
    }
    schema = arrow_schema(row_type)
    if plain_metadata:
        schema = schema.with_metadata(plain_metadata)
    return pa.Table.from_pylist([_to_plain(row) for row in rows], schema=schema)


def write_rows(
    path: Path | str,
    rows: Iterable[Row],
    row_type: type[Row],
    metadata: Mapping[str, str | Mapping[str, Any]] | None = None,
) -> None:
    """Write rows to Parquet, whole or not at all; the same rows always give the same bytes.

    Args:
        path: The Parquet file.
        rows: Instances of `row_type`.
        row_type: The dataclass, needed where there are no rows.
        metadata: Key-value metadata of the file; mappings are stored as JSON.
    """
    write_arrow(path, to_table(rows, row_type, metadata))


def write_arrow(path: Path | str, table: pa.Table) -> None:
    """Write an Arrow table to Parquet, whole or not at all."""
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_rows(path: Path | str, row_type: type[Row]) -> list[Row]:
    """All rows of a Parquet table.

    Args:
        path: The Parquet file.
        row_type: The dataclass to build; columns that it lacks are ignored.

    Returns:
        The rows in file order.

    Raises:
        TableError: The file is missing, is no Parquet file, or lacks a column.
    """
    return list(iter_rows(path, row_type))


def iter_rows(path: Path | str, row_type: type[Row], batch_size: int = 4096) -> Iterator[Row]:
    """The rows of a Parquet table one by one, read in batches; raises as `read_rows` does."""
    names = [f.name for f in fields(row_type)]  # type: ignore[arg-type]
    hints = get_type_hints(row_type)
    with _open(path) as file:
        missing = [n for n in names if n not in file.schema_arrow.names]
        if missing:
            raise TableError(f"{path}: no column {', '.join(missing)}; the table holds {file.schema_arrow.names}")
        for batch in file.iter_batches(batch_size=batch_size, columns=names):
            for record in batch.to_pylist():
                try:
                    yield row_type(**{n: _from_plain(record[n], hints[n]) for n in names})
                except ValueError as error:
                    raise TableError(f"{path}: {error}") from error


def read_metadata(path: Path | str) -> dict[str, str]:
    """The key-value metadata of a Parquet file, without Arrow's own entries."""
    with _open(path) as file:
        metadata = file.metadata.metadata or {}  # also what was added after the rows
    return {k.decode(): v.decode() for k, v in metadata.items() if not k.startswith(b"ARROW:")}


def _open(path: Path | str) -> pq.ParquetFile:
    if not Path(path).is_file():
        raise TableError(f"{path}: {missing_file(path)}")
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TableError(f"{path}: not a readable Parquet file ({error})") from error


def column_names(row_type: type) -> Sequence[str]:
    """The column names of a row dataclass, in order."""
    return [f.name for f in fields(row_type)]
