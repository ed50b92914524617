import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import event
from starlette.testclient import TestClient

from benchmark.commands.rating_study import OpenedStudy
from reason_edit.rating import server
from reason_edit.rating.server import create_app
from reason_edit.rating.study import Answer
from tests.reason_edit.rating.drawn_run import METHODS


@pytest.fixture
def client(study: OpenedStudy) -> Iterator[TestClient]:
    with TestClient(create_app(study.store, study.pictures), base_url="http://testserver") as opened:
        yield opened


@pytest.fixture
def page(study: OpenedStudy) -> str:
    return f"/r/{study.store.raters()[0].token}/"


def post(
    item: str, answer: str = "aligned", believed: str | None = None, nonce: str = "a" * 32, **more: Any
) -> dict[str, Any]:
    return {"item": item, "answer": answer, "believed": believed, "seconds": 2.0, "nonce": nonce, **more}


def test_a_study_from_first_to_last_answer(client: TestClient, study: OpenedStudy, page: str) -> None:
    for turn in range(20):
        state = client.get(page + "items/next").json()
        assert (state["place"], state["answered"], state["total"]) == (turn + 1, turn, 20)
        reply = client.post(page + "answers", json=post(state["item"], nonce=f"{turn:032x}")).json()
        assert reply["answered"] == turn + 1
        assert len(study.store.current(0)) == turn + 1
    assert client.get(page + "items/next").json() == {"total": 20, "answered": 20, "place": None}
    assert client.get(page + "items/3").json()["answer"] == "aligned"


def test_skipped_items_come_back(client: TestClient, page: str) -> None:
    third = client.get(page + "items/3").json()
    assert client.post(page + "answers", json=post(third["item"])).json()["next_open"] == 4
    last = client.get(page + "items/20").json()
    assert client.post(page + "answers", json=post(last["item"], nonce="b" * 32)).json()["next_open"] == 1


def test_nothing_a_rater_receives_names_a_method(client: TestClient, study: OpenedStudy, page: str) -> None:
    received = [client.get(page), *(client.get(f"/static/{n}") for n in server.STATIC)]
    ids = set()
    for place in range(1, 21):
        state = client.get(f"{page}items/{place}")
        received += [state, *(client.get(page + state.json()[side]) for side in ("source", "edited"))]
        assert set(state.json()) == {"total", "answered", "place", "item", "instruction", "answer", "source", "edited"}
        ids.add(state.json()["item"])
    assert len(received) == 5 + 60
    secrets = [*METHODS, "attention", "left_right/", "study.sqlite", str(Path(study.location).parent)]
    for response in received:
        assert response.status_code == 200
        text = response.content + json.dumps(dict(response.headers)).encode()
        assert not [s for s in secrets if s.encode() in text]
        assert "etag" not in response.headers
        assert "last-modified" not in response.headers


def test_pictures_of_one_sample_differ_in_nothing_but_pixels(client: TestClient, page: str) -> None:
    sizes: dict[str, set[tuple[int, int]]] = {}
    for place in range(1, 21):
        state = client.get(f"{page}items/{place}").json()
        for side in ("source", "edited"):
            content = client.get(page + state[side]).content
            sizes.setdefault(state["instruction"], set()).add(
                (int.from_bytes(content[16:20]), int.from_bytes(content[20:24]))
            )
    assert set(map(len, sizes.values())) == {1}


@pytest.mark.parametrize(
    "path",
    [
        "/r/guess/",
        "/r/guess/items/1",
        "/r/guess/items/next",
        "/r/{other}/pictures/{item}/after",
        "/r/{token}/pictures/{item}/middle",
        "/r/{token}/pictures/" + "0" * 32 + "/after",
        "/r/{token}/items/0",
        "/r/{token}/items/21",
        "/r/{token}/items/-1",
        "/r/{token}/../../study.sqlite",
        "/r/" + "x" * 5000 + "/",
        "/static/../server.py",
        "/static/%2e%2e%2fserver.py",
        "/static/..%5cserver.py",
        "/static//etc/passwd",
        "/r/{token}/pictures/..%2f..%2fstudy.sqlite/after",
        "/docs",
        "/openapi.json",
        "/r/' OR 1=1 --/",
    ],
)
def test_guesses_and_path_tricks_find_nothing(client: TestClient, study: OpenedStudy, page: str, path: str) -> None:
    ann, bo = study.store.raters()
    item = client.get(page + "items/1").json()["item"]
    response = client.get(path.format(token=ann.token, other=bo.token, item=item))
    assert response.status_code == 404
    assert not [m for m in METHODS if m in response.text]
    assert "Traceback" not in response.text


def test_a_place_that_is_no_number_is_refused(client: TestClient, page: str) -> None:
    assert client.get(page + "items/1;drop").status_code == 422


def test_a_rater_cannot_vote_on_anothers_sheet(client: TestClient, study: OpenedStudy, page: str) -> None:
    item = client.get(page + "items/1").json()["item"]
    bo = f"/r/{study.store.raters()[1].token}/"
    assert client.post(bo + "answers", json=post(item)).status_code == 404
    assert client.post("/r/guess/answers", json=post(item)).status_code == 404
    assert study.store.history() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://testserver.evil.example"}, 403),
        ({"origin": "https://testserver"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"origin": "http://testserver"}, 200),
        ({"origin": "http://testserver", "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_posts_of_other_sites_are_refused(
    client: TestClient, study: OpenedStudy, page: str, headers: dict[str, str], status: int
) -> None:
    body = json.dumps(post(client.get(page + "items/1").json()["item"]))
    response = client.post(page + "answers", content=body, headers={"content-type": "application/json", **headers})
    assert response.status_code == status
    assert len(study.store.history()) == (status == 200)


def test_behind_a_proxy_the_public_address_is_our_own(study: OpenedStudy, page: str) -> None:
    app = create_app(study.store, study.pictures, public_url="https://study.example/")
    with TestClient(app, base_url="http://internal:8765") as client:
        item = client.get(page + "items/1").json()["item"]
        for origin, status in (("https://other.example", 403), ("https://study.example", 200)):
            assert client.post(page + "answers", json=post(item), headers={"origin": origin}).status_code == status


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"answer": "maybe"}, "answer"),
        ({"seconds": -1}, "seconds"),
        ({"seconds": float("nan")}, "not an answer"),
        ({"seconds": 1e9}, "seconds"),
        ({"nonce": "x"}, "nonce"),
        ({"item": "../../etc"}, "item"),
        ({"rater": 1}, "rater"),
        ({"believed": "never"}, "believed"),
    ],
)
def test_bad_answers_are_refused_with_the_field(
    client: TestClient, study: OpenedStudy, page: str, change: dict[str, Any], complaint: str
) -> None:
    body = json.dumps({**post(client.get(page + "items/1").json()["item"]), **change})
    response = client.post(page + "answers", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert complaint in response.json()["detail"]
    assert study.store.history() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"item": 1}'])
def test_bad_json_is_refused(client: TestClient, page: str, body: bytes) -> None:
    response = client.post(page + "answers", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert "not an answer" in response.json()["detail"]


def test_a_long_body_is_cut_off(client: TestClient, page: str) -> None:
    response = client.post(page + "answers", content=b" " * 100_000, headers={"content-type": "application/json"})
    assert response.status_code == 413


def test_a_double_click_and_a_second_tab(client: TestClient, study: OpenedStudy, page: str) -> None:
    item = client.get(page + "items/1").json()["item"]
    for _ in range(2):
        assert client.post(page + "answers", json=post(item)).status_code == 200
    assert len(study.store.history()) == 1
    stale = client.post(page + "answers", json=post(item, "not", nonce="b" * 32))
    assert (stale.status_code, stale.json()["current"]) == (409, "aligned")
    assert client.post(page + "answers", json=post(item, "not", "aligned", nonce="c" * 32)).status_code == 200
    assert next(iter(study.store.current(0).values())).answer is Answer.NOT_ALIGNED


def test_a_changed_picture_takes_no_vote(client: TestClient, study: OpenedStudy, page: str) -> None:
    state = client.get(page + "items/1").json()
    number = server.Desk(study.store, study.pictures, study.store.items()).sheet(study.store.raters()[0]).numbers[0]
    Image.new("RGB", (96, 64)).save(study.pictures.items[number].edited)
    for response in (client.get(page + state["edited"]), client.post(page + "answers", json=post(state["item"]))):
        assert response.status_code == 410
        assert "tell the organiser" in response.json()["detail"]
        assert str(study.pictures.items[number].edited) not in response.text
    assert study.store.history() == []


def test_a_full_disk_is_said_and_nothing_is_half_stored(client: TestClient, study: OpenedStudy, page: str) -> None:
    item = client.get(page + "items/1").json()["item"]
    engine = study.store.engine

    def full(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    event.listen(engine, "connect", full)
    engine.dispose()
    statuses = [client.post(page + "answers", json=post(item, nonce=f"{i:032x}")).status_code for i in range(400)]
    event.remove(engine, "connect", full)
    engine.dispose()
    assert set(statuses) == {200, 503}
    assert statuses[-1] == 503
    assert len(study.store.history()) == statuses.count(200)
    assert client.post(page + "answers", json=post(item, nonce="f" * 32)).status_code == 200


def test_every_reply_carries_the_safety_headers(client: TestClient, page: str) -> None:
    replies = [
        client.get("/"),
        client.get(page),
        client.get("/nowhere"),
        client.post(page + "answers", headers={"origin": "null"}),
    ]
    for reply in replies:
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "same-origin"
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_the_front_page_and_an_unknown_link_are_readable(client: TestClient) -> None:
    assert "personal link" in client.get("/").text
    unknown = client.get("/r/guess/")
    assert unknown.status_code == 404
    assert re.search(r"<h1>This link is not known</h1>", unknown.text)


def test_instructions_are_text_never_markup(study: OpenedStudy, client: TestClient, page: str) -> None:
    view = (server.PACKAGE / "static" / "view.js").read_text()
    assert "innerHTML" not in view
    assert 'by("instruction").textContent = item.instruction' in view
    assert client.get(page + "items/1").headers["content-type"] == "application/json"
