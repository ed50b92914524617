import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmark.judges.endpoint import EndpointChat
from benchmark.judges.judging import judge_run, read_judgements
from benchmark.judges.replies import ReplyCache
from benchmark.judges.verdicts import JudgeError, Judgement
from benchmark.judges.vlm import VlmJudge
from benchmark.runs import Run
from reason_edit.rating.study import Answer
from tests.benchmark.judges.playing_endpoint import Endpoint, Play, playing, said, slow
from tests.reason_edit.rating.drawn_run import METHODS, write_run

MODEL = "judge-2026-01-01"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return write_run(tmp_path / "run", samples=3, methods=METHODS[:2], missing=1)


def judged(run: Run, endpoint: Endpoint, **options: Any) -> list[Judgement]:
    pauses: list[float] = options.pop("pauses", [])
    chat = EndpointChat(endpoint.url, options.pop("model", MODEL), sleep=pauses.append, **options)
    return judge_run(run, VlmJudge(chat, ReplyCache(run.folder / "judges" / "replies")), "vlm")


def test_answers_become_scores_under_the_judges_own_metric(run: Run) -> None:
    def play(body: dict[str, Any], _: int) -> Play:
        return said("Yes." if "picture 0" in body["messages"][0]["content"][2]["text"] else "no")

    with playing(play) as endpoint:
        rows = judged(run, endpoint, api_key="k-123")
    assert sorted((r.method, r.sample_id[-3:], r.answer) for r in rows) == [
        ("quokka-edit", "000", Answer.ALIGNED),
        ("quokka-edit", "001", Answer.NOT_ALIGNED),
        ("quokka-edit", "002", None),
        ("zebra-edit", "000", Answer.ALIGNED),
        ("zebra-edit", "001", Answer.NOT_ALIGNED),
        ("zebra-edit", "002", Answer.NOT_ALIGNED),
    ]
    scores = {(s.method, s.sample_id[-3:]): s for s in run.scores()}
    assert {s.metric for s in scores.values()} == {"judge:vlm"}
    assert {s.protocol for s in scores.values()} == {"judge-vlm-v1"}
    assert scores["zebra-edit", "000"].value == 1.0
    assert math.isnan(scores["quokka-edit", "002"].value)
    assert [u.reason for u in run.unscored()] == ["no edited picture: out of memory"]
    assert read_judgements(run, "vlm") == rows
    about = json.loads((run.folder / "judges" / "vlm.json").read_text())
    assert (about["model"], about["protocol"]) == (MODEL, "judge-vlm-v1")
    assert set(endpoint.keys) == {"Bearer k-123"}


def test_the_question_is_pinned_and_the_pictures_say_nothing_else(run: Run) -> None:
    with playing(lambda *_: said("no")) as endpoint:
        judged(run, endpoint)
    for request in endpoint.seen:
        assert request["path"] == "/v1/chat/completions"
        assert (request["model"], request["temperature"], request["max_tokens"]) == (MODEL, 0, 16)
        parts = request["messages"][0]["content"]
        pictures = [base64.b64decode(p["image_url"]["url"].partition(",")[2]) for p in parts[:2]]
        for picture in pictures:
            opened = Image.open(io.BytesIO(picture))
            assert (opened.size, opened.info) == ((96, 64), {})
        text = json.dumps(request)
        assert not [m for m in METHODS if m in text]
        assert "square" in parts[2]["text"]
        assert "target_label" not in text


def test_replies_are_kept_by_content_and_not_asked_for_again(run: Run) -> None:
    with playing(lambda *_: said("yes")) as endpoint:
        first = judged(run, endpoint)
        asked = len(endpoint.seen)
        second = judged(run, endpoint)
        assert len(endpoint.seen) == asked == 5
        third = judged_again_after_change(run, endpoint)
        assert len(endpoint.seen) == asked + 1
    assert first == second
    assert len(third) == 6


def judged_again_after_change(run: Run, endpoint: Endpoint) -> list[Judgement]:
    from dataclasses import replace
    from hashlib import sha256

    from benchmark.records import EditRecord
    from reason_edit.tables import write_rows

    records = run.edits()
    path = run.folder / str(records[0].image)
    Image.new("RGB", (96, 64), "navy").save(path)
    with pytest.raises(JudgeError, match=r"not the picture that edits\.parquet records"):
        judged(run, endpoint)
    changed = replace(records[0], image_sha256=sha256(path.read_bytes()).hexdigest())
    write_rows(run.edits_path, [changed, *records[1:]], EditRecord)
    return judged(run, endpoint)


REFUSED: list[tuple[Play, str]] = [
    (said(None, refusal="I cannot help with that."), "refused: I cannot help with that."),
    (
        (200, {"model": MODEL, "choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}, {}),
        "content",
    ),
    ((400, {"error": {"message": "blocked by policy", "code": "content_policy_violation"}}, {}), "blocked by policy"),
    (said("As a language model I would rather describe the picture"), "unreadable reply"),
    (said("Yes and no."), "unreadable reply"),
    (said("unsure"), "the judge is unsure"),
    (said(""), "unreadable reply"),
]


@pytest.mark.parametrize(("play", "reason"), REFUSED)
def test_refusals_and_unreadable_replies_are_no_score(run: Run, play: Play, reason: str) -> None:
    with playing(lambda *_: play) as endpoint:
        rows = judged(run, endpoint)
        assert len(endpoint.seen) == 5
        judged(run, endpoint)
        assert len(endpoint.seen) == 5
    assert [r.answer for r in rows] == [None] * 6
    assert all(reason in str(r.reason) for r in rows if r.reason != "no edited picture: out of memory")
    assert all(math.isnan(s.value) for s in run.scores())
    assert len(run.unscored()) == 6


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"error": {"message": "slow down"}}, {}),
        (503, b"<html>overloaded</html>", {}),
        (200, b"{not json", {}),
        (200, {"choices": []}, {}),
        (200, {"model": MODEL, "choices": [{"message": {"content": [1]}}]}, {}),
    ],
)
def test_trouble_that_passes_is_asked_again_with_growing_pauses(run: Run, trouble: Play) -> None:
    pauses: list[float] = []
    with playing(lambda _, count: trouble if count < 4 else said("yes")) as endpoint:
        rows = judged(run, endpoint, pauses=pauses, concurrency=1)
    assert [r.answer for r in rows].count(Answer.ALIGNED) == 5
    assert len(endpoint.seen) == 20
    for first, second, third in zip(*[iter(pauses)] * 3, strict=True):
        assert 1 <= first <= 1.5
        assert 2 <= second <= 3
        assert 4 <= third <= 6


def test_the_endpoints_own_pause_is_kept(run: Run) -> None:
    pauses: list[float] = []
    limited: Play = (429, {"error": {"message": "rate limit"}}, {"Retry-After": "7"})
    with playing(lambda _, count: limited if count < 2 else said("no")) as endpoint:
        judged(run, endpoint, pauses=pauses)
    assert pauses == [7.0] * 5


def test_a_time_out_is_no_score_and_is_asked_again_next_time(run: Run) -> None:
    with playing(slow(0.6)) as endpoint:
        rows = judged(run, endpoint, timeout=0.1, attempts=2)
    assert [r.answer for r in rows] == [None] * 6
    assert "no reply: no answer within 0.1 s, after 2 attempts" in {r.reason for r in rows}
    with playing(lambda *_: said("yes")) as endpoint:
        rows = judged(run, endpoint)
    assert [r.answer for r in rows].count(Answer.ALIGNED) == 5


@pytest.mark.parametrize(
    ("play", "complaint"),
    [
        ((401, {"error": {"message": "bad key"}}, {}), "401 bad key"),
        ((404, {"error": {"message": "no such model"}}, {}), "no such model"),
        ((429, {"error": {"message": "pay first", "code": "insufficient_quota"}}, {}), "pay first"),
        (said("yes", model="judge-2026-06-06"), "pin the model: --model judge-2026-06-06"),
    ],
)
def test_what_cannot_get_better_stops_at_once(run: Run, play: Play, complaint: str) -> None:
    with playing(lambda *_: play) as endpoint, pytest.raises(JudgeError, match=complaint):
        judged(run, endpoint, concurrency=1)
    assert len(endpoint.seen) <= 3
    assert not run.scores_path.exists()


def test_a_key_that_the_endpoint_repeats_is_blotted_out(run: Run) -> None:
    play: Play = (401, {"error": {"message": "Incorrect API key provided: sk-4711"}}, {})
    with playing(lambda *_: play) as endpoint, pytest.raises(JudgeError, match=r"401 Incorrect .*: \*\*\*; no") as told:
        judged(run, endpoint, api_key="sk-4711")
    assert "sk-4711" not in str(told.value)


def test_a_dead_endpoint_stops_soon_and_what_was_said_is_kept(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=12, methods=METHODS[:2])
    answers: list[int] = []

    def play(_: dict[str, Any], __: int) -> Play:
        answers.append(1)
        return said("yes") if len(answers) <= 6 else (500, b"", {})

    with playing(play) as endpoint, pytest.raises(JudgeError, match="no reply to 8 questions in a row"):
        judged(run, endpoint, attempts=1, concurrency=1)
    assert len(list((run.folder / "judges" / "replies").rglob("*.json"))) == 6
    assert len(endpoint.seen) < 24
    with playing(lambda *_: said("no")) as endpoint:
        # Replies belong to the address that gave them; the same address is played again by another port here.
        rows = judged(run, endpoint)
    assert {r.answer for r in rows} == {Answer.NOT_ALIGNED}


def test_bad_requests_are_no_refusals_and_stop_soon(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=6, methods=METHODS[:2])
    play: Play = (400, {"error": {"message": "this model takes no pictures"}}, {})
    with playing(lambda *_: play) as endpoint, pytest.raises(JudgeError, match="this model takes no pictures"):
        judged(run, endpoint, concurrency=1)
    assert not list((run.folder / "judges" / "replies").rglob("*.json"))


def test_questions_are_asked_at_once_but_not_more_than_allowed(run: Run) -> None:
    with playing(slow(0.3)) as endpoint:
        judged(run, endpoint, concurrency=3)
    assert endpoint.most_at_once == 3


def test_another_model_does_not_mix_with_the_first(run: Run) -> None:
    with playing(lambda body, _: said("yes", model=body["model"])) as endpoint:
        judged(run, endpoint)
        with pytest.raises(JudgeError, match="a table never mixes two judges"):
            judged(run, endpoint, model="other-1")


@pytest.mark.parametrize("name", ["", "../x", "a b", "x/y", "x" * 65])
def test_odd_names_are_refused(run: Run, name: str) -> None:
    judge = VlmJudge(EndpointChat("http://127.0.0.1:9/v1", MODEL), ReplyCache(run.folder))
    with pytest.raises(JudgeError, match="a judge's name"):
        judge_run(run, judge, name)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(JudgeError, match="not a web address"):
        EndpointChat("localhost", MODEL)


def test_only_some_methods_can_be_judged_and_the_others_stay(run: Run) -> None:
    def some(endpoint: Endpoint, method: str) -> list[Judgement]:
        judge = VlmJudge(EndpointChat(endpoint.url, MODEL), ReplyCache(run.folder / "judges" / "replies"))
        return judge_run(run, judge, "vlm", methods=[method])

    with playing(lambda *_: said("yes")) as endpoint:
        assert len(some(endpoint, "zebra-edit")) == 3
        assert len(some(endpoint, "quokka-edit")) == 6
        with pytest.raises(JudgeError, match="no method nobody"):
            some(endpoint, "nobody")
    assert len(run.scores()) == 6


def test_scores_of_others_are_kept(run: Run) -> None:
    from benchmark.records import Score, Unscored

    run.write_scores(
        [Score(method="m", sample_id="s", protocol="strict-v1", metric="background_psnr", value=30.0)],
        [Unscored(method="m", sample_id="s", protocol="strict-v1", metric="clip_score", reason="no network")],
    )
    with playing(lambda *_: said("yes")) as endpoint:
        judged(run, endpoint)
        judged(run, endpoint)
    assert len(run.scores()) == 7
    assert len(run.unscored()) == 2
