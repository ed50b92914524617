"""The reference folder as a run: samples and edited pictures as the authors' script joined them."""

import json
import os
from pathlib import Path
from typing import Any

from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.files import file_sha256
from reason_edit.schema import Category, EditSample
from reason_edit.tables import write_rows

CATEGORIES = dict(zip("123456", Category, strict=False))


def official(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "official_metrics.json").read_text(encoding="utf-8"))
    return content["with_directory_filter_accepting_6-Reasoning"]


def sample_of(row: dict[str, Any], folder: Path) -> EditSample:
    image = folder / row["original"]
    category = CATEGORIES[image.parent.name[0]]
    return EditSample(
        sample_id=f"{category}/{image.stem}",
        category=category,
        instruction="not needed here",
        target_label=row["clip_text"],
        image=image,
        mask=image.with_name(f"{image.stem}_mask.jpg"),
    )


def record_of(run: Run, method: str, sample_id: str, picture: Path) -> EditRecord:
    return EditRecord(
        method=method,
        sample_id=sample_id,
        image=os.path.relpath(picture.resolve(), run.folder.resolve()),
        image_sha256=file_sha256(picture),
        seed=0,
        response=None,
        error=None,
    )


def golden_run(folder: Path, out: Path, method: str = "reference") -> Run:
    rows = official(folder)["samples"]
    run = Run(out)
    out.mkdir(parents=True, exist_ok=True)
    samples = [sample_of(row, folder) for row in rows]
    run.write_samples(samples)
    records = [record_of(run, method, s.sample_id, folder / r["edited"]) for s, r in zip(samples, rows, strict=True)]
    write_rows(run.edits_path, records, EditRecord)
    return run
