"""Scores, judgements and ratings of a picture go with it, and never stand beside those of the one in its place."""

import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.commands.judge import app as judge_app
from benchmark.commands.rating_study import open_study
from benchmark.judges.judging import read_judgements
from benchmark.records import Score
from benchmark.report.content import load_content
from benchmark.report.layout import main_table
from benchmark.runs import Run
from reason_edit.rating.study import Answer, Rating
from reason_edit.schema import Category
from reason_edit.tables import read_rows
from tests.benchmark.commands.test_rate_and_judge import rate_all, refusal
from tests.reason_edit.folders import write_folder
from tests.reason_edit.rating.drawn_run import METHODS

LIGHT = "tests.benchmark.test_standing:light_judge"
MENDED = "color/001"


class LightJudge:
    """Calls a light picture aligned."""

    protocol = "judge-light"
    model = "light"
    limit = 127

    def judge(self, cases):  # type: ignore[no-untyped-def]
        from benchmark.judges.verdicts import Opinion

        for case in cases:
            with Image.open(case.edited) as picture:
                light = picture.convert("L").getpixel((0, 0)) > self.limit
            yield Opinion(answer=Answer.ALIGNED if light else Answer.NOT_ALIGNED, reason=None, reply="seen")


def light_judge(run: Run, options: object) -> LightJudge:
    return LightJudge()


def bench(*words: object) -> str:
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def paint(folder: Path, sample_id: str, shade: int) -> None:
    path = folder / f"{sample_id}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (48, 32), (shade,) * 3).save(path)


def values(run: Run, metric: str) -> dict[str, float]:
    return {s.sample_id: s.value for s in run.scores() if s.metric == metric}


@pytest.fixture
def mended(tmp_path: Path) -> Run:
    """A run that was measured, judged and rated, and had one of its three pictures replaced then."""
    data = write_folder(tmp_path / "set", {Category.COLOR: ("001", "002"), Category.REASONING: ("001",)})
    run, outputs = Run(tmp_path / "run"), tmp_path / "outputs"
    edit = ("edit", "--dataset", data, "--outputs", f"{METHODS[0]}={outputs}", "--run", run.folder)
    for sample in ("color/001", "color/002", "reasoning/001"):
        paint(outputs, sample, 250)
    bench(*edit)
    measured = {"method": METHODS[0], "protocol": "strict-v1", "metric": "clip_score"}
    run.write_scores([Score(**measured, sample_id=s.sample_id, value=20.0) for s in run.samples()], [])
    study = open_study([run.folder], None, names=["ann", "bo"])
    rate_all(study.store)
    study.store.engine.dispose()
    bench("rate", "aggregate", run.folder, "--resamples", "100")
    bench("judge", run.folder, "--judge", LIGHT, "--name", "light")
    bench("judge", "agreement", run.folder, "--resamples", "100")
    assert (run.folder / "judges" / "light.agreement.json").is_file()
    assert values(run, "judge:light")[MENDED] == 1.0
    paint(outputs, MENDED, 5)
    bench(*edit)
    return run


def test_what_was_said_of_a_picture_goes_with_it(mended: Run) -> None:
    others = {"color/002", "reasoning/001"}
    for metric in ("clip_score", "ins_align", "judge:light"):
        assert set(values(mended, metric)) == others
    assert {j.sample_id for j in read_judgements(mended, "light")} == others
    assert not (mended.folder / "ins_align.json").exists()
    assert not (mended.folder / "judges" / "light.agreement.json").exists()
    notes = " ".join(main_table(load_content(mended), "strict-v1").notes)
    assert "agreement with people not measured" in notes


def test_a_new_picture_is_judged_anew_and_its_old_ratings_are_kept_and_do_not_count(mended: Run) -> None:
    bench("judge", mended.folder, "--judge", LIGHT, "--name", "light")
    assert values(mended, "judge:light") == {MENDED: 0.0, "color/002": 1.0, "reasoning/001": 1.0}
    output = bench("rate", "aggregate", mended.folder, "--resamples", "100")
    assert "Left out, on pictures that these runs no longer have: 2 answers" in output
    rated = values(mended, "ins_align")
    assert math.isnan(rated.pop(MENDED))
    assert rated == {"color/002": 1.0, "reasoning/001": 1.0}
    assert [(u.sample_id, u.reason) for u in mended.unscored()] == [(MENDED, "not rated")]
    assert len(read_rows(mended.folder / "ratings.parquet", Rating)) == 6
    bench("judge", "agreement", mended.folder, "--resamples", "100")
    assert '"edits": 2' in (mended.folder / "judges" / "light.agreement.json").read_text()


def test_a_changed_verdict_takes_the_agreement_with_it(mended: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = ("judge", mended.folder, "--judge", LIGHT, "--name", "light")
    bench(*judge)
    bench("judge", "agreement", mended.folder, "--resamples", "100")
    agreement = mended.folder / "judges" / "light.agreement.json"
    bench(*judge)
    assert agreement.is_file()
    monkeypatch.setattr(LightJudge, "limit", 255)
    bench(*judge)
    assert not agreement.exists()


def test_tables_that_do_not_name_the_picture_do_not_count(mended: Run) -> None:
    table = mended.folder / "judges" / "light.parquet"
    pq.write_table(pq.read_table(table).drop_columns("edited_sha256"), table)
    assert "no column edited_sha256" in refusal(judge_app, "agreement", mended.folder)
    bench("judge", mended.folder, "--judge", LIGHT, "--name", "light")
    assert len(read_judgements(mended, "light")) == 3
    table = mended.folder / "ratings.parquet"
    pq.write_table(pq.read_table(table).drop_columns("edited_sha256"), table)
    assert "`smartedit-bench rate export` writes it anew" in refusal(judge_app, "agreement", mended.folder)
