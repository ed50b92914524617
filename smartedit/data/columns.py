"""Training examples in columns: Arrow batches with the manifest's schema, built without a Python object a cell."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from reason_edit.tables import arrow_schema
from smartedit.data.examples import ImageRef, MaskRle, TrainingExample


def _open_struct(field: pa.Field) -> pa.Field:
    """A field whose struct may be missing; then its children are, too, and Parquet demands that they say so."""
    if not pa.types.is_struct(field.type):
        return field
    return pa.field(field.name, pa.struct([child.with_nullable(True) for child in field.type]), field.nullable)


SCHEMA: pa.Schema = pa.schema([_open_struct(field) for field in arrow_schema(TrainingExample)])
"""The manifest's schema; names of nested fields follow the dataclasses of `smartedit.data.examples`."""


def examples_to_batch(examples: Sequence[TrainingExample]) -> pa.RecordBatch:
    """A batch of rows."""
    columns: dict[str, pa.Array] = {}
    for field in SCHEMA:
        values = [getattr(example, field.name) for example in examples]
        columns[field.name] = _array(values, field)
    return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def columns_to_batch(count: int, columns: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch from ready columns.

    Args:
        count: Number of rows.
        columns: Arrow arrays by column name, or a text that all rows share; what is left out is null or empty.
    """
    arrays = []
    for field in SCHEMA:
        value = columns.get(field.name)
        if isinstance(value, str):
            array = pa.repeat(pa.scalar(value, field.type), count)
        elif value is not None:
            array = value.cast(field.type)
        elif pa.types.is_list(field.type):
            array = pa.ListArray.from_arrays(
                pa.repeat(pa.scalar(0, pa.int32()), count + 1), _empty(field.type.value_type)
            )
            array = array.cast(field.type)
        else:
            array = pa.nulls(count, field.type)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _empty(value_type: pa.DataType) -> pa.Array:
    return pa.array([], value_type)


def _array(values: list[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_struct(field.type):
        return _struct(values, field.type)
    if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
        return _struct_lists(values, field.type)
    return pa.array(values, field.type)


def _struct(values: list[ImageRef | MaskRle | None], struct: pa.StructType) -> pa.Array:
    missing = [value is None for value in values]
    if all(missing):
        return pa.nulls(len(values), struct)
    children = [
        pa.array([None if value is None else getattr(value, child.name) for value in values], child.type)
        for child in struct
    ]
    return pa.StructArray.from_arrays(children, fields=list(struct), mask=pa.array(missing))


def _struct_lists(values: list[tuple[Any, ...]], lists: pa.ListType) -> pa.Array:
    offsets: list[int] = [0]
    flat: list[Any] = []
    for value in values:
        flat.extend(value)
        offsets.append(len(flat))
    items = _struct(flat, lists.value_type) if flat else _empty(lists.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items).cast(lists)
