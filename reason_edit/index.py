"""A data set as one Parquet file: an index of files, or a table that holds the pictures itself."""

import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from reason_edit.embedded import EmbeddedPictures
from reason_edit.problems import Problem, ProblemKind
from reason_edit.released_layout import category_of
from reason_edit.schema import EditSample
from reason_edit.tables import TableError, read_rows, write_rows

COLUMNS = ("sample_id", "category", "instruction", "target_label", "image", "mask")


def write_index(path: Path, samples: list[EditSample]) -> None:
    """Write samples as a Parquet index whose paths are relative to its folder."""
    import os
    from dataclasses import replace

    folder = path.resolve().parent
    rows = [
        replace(
            s,
            image=Path(os.path.relpath(s.image.resolve(), folder)),
            mask=Path(os.path.relpath(s.mask.resolve(), folder)),
        )
        for s in samples
    ]
    write_rows(path, rows, EditSample)


def read_index(path: Path) -> tuple[list[EditSample], list[Problem]]:
    """Read a Parquet data set.

    Args:
        path: A file with the columns of `EditSample`; `image` and `mask` are paths relative to the file's folder, or
            Hugging Face picture structs (`{bytes, path}`), which are unpacked into the cache.

    Returns:
        The samples, and what is wrong with them.
    """
    try:
        schema = pq.read_schema(path)
        missing = [c for c in COLUMNS if c not in schema.names]
        if missing:
            return [], [_table_problem(path, f"no column {', '.join(missing)}; it holds {', '.join(schema.names)}")]
        if str(schema.field("image").type).startswith("struct"):
            samples = rows_to_samples(pq.read_table(path, columns=list(COLUMNS)).to_pylist(), path)
        else:
            samples = [
                EditSample(
                    sample_id=s.sample_id,
                    category=s.category,
                    instruction=s.instruction,
                    target_label=s.target_label,
                    image=path.parent / s.image,
                    mask=path.parent / s.mask,
                )
                for s in read_rows(path, EditSample)
            ]
    except (TableError, OSError, ValueError) as error:
        return [], [_table_problem(path, str(error))]
    return samples, table_problems(path, samples)


def rows_to_samples(rows: list[dict[str, object]], origin: Path) -> list[EditSample]:
    """Table rows with embedded pictures as samples; the pictures are unpacked into the cache once.

    Raises:
        ValueError: A category is unknown, or a picture is missing.
    """
    pictures = EmbeddedPictures(origin)
    samples = []
    for row in rows:
        empty = next((name for name in TEXTS if row[name] is None), None)
        if empty is not None:
            raise ValueError(f"{row['sample_id']}: {empty} is null")
        category = category_of(str(row["category"]))
        if category is None:
            raise ValueError(f"{row['sample_id']}: unknown category {row['category']!r}")
        sample_id = str(row["sample_id"])
        samples.append(
            EditSample(
                sample_id=sample_id if "/" in sample_id else f"{category}/{sample_id}",
                category=category,
                instruction=str(row["instruction"]),
                target_label=str(row["target_label"]),
                image=pictures.unpack(row["image"], f"{sample_id}: image"),
                mask=pictures.unpack(row["mask"], f"{sample_id}: mask"),
            )
        )
    return samples


def _table_problem(path: Path, message: str) -> Problem:
    return Problem(
        kind=ProblemKind.TEXT_FILE,
        where=path.name,
        message=message,
        remedy=f"the table needs the columns {', '.join(COLUMNS)}; `smartedit-bench check DATASET --write` makes one",
        structural=True,
    )


TEXTS = ("sample_id", "category", "instruction", "target_label")
"""Columns that every row has a text in."""


def table_problems(path: Path, samples: list[EditSample]) -> list[Problem]:
    """What is wrong with the samples of a table: ids that occur twice or name no file, and missing pictures."""
    problems = [
        Problem(
            kind=ProblemKind.DUPLICATE,
            where=path.name,
            message=f"{count} rows are named {sample_id}",
            remedy="ids must be unique",
            structural=True,
        )
        for sample_id, count in Counter(s.sample_id for s in samples).items()
        if count > 1
    ]
    for sample in samples:
        # Pictures are written under the id.
        if not re.fullmatch(r"[^/\\\x00.][^/\\\x00]*/[^/\\\x00.][^/\\\x00]*", sample.sample_id):
            problems.append(
                Problem(
                    kind=ProblemKind.TEXT_FILE,
                    where=path.name,
                    message=f"the id {sample.sample_id!r} is not of the form category/name",
                    remedy="give it one without further / and without a dot in front",
                    structural=True,
                )
            )
        for kind, file in ((ProblemKind.MISSING_IMAGE, sample.image), (ProblemKind.MISSING_MASK, sample.mask)):
            if not file.is_file():
                problems.append(
                    Problem(
                        kind=kind,
                        where=sample.sample_id,
                        message=f"there is no file {file}",
                        remedy="put it back, or write the index again",
                        structural=True,
                    )
                )
    return problems
