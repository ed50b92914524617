"""The commands from a run folder to Ins-align, and judges beside it."""

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmark.commands.judge import app as judge_app
from benchmark.commands.rate import app as rate_app
from benchmark.commands.rating_study import open_study
from benchmark.report.content import load_content
from benchmark.runs import Run
from reason_edit.rating.store import Store, Vote
from reason_edit.rating.study import Answer, Rating, RatingError
from reason_edit.tables import read_rows, write_rows
from tests.benchmark.judges.playing_endpoint import playing, said
from tests.reason_edit.rating.drawn_run import METHODS, write_run

RATERS = ["ann", "bo", "cy", "di"]


def invoke(app: object, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.output


def refusal(app: object, *arguments: object) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])  # type: ignore[arg-type]
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def rate_all(store: Store, careless: str | None = None) -> None:
    """Everybody answers as the drawn run deserves; a careless rater always says aligned."""
    names = {r.number: r.name for r in store.raters()}
    for number, name in names.items():
        for key in store.items():
            sample = int(key.sample_id.split("/")[1])
            good = key.expected is None and (sample + METHODS.index(key.method)) % 3 != 0
            answer = Answer.ALIGNED if good or name == careless else Answer.NOT_ALIGNED
            nonce = hashlib.sha256(f"{number}/{key.number}".encode()).hexdigest()[:32]
            at = "2026-01-01T00:00:00.000+00:00"
            store.vote(
                number, Vote(item=key.number, answer=answer, seconds=4.0, nonce=nonce, answered_at=at), believed=None
            )


@pytest.fixture
def rated(tmp_path: Path) -> Run:
    run = write_run(tmp_path / "run", samples=9, missing=2)
    opened = open_study([run.folder], None, names=RATERS, copies=4)
    rate_all(opened.store)
    opened.store.engine.dispose()
    return run


def test_from_a_run_folder_to_ins_align_among_its_scores(rated: Run) -> None:
    output = invoke(rate_app, "aggregate", rated.folder, "--resamples", "200")
    assert "Ins-align (human-v1)" in output
    assert "Krippendorff's alpha 1.000" in output
    scores = {(s.method, s.sample_id): s for s in rated.scores()}
    assert len(scores) == 27
    assert {(s.protocol, s.metric) for s in scores.values()} == {("human-v1", "ins_align")}
    for (method, sample), score in scores.items():
        number, place = int(sample.split("/")[1]), METHODS.index(method)
        if place == 2 and number >= 7:
            assert math.isnan(score.value)
        else:
            assert score.value == float((number + place) % 3 != 0)
    assert [(u.method, u.reason) for u in rated.unscored()] == [("walrus-edit", "not rated")] * 2
    content = json.loads((rated.folder / "ins_align.json").read_text())
    overall = {s["method"]: s for s in content["summaries"] if s["group"] == "overall"}
    assert (overall["walrus-edit"]["scored"], overall["walrus-edit"]["total"]) == (7, 9)
    assert overall["zebra-edit"]["mean"] == pytest.approx(2 / 3)
    assert content["raters"] == RATERS
    assert {c["group"] for c in content["comparisons"]} == {"overall", "understanding", "reasoning"}
    assert [p["attention_passed"] for p in content["profiles"]] == [4] * 4


def test_aggregating_again_gives_the_same_bytes_and_keeps_other_scores(rated: Run) -> None:
    from benchmark.records import Score

    rated.write_scores(
        [Score(method="zebra-edit", sample_id="color/001", protocol="strict-v1", metric="clip_score", value=20.0)], []
    )
    hashes = []
    for _ in range(2):
        invoke(rate_app, "aggregate", rated.folder, "--resamples", "200")
        files = (
            "scores.parquet",
            "unscored.parquet",
            "ratings.parquet",
            "ratings.csv",
            "attention.parquet",
            "ins_align.json",
        )
        hashes.append([hashlib.sha256((rated.folder / f).read_bytes()).hexdigest() for f in files])
    assert hashes[0] == hashes[1]
    assert len(rated.scores()) == 28


def test_a_rater_far_from_the_rest_is_named_and_left_out_only_on_request(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=30)
    opened = open_study([run.folder], None, names=RATERS)
    rate_all(opened.store, careless="cy")
    opened.store.engine.dispose()
    output = " ".join(invoke(rate_app, "aggregate", run.folder, "--resamples", "200").split())
    assert "Look at cy: agrees with the others' majority on" in output
    assert json.loads((run.folder / "ins_align.json").read_text())["raters"] == RATERS
    output = invoke(rate_app, "aggregate", run.folder, "--resamples", "200", "--without", "cy")
    assert "Left out on request: cy" in output
    content = json.loads((run.folder / "ins_align.json").read_text())
    assert (content["raters"], content["without"]) == (["ann", "bo", "di"], ["cy"])
    assert "no rater eve" in refusal(rate_app, "aggregate", run.folder, "--without", "eve")


def test_export_and_status(rated: Run) -> None:
    assert "100 ratings" in invoke(rate_app, "export", rated.folder)
    rows = read_rows(rated.folder / "ratings.parquet", Rating)
    table = pd.read_csv(rated.folder / "ratings.csv")
    assert list(table.columns) == ["method", "sample_id", "rater", "answer", "seconds", "edited_sha256"]
    assert len(rows) == len(table) == 100
    assert set(table["answer"]) == {"aligned", "not"}
    assert len(pd.read_parquet(rated.folder / "attention.parquet")) == 16
    output = invoke(rate_app, "status", rated.folder)
    assert "4/4" in output
    assert "ann" in output
    token = Store.open(str(rated.folder / "study.sqlite")).raters()[0].token
    assert token not in output
    assert f"ann\t/r/{token}/" in invoke(rate_app, "status", rated.folder, "--links")


def test_tables_of_ratings_are_enough(rated: Run) -> None:
    invoke(rate_app, "export", rated.folder)
    for path in rated.folder.glob("study.sqlite*"):
        path.unlink()
    assert "Ins-align" in invoke(rate_app, "aggregate", rated.folder, "--resamples", "100")
    (rated.folder / "ratings.parquet").unlink()
    assert "no study.sqlite and no ratings.parquet" in refusal(rate_app, "aggregate", rated.folder)


def rate_together(*runs: Run) -> str:
    """What `rate aggregate` prints of a study over several runs that all have rated."""
    folders = [run.folder for run in runs]
    opened = open_study(folders, None, names=["ann", "bo"])
    rate_all(opened.store)
    opened.store.engine.dispose()
    return invoke(rate_app, "aggregate", *folders, "--resamples", "100")


def test_two_runs_are_rated_together_and_get_their_own_numbers(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", samples=3, methods=METHODS[:1])
    second = write_run(tmp_path / "two", samples=3, methods=METHODS[1:2])
    rate_together(first, second)
    assert {s.method for s in first.scores()} == {METHODS[0]}
    assert {s.method for s in second.scores()} == {METHODS[1]}
    content = json.loads((second.folder / "ins_align.json").read_text())
    assert {s["method"] for s in content["summaries"]} == set(METHODS[:2])
    assert "name all runs of the study" in refusal(rate_app, "export", first.folder)


def test_the_order_of_the_runs_does_not_matter(tmp_path: Path) -> None:
    one, two, three = (write_run(tmp_path / m, samples=2, methods=[m]).folder for m in METHODS)
    began = open_study([one, two], None, names=["ann"])
    invoke(rate_app, "export", two, one)
    rate_all(began.store)
    again = open_study([two, one], None)
    assert (again.location, again.store.raters()) == (began.location, began.store.raters())
    assert "2/2" in invoke(rate_app, "aggregate", two, one, "--resamples", "100")
    for command in ("sheet", "export", "aggregate"):
        assert f"this study has no edit of {three}; leave that run out" in refusal(rate_app, command, three, two, one)
    open_study([three], None)
    for command in ("sheet", "export", "aggregate"):
        message = refusal(rate_app, command, three, one)
        assert f"{three / 'study.sqlite'} and {one / 'study.sqlite'} are studies of their own" in message
        assert "choose one with --study" in message


def test_a_run_on_a_part_of_the_samples_gets_numbers_of_its_own_samples(tmp_path: Path) -> None:
    part = write_run(tmp_path / "part", samples=2, methods=METHODS[:1])
    whole = write_run(tmp_path / "whole", samples=6, methods=METHODS[1:2])
    assert "2/2" in rate_together(part, whole)
    for run, count in ((part, 2), (whole, 6)):
        assert len(run.scores()) == count
        assert run.unscored() == []
        summaries = load_content(run).summaries.values()
        assert {(s.scored, s.total) for s in summaries if s.group == "overall"} == {(count, count)}
    told = json.loads((part.folder / "ins_align.json").read_text())
    overall = {s["method"]: (s["scored"], s["total"]) for s in told["summaries"] if s["group"] == "overall"}
    assert overall == {METHODS[0]: (2, 2), METHODS[1]: (6, 6)}
    assert [(c["pairs"], c["total"]) for c in told["comparisons"] if c["group"] == "overall"] == [(2, 2)]


def test_runs_that_disagree_are_refused(tmp_path: Path) -> None:
    first = write_run(tmp_path / "one", samples=2, methods=METHODS[:1])
    second = write_run(tmp_path / "two", samples=2, methods=METHODS[1:2])
    Image.new("RGB", (96, 64)).save(second.samples()[0].image)
    with pytest.raises(RatingError, match="the runs disagree on its source picture"):
        open_study([first.folder, second.folder], None)
    same = write_run(tmp_path / "three", samples=2, methods=METHODS[:1])
    with pytest.raises(RatingError, match="two edits of sample"):
        open_study([first.folder, same.folder], None)


@pytest.mark.parametrize("change", ["edited", "source", "gone", "instruction", "new"])
def test_a_changed_run_folder_is_refused_by_name(tmp_path: Path, change: str) -> None:
    from dataclasses import replace

    from benchmark.records import EditRecord

    run = write_run(tmp_path / "run", samples=3, missing=1)
    opened = open_study([run.folder], None, names=["ann"], copies=1)
    opened.store.engine.dispose()
    open_study([run.folder], None).store.engine.dispose()
    samples = run.samples()
    if change == "edited":
        Image.new("RGB", (9, 9)).save(run.image_path(METHODS[0], samples[0].sample_id))
    elif change == "source":
        Image.new("RGB", (96, 64)).save(samples[0].image)
    elif change == "instruction":
        run.write_samples([replace(samples[0], instruction="another"), *samples[1:]])
    elif change == "gone":
        records = run.edits()
        write_rows(run.edits_path, [replace(records[0], image=None, error="lost"), *records[1:]], EditRecord)
    else:
        path = run.image_path(METHODS[2], samples[2].sample_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 64)).save(path)
        records = run.edits()
        made = replace(records[-1], image=path.relative_to(run.folder).as_posix(), error=None)
        write_rows(run.edits_path, [*records[:-1], made], EditRecord)
    words = {"edited": "has another edited picture", "source": "has another source picture", "gone": "is gone"}
    words |= {"instruction": "has another instruction", "new": "is new"}
    message = refusal(rate_app, "sheet", run.folder)
    assert words[change] in message
    assert "begin a new study with --study" in message


def test_attention_targets_are_planted_and_not_rated(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=4)
    opened = open_study([run.folder], None, names=["ann"], targets=3, target_method=METHODS[0], copies=1)
    again = open_study([run.folder], None)
    assert again.store.items() == opened.store.items()
    kinds = [k.method for k in opened.store.items()]
    assert METHODS[0] not in kinds
    assert (kinds.count("attention target"), kinds.count("attention copy")) == (3, 1)
    with pytest.raises(RatingError, match="needs --target-method"):
        open_study([run.folder], str(tmp_path / "x.sqlite"), targets=3)
    with pytest.raises(RatingError, match="9 attention copies are more than the 4 samples"):
        open_study([run.folder], str(tmp_path / "y.sqlite"), copies=9)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"methods": METHODS[:1]}, f"began with --method {', '.join(sorted(METHODS))}, not {METHODS[0]}, and a study"),
        ({"per_item": 3}, "began with --per-item 2, not 3"),
        ({"copies": 2}, "began with --attention-copies 1, not 2"),
        ({"targets": 1, "target_method": METHODS[0]}, "began without --attention-targets, not 1"),
        ({"seed": 5}, "began with --seed 4, not 5"),
    ],
)
def test_a_study_stays_as_it_began(tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    run = write_run(tmp_path / "run", samples=2)
    began: dict[str, Any] = {"per_item": 2, "copies": 1, "seed": 4}
    items = open_study([run.folder], None, names=RATERS, **began).store.items()
    for same in ({}, began, {"methods": METHODS}):
        assert open_study([run.folder], None, **same).store.items() == items
    with pytest.raises(RatingError, match=re.escape(message)):
        open_study([run.folder], None, **asked)


def test_a_panel_rates_each_edit_so_often(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=6)
    opened = open_study([run.folder], None, names=RATERS, per_item=2)
    from reason_edit.rating.returns import read_returns

    totals = [s.total for s in read_returns(opened.store).raters]
    assert sum(totals) == 2 * 18
    assert max(totals) - min(totals) <= 2
    with pytest.raises(RatingError, match="panel of 4 raters is full"):
        opened.store.invite("eve")


def test_users_mistakes_are_plain_messages(tmp_path: Path) -> None:
    assert "not a run folder" in refusal(rate_app, "sheet", tmp_path)
    run = write_run(tmp_path / "run", samples=1)
    assert "no method nobody" in refusal(rate_app, "sheet", run.folder, "--method", "nobody")
    assert "no study here" in refusal(rate_app, "status", run.folder)
    assert "no study here" in refusal(rate_app, "import", run.folder, tmp_path / "x.json")
    assert "not a run folder" in refusal(judge_app, tmp_path, "--judge", "vlm")
    assert "unknown judge 'oracle'" in refusal(judge_app, run.folder, "--judge", "oracle")
    assert "vlm needs --model" in refusal(judge_app, run.folder, "--judge", "vlm")
    unset = ("--judge", "vlm", "--model", "m", "--endpoint", "http://127.0.0.1:9/v1", "--api-key-env", "NOT_SET_HERE")
    assert "NOT_SET_HERE: this environment variable is not set" in refusal(judge_app, run.folder, *unset)
    assert "nothing_there" in refusal(judge_app, run.folder, "--judge", "nothing_there:factory")
    assert "no judge has judged this run" in refusal(judge_app, "agreement", run.folder)


def test_a_judge_stands_beside_people_never_among_them(rated: Run) -> None:
    invoke(rate_app, "aggregate", rated.folder, "--resamples", "100")
    human = [s for s in rated.scores() if s.metric == "ins_align"]

    def play(body: dict, count: int):  # type: ignore[no-untyped-def, type-arg]
        text = body["messages"][0]["content"][2]["text"]
        return said("yes" if "picture 1 " in text or "picture 4 " in text else "no", model="m-1")

    with playing(play) as endpoint:
        output = invoke(judge_app, rated.folder, "--judge", "vlm", "--model", "m-1", "--endpoint", endpoint.url)
    assert "n = 7/9" in output
    assert "no score on 2: no edited picture: out of memory" in output
    scores = rated.scores()
    assert repr([s for s in scores if s.metric == "ins_align"]) == repr(human)
    assert {s.metric for s in scores} == {"ins_align", "judge:vlm"}
    output = invoke(judge_app, "agreement", rated.folder, "--resamples", "100")
    assert "judge vlm and people" in output
    content = json.loads((rated.folder / "judges" / "vlm.agreement.json").read_text())
    whole = content["parts"][0]
    assert (whole["part"], whole["edits"]) == ("all", 25)
    assert 0.3 < whole["accuracy"]["value"] < 0.7
    assert whole["bias"]["value"] < 0


def outside_judge(run: Run, options: object) -> object:
    class AlwaysNo:
        protocol = "judge-always-no"
        model = "no"

        def judge(self, cases):  # type: ignore[no-untyped-def]
            from benchmark.judges.verdicts import Opinion

            for _ in cases:
                yield Opinion(answer=Answer.NOT_ALIGNED, reason=None, reply="no")

    return AlwaysNo()


def test_a_judge_from_outside_goes_through_the_same_door(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=2)
    where = "tests.benchmark.commands.test_rate_and_judge:outside_judge"
    assert "judge outside_judge" in invoke(judge_app, run.folder, "--judge", where)
    assert {(s.metric, s.value) for s in run.scores()} == {("judge:outside_judge", 0.0)}


def test_a_sheet_for_nobody_begins_no_study(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=3)
    assert "name raters with --rater NAME or --raters COUNT" in refusal(rate_app, "sheet", run.folder)
    assert not (run.folder / "study.sqlite").exists()


def test_agreement_of_no_run_is_told(tmp_path: Path) -> None:
    assert "not a run folder" in refusal(judge_app, "agreement", tmp_path / "nowhere")
