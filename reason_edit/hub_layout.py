"""A Hugging Face `datasets` folder: Parquet files, or what `save_to_disk` wrote."""

from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from reason_edit.index import COLUMNS, rows_to_samples, table_problems
from reason_edit.problems import Problem, ProblemKind
from reason_edit.schema import EditSample


def is_hub_folder(path: Path) -> bool:
    """Whether a folder holds Parquet files or a saved `datasets` set instead of category folders."""
    return bool(_parquet_files(path)) or bool(_arrow_files(path))


def read_hub_folder(path: Path) -> tuple[list[EditSample], list[Problem]]:
    """Read a `datasets` folder whose rows have the columns of `EditSample`.

    Args:
        path: The folder; its pictures are structs `{bytes, path}` and are unpacked into the cache.

    Returns:
        The samples in file order, and what is wrong.
    """
    try:
        files = _parquet_files(path)
        if files:
            table = pa.concat_tables([pq.read_table(f) for f in files], promote_options="permissive")
        else:
            table = pa.concat_tables([_read_arrow(f) for f in _arrow_files(path)], promote_options="permissive")
        missing = [c for c in COLUMNS if c not in table.column_names]
        if missing:
            raise ValueError(f"no column {', '.join(missing)}; it holds {', '.join(table.column_names)}")
        samples = rows_to_samples(table.select(list(COLUMNS)).to_pylist(), path)
        return samples, table_problems(path, samples)
    except (pa.ArrowInvalid, OSError, ValueError) as error:
        problem = Problem(
            kind=ProblemKind.TEXT_FILE,
            where=path.name,
            message=str(error),
            remedy=f"the rows need the columns {', '.join(COLUMNS)}",
            structural=True,
        )
        return [], [problem]


def _parquet_files(path: Path) -> list[Path]:
    files = [*path.glob("*.parquet"), *path.glob("data/*.parquet")]
    return sorted(f for f in files if not f.name.startswith("."))


def _arrow_files(path: Path) -> list[Path]:
    if not ((path / "state.json").is_file() or (path / "dataset_dict.json").is_file()):
        return []
    return sorted([*path.glob("*.arrow"), *path.glob("*/*.arrow")])


def _read_arrow(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pyarrow.ipc.open_stream(source).read_all()
