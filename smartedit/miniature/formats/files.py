"""Files of the corpora: encoded pictures, JSON, zip archives and hub tables, each whole or absent."""

import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reason_edit.files import atomic_path, write_bytes

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
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    types = {"image": image, "string": pa.string(), "int32": pa.int32()}
    described = {n: {"_type": "Image"} if t == "image" else {"dtype": t, "_type": "Value"} for n, t in features.items()}
    schema = pa.schema(
        [pa.field(name, types[t]) for name, t in features.items()],
        metadata={"huggingface": json.dumps({"info": {"features": described}})},
    )
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        batch: list[dict[str, Any]] = []
        for row in rows:
            batch.append({n: {"bytes": row[n], "path": None} if t == "image" else row[n] for n, t in features.items()})
            if len(batch) == ROW_GROUP:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def shards(count: int, size: int) -> Sequence[range]:
    """The numbers below `count` in runs of `size`."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
