"""The reference folder as a run: its samples, and the edited pictures as the authors' script joined them."""

import json
import os
from pathlib import Path
from typing import Any

from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.files import file_sha256
from reason_edit.loading import load_reason_edit
from reason_edit.released_layout import category_of
from reason_edit.tables import write_rows


def official(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "official_metrics.json").read_text(encoding="utf-8"))
    return content["with_directory_filter_accepting_6-Reasoning"]


def sample_id_of(row: dict[str, Any]) -> str:
    """The sample that a row of the reference is about."""
    image = Path(row["original"])
    return f"{category_of(image.parent.name)}/{image.stem}"


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
    rows = {sample_id_of(row): row for row in official(folder)["samples"]}
    run = Run(out)
    out.mkdir(parents=True, exist_ok=True)
    samples = load_reason_edit(folder / "benchmark")
    run.write_samples(samples)
    records = [record_of(run, method, s.sample_id, folder / rows[s.sample_id]["edited"]) for s in samples]
    write_rows(run.edits_path, records, EditRecord)
    return run
