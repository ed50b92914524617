"""Fingerprints of a manifest's pictures, computed once and kept on disk by file, size and times of change.

Reading every picture to know whether it is the one of last time would cost nearly what hashing it again costs. The time
that a program can set (of the content) and the one that only the system sets (of the file's entry) stand in the key, so
that a picture which is replaced by another of the same size and time is noticed too.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reason_edit.tables import write_arrow
from smartedit.data.duplicates import Prints
from smartedit.data.examples import ImageRef, Storage
from smartedit.data.faults import FaultyRecordError
from smartedit.data.fingerprints import VERSION, Fingerprint, fingerprint
from smartedit.data.manifest import Manifest
from smartedit.data.pictures import PictureStore

HASHES = ("luma", "edges", "middle_luma", "middle_edges")
SCHEMA = pa.schema(
    {"key": pa.string(), "pixels": pa.binary(32), **dict.fromkeys(HASHES, pa.binary(16)), "is_plain": pa.bool_()}
)
SHARD = 2048
TOGETHER = 1 << 19
WORKERS = 2
REF_FIELDS = ("storage", "path", "member", "row", "column")

Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureTable:
    """The pictures that a manifest's rows point to, each once.

    Attributes:
        refs: Table of the fields of `ImageRef`, one row a picture.
        of_rows: By role (`image`, `target`), the picture's number for every row of the manifest, or -1.
    """

    refs: pa.Table
    of_rows: dict[str, np.ndarray[Any, np.dtype[np.int64]]]

    def ref(self, number: int) -> ImageRef:
        """Where a picture lies."""
        values = self.refs.slice(number, 1).to_pylist()[0]
        return ImageRef(**{**values, "storage": Storage(values["storage"])})


def find_pictures_of(manifest: Manifest) -> PictureTable:
    """Collect the source and target pictures of all rows."""
    table = pa.Table.from_batches(list(manifest.batches(columns=["image", "target"])))
    flat: list[pa.Table] = []
    for role in ("image", "target"):
        column = table.column(role).combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        fields = {name: pc.struct_field(column, name) for name in REF_FIELDS}
        flat.append(pa.table(fields))
    both = pa.concat_tables(flat)
    keys = _joined(both)
    unique = pc.unique(keys).drop_null()
    numbers = pc.index_in(keys, value_set=unique).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    shown = np.flatnonzero(numbers >= 0)
    firsts = shown[np.unique(numbers[shown], return_index=True)[1]]
    return PictureTable(
        refs=both.take(pa.array(firsts)),
        of_rows={"image": numbers[: len(table)], "target": numbers[len(table) :]},
    )


def _joined(refs: pa.Table) -> pa.Array:
    """A text for every picture; null where there is none."""
    parts = [pc.fill_null(refs.column(name).cast(pa.string()), "") for name in REF_FIELDS]
    texts = pc.binary_join_element_wise(*parts, "\0")
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return pc.if_else(pc.is_valid(refs.column("path")).combine_chunks(), texts, pa.scalar(None, pa.string()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """Fingerprints in the order of the pictures, and by a picture's number why it has none."""

    prints: Prints
    faults: dict[int, str]


def read_fingerprints(pictures: PictureTable, data_root: Path, cache: Path, progress: Progress) -> Read:
    """The fingerprints of pictures: those in the cache, and the others computed and added to it.

    What is computed is written every 2,048 pictures, so that an interrupted audit goes on where it was. A picture that
    cannot be read is named and not kept.

    Args:
        pictures: Which.
        data_root: The folder that their paths are relative to.
        cache: Folder of caches; several manifests may share it.
        progress: Told how many are computed.
    """
    cache = shard_folder(cache)
    keys = _keys(pictures.refs, Path(os.path.abspath(data_root)))
    stored = _stored(cache, keys)
    places = pc.index_in(keys, value_set=stored.column("key").combine_chunks())
    missing = np.flatnonzero(places.is_null().to_numpy(zero_copy_only=False))
    faults: dict[int, str] = {}
    added = list(_compute(pictures, data_root, keys, missing.tolist(), cache, faults, progress))
    if added:
        stored = pa.concat_tables([stored, *added])
        places = pc.index_in(keys, value_set=stored.column("key").combine_chunks())
    is_read = places.is_valid().to_numpy(zero_copy_only=False)
    taken = stored.take(places.fill_null(0)) if len(stored) else pa.table({n: pa.nulls(len(keys), t) for n, t in _t()})
    is_plain = taken.column("is_plain").fill_null(True).to_numpy()
    return Read(
        prints=Prints(
            pixels=_bytes(taken.column("pixels"), "V32"),
            **{name: _bytes(taken.column(name), "<u8").reshape(-1, 2) for name in HASHES},
            is_usable=is_read & ~is_plain,
            is_read=is_read,
        ),
        faults=faults,
    )


def shard_folder(cache: Path) -> Path:
    """Where the fingerprints of this version lie in a folder of caches."""
    return cache / f"pictures-{VERSION}"


def _t() -> Iterator[tuple[str, pa.DataType]]:
    return ((field.name, field.type) for field in SCHEMA)


def _bytes(column: pa.ChunkedArray, dtype: str) -> Any:
    """A column of fixed length as an array of another kind."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    width = array.type.byte_width
    if not len(array):
        return np.empty(0, dtype=dtype)
    start = array.offset * width
    return np.frombuffer(array.buffers()[1], dtype=np.uint8)[start : start + len(array) * width].view(dtype)


def _keys(refs: pa.Table, data_root: Path) -> pa.Array:
    """What identifies a picture's content without reading it: its place, and its file's size and time of change."""
    paths = refs.column("path").combine_chunks().dictionary_encode()
    paths = paths.chunk(0) if isinstance(paths, pa.ChunkedArray) else paths
    stamps = pa.array([_stamp(str(data_root / path)) for path in paths.dictionary.to_pylist()], pa.string())
    of_rows = stamps.take(paths.indices)
    texts = pc.binary_join_element_wise(of_rows, _joined(refs), "\0")
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def _stamp(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return f"{path}\0absent"
    return f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}"


def _stored(cache: Path, keys: pa.Array) -> pa.Table:
    """What the cache holds of these keys."""
    found, pending, count = [SCHEMA.empty_table()], [SCHEMA.empty_table()], 0
    # Not the hidden ones: another audit is writing them, or was killed at it.
    paths = sorted(path for path in cache.glob("*.parquet") if not path.name.startswith("."))
    for path in paths:
        pending.append(pq.read_table(path, schema=SCHEMA))
        count += len(pending[-1])
        if count >= TOGETHER or path == paths[-1]:  # each look-up makes a table of all keys first
            table = pa.concat_tables(pending)
            found.append(table.filter(pc.is_in(table.column("key"), value_set=keys)))
            pending, count = [], 0
    table = pa.concat_tables(found)
    firsts = np.unique(np.asarray(pc.index_in(table.column("key"), value_set=keys)), return_index=True)[1]
    return table.take(pa.array(firsts)) if len(firsts) < len(table) else table


def _compute(
    pictures: PictureTable,
    data_root: Path,
    keys: pa.Array,
    missing: Sequence[int],
    cache: Path,
    faults: dict[int, str],
    progress: Progress,
) -> Iterator[pa.Table]:
    """Compute the missing fingerprints, shard by shard, each stored as soon as it is whole."""
    local = threading.local()

    def one(number: int) -> Fingerprint | str:
        if not hasattr(local, "store"):
            local.store = PictureStore(data_root)
        try:
            return fingerprint(local.store.open_upright(pictures.ref(number)))
        except FaultyRecordError as error:
            return str(error)

    with ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(missing), SHARD):
            part = missing[start : start + SHARD]
            rows = []
            for number, result in zip(part, pool.map(one, part), strict=True):
                if isinstance(result, str):
                    faults[number] = result
                    continue
                rows.append({"key": keys[number].as_py(), **asdict(result)})
            progress("pictures", start + len(part), len(missing))
            if rows:
                table = pa.Table.from_pylist(rows, schema=SCHEMA)
                name = hashlib.sha256("\n".join(row["key"] for row in rows).encode()).hexdigest()[:24]
                write_arrow(cache / f"{name}.parquet", table)
                yield table
