"""Files of the corpora: encoded pictures, JSON, zip archives and hub tables, each whole or absent."""

import io
import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reason_edit.files import atomic_path, file_sha256, write_bytes

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP = 200
"""Rows of a row group: small enough that a reader streams pictures."""


def jpeg(image: NDArray[np.uint8], quality: int = 95) -> bytes:
    """A picture as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def png(image: NDArray[np.uint8]) -> bytes:
    """A picture, a mask or an RGBA picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def write_once(path: Path, content: bytes) -> None:
    """Write a file unless it is there, whole or not at all.

    Unlike `write_bytes` it does not wait for the disk: a killed process leaves no half file behind, and after a power
    cut the folder is to be written anew. With tens of thousands of small pictures the waiting would cost minutes.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp-{os.getpid()}{path.suffix}")
    temporary.write_bytes(content)
    temporary.replace(path)


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write JSON in UTF-8."""
    write_bytes(path, (json.dumps(content, ensure_ascii=False, indent=indent) + "\n").encode())


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a zip archive whose bytes depend on the members alone."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, date_time=(2023, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)


def write_hub_table(path: Path, rows: Iterable[Mapping[str, Any]], features: Mapping[str, str]) -> None:
    """Write a Parquet shard as the Hugging Face `datasets` library does.

    Args:
        path: The shard.
        rows: Values by column; pictures are encoded bytes.
        features: Type by column: `image`, `string` or `int32`.
    """
    import pyarrow.parquet as pq

    schema = _schema(features)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in _batches(rows, features, schema):
            writer.write_table(batch)


def write_saved_dataset(folder: Path, rows: Iterable[Mapping[str, Any]], features: Mapping[str, str]) -> None:
    """Write the folder that `datasets.Dataset.save_to_disk` makes: an Arrow stream and two JSON files.

    Args:
        folder: The folder; `state.json` is written last.
        rows: As in `write_hub_table`.
        features: As in `write_hub_table`.
    """
    import pyarrow as pa

    schema, name = _schema(features), "data-00000-of-00001.arrow"
    with atomic_path(folder / name) as temporary, pa.ipc.new_stream(str(temporary), schema) as writer:
        for batch in _batches(rows, features, schema):
            writer.write_table(batch)
    info = {"citation": "", "description": "", "features": _described(features), "homepage": "", "license": ""}
    write_json(folder / "dataset_info.json", info, indent=2)
    state: dict[str, Any] = {
        "_data_files": [{"filename": name}],
        "_fingerprint": file_sha256(folder / name)[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    write_json(folder / "state.json", state, indent=2)


def _described(features: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {n: {"_type": "Image"} if t == "image" else {"dtype": t, "_type": "Value"} for n, t in features.items()}


def _schema(features: Mapping[str, str]) -> "pa.Schema":
    import pyarrow as pa

    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    types = {"image": image, "string": pa.string(), "int32": pa.int32()}
    fields = [pa.field(name, types[kind]) for name, kind in features.items()]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": _described(features)}})})


def _batches(
    rows: Iterable[Mapping[str, Any]], features: Mapping[str, str], schema: "pa.Schema"
) -> "Iterator[pa.Table]":
    """Rows in tables of `ROW_GROUP`, so that never all pictures are in memory."""
    import pyarrow as pa

    remaining = iter(rows)
    while chunk := list(islice(remaining, ROW_GROUP)):
        structs = [
            {n: {"bytes": row[n], "path": None} if t == "image" else row[n] for n, t in features.items()}
            for row in chunk
        ]
        yield pa.Table.from_pylist(structs, schema=schema)


def shards(count: int, size: int) -> Sequence[range]:
    """The numbers below `count` in runs of `size`."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
