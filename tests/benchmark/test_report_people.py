"""Ins-align and judges in the report: in a column beside the measured ones, with who stands behind them."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.commands.judge import app as judge_app
from benchmark.commands.rate import app as rate_app
from benchmark.commands.rating_study import open_study
from benchmark.records import Score
from benchmark.report.columns import minus
from benchmark.report.content import load_content
from benchmark.report.layout import main_table
from benchmark.report.pairs import pair_tables
from benchmark.runs import Run
from tests.benchmark.commands.test_rate_and_judge import invoke, rate_all
from tests.benchmark.judges.playing_endpoint import playing, said
from tests.reason_edit.rating.drawn_run import METHODS, write_run


@pytest.fixture
def judged(tmp_path: Path) -> Run:
    run = write_run(tmp_path / "run", samples=9)
    measured = [
        Score(method=m, sample_id=s.sample_id, protocol="strict-v1", metric="background_ssim", value=0.5 + i / 100)
        for m in METHODS
        for i, s in enumerate(run.samples())
    ]
    run.write_scores(measured, [])
    study = open_study([run.folder], None, names=["ann", "bo", "cy"])
    rate_all(study.store)
    study.store.engine.dispose()
    runner = CliRunner()
    assert runner.invoke(rate_app, ["aggregate", str(run.folder), "--resamples", "200"]).exit_code == 0
    with playing(lambda body, _: said("yes", model=body["model"])) as endpoint:
        words = [str(run.folder), "--judge", "vlm", "--model", "m-1", "--endpoint", endpoint.url]
        assert runner.invoke(judge_app, words).exit_code == 0
    return run


def test_people_and_judges_have_columns_of_their_own(judged: Run) -> None:
    table = main_table(load_content(judged), "strict-v1")
    titles = [h.title for h in table.headings]
    assert any("Ins-align" in t for t in titles)
    assert any("judge vlm" in t for t in titles)


def test_the_interval_of_ins_align_is_over_samples_and_raters(judged: Run) -> None:
    told = json.loads((judged.folder / "ins_align.json").read_text())
    ends = {(s["method"], s["group"]): (s["low"], s["high"]) for s in told["summaries"]}
    content = load_content(judged)
    found = content.summaries["strict-v1", METHODS[0], "overall", "ins_align"]
    assert (found.low, found.high) == ends[METHODS[0], "overall"]
    (judged.folder / "ins_align.json").unlink()
    bare = load_content(judged).summaries["strict-v1", METHODS[0], "overall", "ins_align"]
    assert bare.low != bare.low


def test_the_interval_of_a_difference_is_over_samples_and_raters(judged: Run) -> None:
    told = json.loads((judged.folder / "ins_align.json").read_text())["comparisons"]
    ends = {(c["first"], c["second"]): (c["low"], c["high"]) for c in told if c["group"] == "overall"}
    (table,) = pair_tables(judged, load_content(judged), "strict-v1", ["ins_align"])
    assert any("intervals: bootstrap over samples and raters" in note for note in table.notes)
    for first, second, difference, *_ in table.sections[0][1]:
        straight, turned = ends.get((first.text, second.text)), ends.get((second.text, first.text))
        low, high = straight or (-turned[1], -turned[0])  # type: ignore[index]
        assert difference.interval == minus(f"[{low:.3f}, {high:.3f}]")
    words = [str(judged.folder), "--metric", "ins_align", "--format", "csv"]
    rows = csv.DictReader(invoke(app, "compare", *words).splitlines())
    assert {(float(r["low"]), float(r["high"])) for r in rows} == set(ends.values())


def test_the_notes_name_raters_judge_and_agreement(judged: Run) -> None:
    notes = " ".join(main_table(load_content(judged), "strict-v1").notes)
    assert "Ins-align: 3 raters under human-v1; intervals over samples and raters; Krippendorff's alpha 1.000" in notes
    assert "judge vlm: m-1 under judge-vlm-v1; agreement with people not measured. Not Ins-align." in notes
    assert CliRunner().invoke(judge_app, ["agreement", str(judged.folder), "--resamples", "100"]).exit_code == 0
    notes = " ".join(main_table(load_content(judged), "strict-v1").notes)
    assert "judge vlm: m-1 under judge-vlm-v1; against people on 27 edits: accuracy 0.667 [" in notes
    assert "bias 0.333 [" in notes


def test_a_rater_who_is_left_out_counts_nowhere_and_every_note_says_so(judged: Run) -> None:
    agreement = judged.folder / "judges" / "vlm.agreement.json"
    invoke(judge_app, "agreement", judged.folder, "--resamples", "100")
    invoke(rate_app, "aggregate", judged.folder, "--resamples", "100")
    assert agreement.is_file()
    invoke(rate_app, "aggregate", judged.folder, "--resamples", "100", "--without", "bo")
    assert not agreement.exists()
    assert "Left out, as from Ins-align: bo" in invoke(judge_app, "agreement", judged.folder, "--resamples", "100")
    told = json.loads(agreement.read_text())
    assert (told["raters"], told["without"]) == (["ann", "cy"], ["bo"])
    notes = " ".join(main_table(load_content(judged), "strict-v1").notes)
    assert "Ins-align: 2 raters under human-v1, without bo on request;" in notes
    assert "against people on 27 edits, without bo on request: accuracy" in notes
