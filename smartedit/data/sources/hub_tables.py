"""Data sets as the Hugging Face hub gives them: Parquet shards, or Arrow shards that `save_to_disk` wrote.

Only texts are read; of the pictures no more than whether they are there, from the files' own statistics.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartedit.data.examples import ImageRef, Reason, Storage
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError, inside

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["Found", "Shard", "find_shards", "shard_records"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One file of a data set: a Parquet file, or an Arrow file of `save_to_disk`."""

    path: Path
    storage: Storage


def find_shards(root: Path, split: str) -> tuple[str, list[Shard]]:
    """The files of a split in a folder, and which layout they are in.

    Args:
        root: The data set's folder.
        split: Shards begin with it (`train-00000-of-...`) or lie in a folder of its name; `all` takes every shard. A
            `save_to_disk` folder that names no split is of `train`, unless its own name is the split.

    Returns:
        The layout in words and the shards in the order of their names; no shards where the layout does not match.

    Raises:
        SourceError: A `save_to_disk` folder that only selects rows of other files, or does not say that it is of the
            split.
    """
    for folder in (root, root / "data"):
        paths = sorted(path for path in folder.glob("*.parquet") if split == "all" or _of_split(path.name, split))
        if paths:
            return f"Parquet shards in {folder}", [Shard(path=path, storage=Storage.PARQUET) for path in paths]
    for folder in (root, root / split, root / "train"):
        if (folder / "state.json").is_file() and (folder != root / "train" or split in ("train", "all")):
            own_split, shards = _saved_shards(folder)
            if own_split is None and folder.name != split and split not in ("train", "all"):
                raise SourceError(
                    f"{folder / 'state.json'}: names no split, so its rows are taken for those of train and not of "
                    f"{split!r}; if they are of {split!r}, give the folder that name, else ask for split train"
                )
            if own_split is None or split in (own_split, "all"):
                return f"save_to_disk folder {folder}", shards
    return "", []


def _of_split(name: str, split: str) -> bool:
    return name.startswith((f"{split}-", f"{split}.", f"{split}_"))


def _saved_shards(folder: Path) -> tuple[str | None, list[Shard]]:
    """The split that a folder was saved from, if it says so, and its files."""
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        names = [entry["filename"] for entry in state["_data_files"]]
        own_split = state.get("_split")
        selects = state.get("_indices_files") or state.get("_indices_data_files")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{folder / 'state.json'}: not what save_to_disk writes ({error})") from error
    if selects:
        raise SourceError(f"{folder}: holds a selection of rows; save it again after flatten_indices()")
    try:
        return own_split, [Shard(path=inside(folder, name), storage=Storage.ARROW) for name in names]
    except FaultyRecordError as error:
        raise SourceError(f"{folder / 'state.json'}: {error}") from error


def shard_records(
    shard: Shard, texts: Sequence[str], pictures: Sequence[str], shared: Origin
) -> Iterator[tuple[int, Mapping[str, Any], Mapping[str, ImageRef | None]]]:
    """The records of a shard.

    Args:
        shard: The file.
        texts: Columns to read.
        pictures: Columns that are only referred to.
        shared: The rows' origin, which image paths are relative to.

    Yields:
        Row number, values of the text columns, and the pictures' references, None where a picture is missing.

    Raises:
        FaultyRecordError: The file is broken or lacks a column.
    """
    import pyarrow as pa

    where = shared.relative(shard.path)
    try:
        for start, table, flags in _batches(shard, texts, pictures):
            columns = {name: table[name].to_pylist() for name in texts}
            for offset in range(table.num_rows):
                references = {
                    name: _reference(shard, where, name, start + offset, flags[name], offset, shared)
                    for name in pictures
                }
                yield start + offset, {name: columns[name][offset] for name in texts}, references
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FaultyRecordError(Reason.UNREADABLE_FILE, f"{shard.path.name}: {error}") from error


def _reference(
    shard: Shard, where: str, column: str, row: int, absent: "Sequence[str | None] | None", offset: int, shared: Origin
) -> ImageRef | None:
    """The reference to a cell; where its bytes are missing, to the file that its path names, if there is one."""
    if absent is None or absent[offset] == "":
        return ImageRef(storage=shard.storage, path=where, row=row, column=column)
    name = absent[offset]
    if name is None:
        return None
    try:
        path = inside(shard.path.parent, name)
    except FaultyRecordError:
        return None
    return ImageRef(path=shared.relative(path)) if os.path.isfile(path) else None


Flags = Mapping[str, "Sequence[str | None] | None"]
"""For each picture column None if no bytes are missing, else for each row "" (bytes), a path, or None (nothing)."""


def _batches(shard: Shard, texts: Sequence[str], pictures: Sequence[str]) -> "Iterator[tuple[int, pa.Table, Flags]]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    if shard.storage is Storage.ARROW:
        with pa.memory_map(str(shard.path)) as source:
            start = 0
            for batch in pa.ipc.open_stream(source):
                _require(batch.schema.names, texts, pictures, shard.path)
                batch.validate(full=True)  # Arrow follows whatever offsets stand in a file
                table = pa.Table.from_batches([batch])
                yield start, table.select(list(texts)), {name: _absent(table[name]) for name in pictures}
                start += batch.num_rows
        return
    with pq.ParquetFile(shard.path) as file:
        _require(file.schema_arrow.names, texts, pictures, shard.path)
        start = 0
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=list(texts))
            doubtful = [name for name in pictures if not _all_there(file, group, name)]
            cells = file.read_row_group(group, columns=doubtful) if doubtful else None
            flags = {
                name: _absent(cells[name]) if cells is not None and name in doubtful else None for name in pictures
            }
            yield start, table, flags
            start += table.num_rows


def _require(present: Sequence[str], texts: Sequence[str], pictures: Sequence[str], path: Path) -> None:
    missing = [name for name in (*texts, *pictures) if name not in present]
    if missing:
        raise FaultyRecordError(
            Reason.MISSING_FIELD, f"{path.name}: no column {', '.join(missing)}; it holds {', '.join(present)}"
        )


def _all_there(file: "pq.ParquetFile", group: int, name: str) -> bool:
    """Whether the statistics of a row group say that no picture's bytes are missing."""
    metadata = file.metadata.row_group(group)
    for index in range(metadata.num_columns):
        column = metadata.column(index)
        if column.path_in_schema in (name, f"{name}.bytes"):
            statistics = column.statistics
            return statistics is not None and statistics.has_null_count and statistics.null_count == 0
    return False


def _absent(cells: "pa.ChunkedArray") -> "Sequence[str | None] | None":
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(cells.type):
        names = [field.name for field in cells.type]
        content = pc.struct_field(cells, "bytes") if "bytes" in names else pa.nulls(len(cells))
        paths = pc.struct_field(cells, "path") if "path" in names else pa.nulls(len(cells))
    else:
        content, paths = cells, pa.nulls(len(cells))
    present = pc.and_kleene(pc.is_valid(cells), pc.is_valid(content))
    if pc.all(present, min_count=0).as_py():
        return None
    there = present.to_pylist()
    return ["" if ok else path or None for ok, path in zip(there, paths.to_pylist(), strict=True)]
