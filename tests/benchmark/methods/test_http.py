"""Editors behind an address, through the command line against a local server that plays every part."""

import base64
import contextlib
import re
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.methods.http_calls import Caller, CallOptions
from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.methods.specs import MethodError, SampleError, Setting
from benchmark.posting import pause
from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.schema import Category
from tests.benchmark.methods.playing_editor import Answer, Asked, failing, openai_answer, plain_answer, playing, png
from tests.reason_edit.folders import draw, write_folder

KEY = "sk-very-secret-4711"
STEMS = ["001", "002", "003", "004"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("http") / "set", {Category.COLOR: STEMS})


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    monkeypatch.setattr("benchmark.posting.pause", lambda attempt, asked: 0.0)
    monkeypatch.setattr("benchmark.methods.http_calls.pause", lambda attempt, asked: 0.0)


def edit(folder: Path, run: Path, method: str, url: str, *sets: str) -> tuple[int, str, list[EditRecord]]:
    address = "base_url" if method == "openai-images" else "url"
    words: list[object] = ["edit", "--dataset", folder, "--run", run, "--method", method, "--batch-size", "4"]
    words += ["--set", f"{method}.{address}={url}", "--set", f"{method}.key_variable=MY_KEY"]
    words += ["--model", "painter-2026-01-01"] if method == "openai-images" else []
    for text in sets:
        words += ["--set", f"{method}.{text}"]
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert "Traceback" not in done.output
    return done.exit_code, done.output, Run(run).edits() if (run / "edits.parquet").is_file() else []


@pytest.mark.parametrize(("method", "answer"), [("openai-images", openai_answer), ("http", plain_answer)])
def test_plays_right(folder: Path, tmp_path: Path, method: str, answer: object) -> None:
    with playing(answer) as server:  # type: ignore[arg-type]
        code, output, records = edit(folder, tmp_path / "run", method, server.url, 'fields={style="plain"}')
        again = edit(folder, tmp_path / "run", method, server.url, 'fields={style="plain"}')
    assert code == 0, output
    assert [r.error for r in records] == [None] * 4 and again[2] == records
    assert len(server.seen) == 4
    asked = server.seen[0]
    assert asked.authorization == f"Bearer {KEY}" and asked.fields["style"] == "plain"
    picture = np.asarray(Image.open(tmp_path / "run" / str(records[0].image)))
    first = next(a for a in server.seen if "001" in a.prompt)
    assert np.array_equal(picture, 255 - np.asarray(first.picture.convert("RGB")))
    if method == "http":
        assert records[0].response == first.prompt.upper() and first.fields["seed"] == records[0].seed
    else:
        assert asked.path == "/v1/images/edits" and asked.fields["model"] == "painter-2026-01-01"
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_a_refusal_is_a_row_in_the_providers_words_and_the_others_are_kept(folder: Path, tmp_path: Path) -> None:
    def play(asked: Asked) -> Answer:
        if "002" in asked.prompt:
            return failing(400, f"Your request was rejected by our safety system. {KEY}", "moderation_blocked")
        return openai_answer(asked)

    with playing(play) as server:
        code, output, records = edit(folder, tmp_path / "run", "openai-images", server.url)
        assert code == 1 and "rejected by our safety system" in output
        assert server.times.total() == 4
        edit(folder, tmp_path / "run", "openai-images", server.url)
    errors = {r.sample_id: r.error for r in records if r.error}
    assert errors == {"color/002": "refused: 400 Your request was rejected by our safety system. ***"}
    assert server.times.total() == 5, "what is there already must not be paid for twice"
    assert KEY not in output


def test_rate_limits_and_failures_of_the_moment_are_tried_again(folder: Path, tmp_path: Path) -> None:
    def play(asked: Asked) -> Answer:
        if asked.times == 1:
            return failing(429, "slow down", "rate_limit_exceeded", Retry_After="7")
        if asked.times == 2 and "003" in asked.prompt:
            return 200, b"<html>not json", {}
        if asked.times == 2 and "004" in asked.prompt:
            return 503, b"", {}
        return plain_answer(asked)

    with playing(play) as server:
        code, output, records = edit(folder, tmp_path / "run", "http", server.url)
    assert code == 0, output
    assert sorted(server.times.values()) == [2, 2, 3, 3] and {r.error for r in records} == {None}


def test_what_never_succeeds_is_a_row_and_the_same_command_goes_on(folder: Path, tmp_path: Path) -> None:
    broken = {"001": b"nothing", "002": png(draw(1))[:60], "003": b"", "004": b'{"image": 3}'}
    kinds = {"002": {"Content-Type": "image/png"}}

    def play(asked: Asked) -> Answer:
        stem = next(s for s in STEMS if s in asked.prompt)
        return (529 if stem == "003" else 200), broken[stem], kinds.get(stem, {})

    with playing(play) as server:
        code, output, records = edit(folder, tmp_path / "run", "http", server.url, "attempts=2")
        assert code == 1 and "4 edits failed" in output
        errors = [str(r.error) for r in records]
        assert all(e.endswith("after 2 attempts") for e in errors)
        assert "malformed answer" in errors[0] and "no picture" in errors[1] and "529" in errors[2]
        server.play = plain_answer
        code, _, records = edit(folder, tmp_path / "run", "http", server.url, "attempts=2")
    assert code == 0 and {r.error for r in records} == {None}


def test_a_hanging_server_times_out_and_the_others_are_kept(folder: Path, tmp_path: Path) -> None:
    over = threading.Event()

    def play(asked: Asked) -> Answer:
        if "001" in asked.prompt:
            over.wait(600)
        return plain_answer(asked)

    with playing(play) as server:
        # Long enough for a busy machine to answer the other three, and the fourth never comes.
        code, _, records = edit(folder, tmp_path / "run", "http", server.url, "attempts=1", "timeout=8")
        over.set()
    assert code == 1
    assert {r.sample_id: r.error for r in records if r.error} == {"color/001": "no answer within 8 s, after 1 attempts"}


def test_a_server_that_trickles_does_not_hold_the_run() -> None:
    """It sends a byte before every single time-out of a read, and would do so for a day."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                asked.append(connection)
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                threading.Thread(target=trickle, args=(connection,), daemon=True).start()

    def trickle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)

    threading.Thread(target=serve, daemon=True).start()
    caller = Caller(CallOptions(url=f"http://127.0.0.1:{listener.getsockname()[1]}/edit", timeout=0.3, attempts=2))
    start = time.monotonic()
    with pytest.raises(SampleError, match=r"no answer within 0\.3 s, after 2 attempts"):
        caller.post(lambda response: response.json(), json={})
    assert time.monotonic() - start < 120 and len(asked) == 2
    listener.close()


def test_a_wrong_key_stops_the_run_and_nothing_is_lost(folder: Path, tmp_path: Path) -> None:
    with playing(lambda asked: failing(401, f"Incorrect API key provided: {KEY}", "invalid_api_key")) as server:
        code, output, _ = edit(folder, tmp_path / "run", "openai-images", server.url)
        assert code == 1 and "Incorrect API key provided: ***" in output and "no request will pass" in output
        server.play = openai_answer
        code, _, records = edit(folder, tmp_path / "run", "openai-images", server.url)
    assert code == 0 and len(records) == 4


def test_money_that_ends_in_the_midst_of_a_batch_costs_no_picture(folder: Path, tmp_path: Path) -> None:
    paid = iter(range(2))

    def play(asked: Asked) -> Answer:
        return openai_answer(asked) if next(paid, None) is not None else failing(402, "no money left", "billing")

    with playing(play) as server:
        code, output, records = edit(folder, tmp_path / "run", "openai-images", server.url, "concurrency=1")
        assert code != 0 and "no money left" in output
        assert [r.error is None for r in records] == [True, True, False, False]
        assert "no money left" in str(records[2].error)
        server.seen.clear()
        server.play = openai_answer
        code, _, records = edit(folder, tmp_path / "run", "openai-images", server.url, "concurrency=1")
    assert code == 0 and [r.error for r in records] == [None] * 4


def test_a_picture_that_cannot_be_fetched_is_not_paid_twice(folder: Path, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:9/gone.png"
    with playing(lambda asked: (200, {"data": [{"url": gone}]}, {})) as server:
        code, _, records = edit(folder, tmp_path / "run", "openai-images", server.url, "attempts=3")
    assert code != 0 and len(server.seen) == 4
    assert all("the picture that the answer names cannot be had" in str(r.error) for r in records)


def test_a_picture_by_address_is_fetched_without_the_key(folder: Path, tmp_path: Path) -> None:
    with playing(lambda asked: (200, {"data": [{"url": server.url + "/made.png"}]}, {})) as server:
        code, _, records = edit(folder, tmp_path / "run", "openai-images", server.url, "longest_side=24")
    assert code == 0 and Image.open(tmp_path / "run" / str(records[0].image)).size == (8, 8)
    assert max(server.seen[0].picture.size) == 24


def test_as_many_at_once_as_allowed(folder: Path, tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=30)

    def play(asked: Asked) -> Answer:
        both.wait()
        return plain_answer(asked)

    with playing(play) as server:
        code, output, _ = edit(folder, tmp_path / "run", "http", server.url, "concurrency=2")
    assert code == 0, output
    assert server.most_at_once == 2


def test_the_rate_limit_spaces_requests() -> None:
    waits: list[float] = []
    with playing(plain_answer) as server:
        caller = Caller(CallOptions(url=server.url, per_minute=60), waits.append)
        body = {"image": base64.b64encode(png(draw(1))).decode(), "instruction": "x"}
        for _ in range(3):
            assert caller.post(lambda response: response.json()["response"], json=body) == "X"
    assert len(waits) == 2 and 0 < waits[0] <= 1 < waits[1] <= 2


def test_pauses_double_and_obey_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert pause(1, 7.0) == 7.0 and pause(1, 1e6) == 120.0
    for attempt, least in ((1, 1), (2, 2), (3, 4)):
        assert least <= pause(attempt, None) <= 1.5 * least


@pytest.mark.parametrize(
    ("method", "sets", "message"),
    [
        ("http", ["url=ftp://x"], "not a web address"),
        ("http", ["url=http://host/x", "key_variable=NOT_SET_ANYWHERE"], "variable NOT_SET_ANYWHERE is not set"),
        ("http", ["url=http://host/x", "fields={seed=1}"], "seed are the request's own"),
        ("http", [], "http.url"),
        ("openai-images", [], "openai-images.model"),
    ],
)
def test_wrong_settings_are_named(method: str, sets: list[str], message: str) -> None:
    with pytest.raises(MethodError, match=re.escape(message)):
        (made,) = resolve_methods(MethodWords(methods=[method], sets=[f"{method}.{s}" for s in sets]))
        made.build(Setting(device="cpu"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("http.url=http://me:HUNTER2@host/edit", "--set http.url: the address at host holds a password or a query"),
        ("http.url=http://host/edit?key=HUNTER2", "--set http.url: the address at host holds a password or a query"),
        ("http.url=ftp://me:HUNTER2@host/edit", "--set http.url: not a web address; write http:// or https://"),
        ("http.url=http://me:HUNTER2/edit", "--set http.url: not a web address; write http:// or https://"),
        (
            "openai-images.base_url=https://me:HUNTER2@host/v1",
            "--set openai-images.base_url: the address at host holds",
        ),
    ],
)
def test_an_address_with_a_secret_is_refused_before_it_is_written_anywhere(
    folder: Path, tmp_path: Path, setting: str, message: str
) -> None:
    method = setting.partition(".")[0]
    words = ["edit", "--dataset", str(folder), "--run", str(tmp_path / "run"), "--method", method, "--set", setting]
    result = CliRunner().invoke(app, words + (["--model", "m"] if method == "openai-images" else []))
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())
    assert "HUNTER2" not in result.output
    assert not (tmp_path / "run").exists()
