"""`judge RUN --judge exact`: runs on the miniature are judged, others are told why not."""

import json
import math
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmark.commands.judge import app
from benchmark.judges.judging import read_judgements
from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.files import file_sha256
from reason_edit.rating.study import Answer
from reason_edit.tables import read_rows, write_rows
from smartedit.miniature import benchmark_set
from smartedit.miniature.benchmark_set import FOLDERS, write_reason_edit
from tests.benchmark.drawn_runs import drawn_run

SAMPLES = 6


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of one method the exact targets, of another the sources, of a third a single edit."""
    from reason_edit.loading import load_reason_edit

    folder = tmp_path_factory.mktemp("exact")
    write_reason_edit(folder / "set", seed=0, size=64)
    rows = read_rows(folder / "set" / "answers" / "scenes.parquet", benchmark_set.Answer)
    targets = {a.sample_id: folder / "set" / "answers" / a.target for a in rows}
    samples = load_reason_edit(folder / "set")[:: 219 // SAMPLES][:SAMPLES]
    run, records = Run(folder / "run"), []
    for method in ("oracle-target", "copy-input", "breaks"):
        for number, sample in enumerate(samples):
            path = run.image_path(method, sample.sample_id)
            broken = method == "breaks" and number > 0
            if not broken:
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.open(sample.image if method == "copy-input" else targets[sample.sample_id]).save(path)
            records.append(
                EditRecord(
                    method=method,
                    sample_id=sample.sample_id,
                    image=None if broken else path.relative_to(run.folder).as_posix(),
                    image_sha256=None if broken else file_sha256(path),
                    seed=0,
                    response=None,
                    error="out of memory" if broken else None,
                )
            )
    run.write_settings({})
    run.write_samples(samples)
    write_rows(run.edits_path, records, EditRecord)
    result = CliRunner().invoke(app, [str(run.folder), "--judge", "exact"])
    assert result.exit_code == 0, result.output
    assert f"oracle-target\tjudge exact\t1.000\tn = {SAMPLES}/{SAMPLES}" in result.output
    return run


def test_targets_are_aligned_and_copies_are_not(judged: Run) -> None:
    scores = {(s.method, s.sample_id): s for s in judged.scores()}
    assert {(s.metric, s.protocol) for s in scores.values()} == {("judge:exact", "judge-exact-v1")}
    assert [s.value for (method, _), s in scores.items() if method == "oracle-target"] == [1.0] * SAMPLES
    assert [s.value for (method, _), s in scores.items() if method == "copy-input"] == [0.0] * SAMPLES


def test_a_missing_edit_is_no_score(judged: Run) -> None:
    values = [s.value for s in judged.scores() if s.method == "breaks"]
    assert len(values) == SAMPLES
    assert sum(math.isnan(v) for v in values) == SAMPLES - 1
    assert {u.reason for u in judged.unscored()} == {"no edited picture: out of memory"}


def test_the_reply_says_what_is_wrong(judged: Run) -> None:
    rows = [j for j in read_judgements(judged, "exact") if j.method == "copy-input"]
    assert {j.answer for j in rows} == {Answer.NOT_ALIGNED}
    assert all(json.loads(j.reply or "")["faults"] == ["not edited"] for j in rows)
    about = json.loads((judged.folder / "judges" / "exact.json").read_text())
    assert about["kind"] == "exact"
    assert about["model"].startswith("scenes@")


def test_another_source_picture_gets_no_answer(judged: Run, tmp_path: Path) -> None:
    shutil.copytree(judged.folder.parent, tmp_path / "copy")
    run = Run(tmp_path / "copy" / "run")
    sample = run.samples()[0]
    assert sample.image.parent.name == FOLDERS[sample.category][0]
    Image.new("RGB", (64, 64)).save(sample.image)
    result = CliRunner().invoke(app, [str(run.folder), "--judge", "exact", "--method", "oracle-target"])
    assert result.exit_code == 0, result.output
    assert f"n = {SAMPLES - 1}/{SAMPLES}" in result.output
    assert "not the scene" in result.output


def test_other_data_sets_are_told_why_not(tmp_path: Path) -> None:
    run = drawn_run(tmp_path)
    run.write_settings({})
    result = CliRunner().invoke(app, [str(run.folder), "--judge", "exact"])
    assert result.exit_code == 1
    assert "knows only the miniature" in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_an_unknown_judge_is_told_which_there_are(judged: Run) -> None:
    result = CliRunner().invoke(app, [str(judged.folder), "--judge", "oracle"])
    assert result.exit_code == 1
    assert "zero-shot, vlm, exact" in " ".join(result.output.split())
