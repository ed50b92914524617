import csv
import io
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmark.commands.compare import compare
from benchmark.commands.report import report
from benchmark.joined_runs import join_runs
from benchmark.records import Score
from benchmark.runs import RunError
from tests.benchmark.report_run import PROTOCOL, write_run

app = typer.Typer()
app.command()(compare)
app.command()(report)


def test_runs_on_one_data_set_are_compared_with_labels_that_differ(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", per_category=1, methods=("painter", "smearer"))
    second = write_run(tmp_path / "two", per_category=1, methods=("painter", "paster"))
    joined = join_runs([first, second])
    assert {s.method for s in joined.scores} == {"one/painter", "two/painter", "smearer", "paster"}
    assert joined.protocol("clip_score") == PROTOCOL


def test_other_samples_or_another_fingerprint_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", per_category=1)
    longer = write_run(tmp_path / "two", per_category=2)
    with pytest.raises(RunError, match=r"two: holds other samples than .*one, for example color/002"):
        join_runs([first, longer])
    same = write_run(tmp_path / "three", per_category=1)
    settings = same.settings()
    settings["dataset"]["fingerprint"] = "other"
    same.write_settings(settings)
    with pytest.raises(RunError, match=r"three: on another data set than .*'other' and 'abc123'"):
        join_runs([first, same])
    with pytest.raises(RunError, match="given twice"):
        join_runs([first, first])


def test_numbers_of_different_networks_or_judges_do_not_compare(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / name, per_category=1, methods=("painter",)) for name in ("one", "two")]
    for run, letter in zip(runs, "ab", strict=True):
        clip = {"name": "clip", "sha256": letter * 64}
        run.write_settings({**run.settings(), "protocols": {PROTOCOL: {"networks": {"clip": clip}}}})
        (run.folder / "judges").mkdir()
        about = {"name": "vlm", "model": f"m-{letter}", "protocol": "judge-v1"}
        (run.folder / "judges" / "vlm.json").write_text(json.dumps(about))
        judged = [Score(method="painter", sample_id=s.sample_id, protocol="judge-v1", metric="judge:vlm", value=1.0)
                  for s in run.samples()]  # fmt: skip
        run.write_scores([*run.scores(), *judged], run.unscored())
    joined = join_runs(runs)
    assert joined.protocol("background_psnr") == PROTOCOL
    with pytest.raises(RunError, match=r"clip_score under .*: .*one by clip \(a{12}\); .*two by clip \(b{12}\)"):
        joined.protocol("clip_score")
    with pytest.raises(RunError, match=r"one by m-a under judge-v1; .*two by m-b under judge-v1"):
        joined.protocol("judge:vlm")
    assert join_runs(runs[:1]).protocol("judge:vlm") == "judge-v1"


def test_compare_prints_every_pair(tmp_path: Path) -> None:
    write_run(tmp_path / "run", methods=("painter", "smearer", "paster"))
    arguments = ["compare", str(tmp_path / "run"), "--metric", "background_ssim", "--format", "csv"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.output)))
    assert [(r["first"], r["second"], r["pairs"], r["total"]) for r in rows] == [
        ("painter", "paster", "18", "18"),
        ("painter", "smearer", "17", "18"),
        ("paster", "smearer", "17", "18"),
    ]
    assert all(float(r["p_holm"]) < 0.01 and float(r["minimal_detectable"]) >= 0 for r in rows)
    for name, words in (("terminal", "Holm"), ("markdown", "| painter | smearer | **+0.10"), ("latex", r"\toprule")):
        result = CliRunner().invoke(app, [*arguments[:-1], name])
        assert result.exit_code == 0
        assert words in result.output


def test_a_mistake_is_one_plain_message(tmp_path: Path) -> None:
    write_run(tmp_path / "run", per_category=1)
    for arguments, message, code in (
        (
            ["compare", str(tmp_path / "run"), "--metric", "beauty"],
            "no beauty scores; there are scores of background_lpips",
            1,
        ),
        (["compare", str(tmp_path / "nothing")], "not a run folder", 1),
        (["compare", str(tmp_path / "run"), "--protocol", "x"], "no background_psnr scores under x", 1),
        (["report", str(tmp_path / "run"), "--format", "docx"], "unknown format 'docx'", 1),
        (["report", str(tmp_path / "run"), "--format", "figure", "--samples", "color/9"], "no sample color/9", 1),
        (["compare", str(tmp_path / "run"), "--format", "docx"], "unknown format 'docx'", 2),
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, result.output
        assert message in " ".join(result.output.replace("│", " ").split())
        assert "Traceback" not in result.output


def test_report_writes_what_is_asked_for_and_prints_the_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=1)
    result = CliRunner().invoke(app, ["report", str(run.folder), "--format", "markdown", "--format", "csv"])
    assert result.exit_code == 0, result.output
    for words in ("painter", "Understanding", "Reasoning", "5/5", "∞", "report.md"):
        assert words in result.output
    assert (run.folder / "report.md").is_file()
    assert not (run.folder / "report.html").exists()
