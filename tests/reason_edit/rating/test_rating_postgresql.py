"""The study in PostgreSQL, served by two processes as two sites would; needs a server and its driver.

SMARTEDIT_TEST_POSTGRESQL=postgresql+psycopg://USER@HOST:PORT/EMPTY_DATABASE
"""

import importlib.util
import os
import threading
from pathlib import Path

import httpx
import pytest

from benchmark.commands.rating_study import open_study
from reason_edit.rating.database import METADATA, open_engine
from reason_edit.rating.store import AnsweredElsewhere, Store, Vote, now
from reason_edit.rating.study import Answer
from tests.reason_edit.rating.drawn_run import serve, write_run
from tests.reason_edit.rating.test_rating_process import answer

URL = os.environ.get("SMARTEDIT_TEST_POSTGRESQL", "")
pytestmark = [
    pytest.mark.skipif(not URL, reason="SMARTEDIT_TEST_POSTGRESQL names no database"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="psycopg is not installed"),
]


@pytest.fixture
def database() -> str:
    engine = open_engine(URL)
    METADATA.drop_all(engine)
    engine.dispose()
    return URL


def test_two_sites_and_a_kill_lose_nothing(database: str, tmp_path: Path) -> None:
    for site in ("one", "two"):
        write_run(tmp_path / site, samples=4)
    first = serve(tmp_path / "one", "--study", database, "--raters", "12")
    second = serve(tmp_path / "two", "--study", database)
    confirmed: list[tuple[str, int]] = []

    def rate(name: str, links: list[str]) -> None:
        with httpx.Client(timeout=20) as client:
            for turn in range(8):
                for link in (links[turn % 2], links[1], links[1]):
                    try:
                        answer(client, link, turn, "aligned")
                        confirmed.append((name, turn))
                        break
                    except httpx.TransportError:
                        continue

    threads = [threading.Thread(target=rate, args=(n, [first.links[n], second.links[n]])) for n in first.links]
    for t in threads:
        t.start()
    while len(confirmed) < 20:
        threads[0].join(0.005)
    first.kill()
    for t in threads:
        t.join(60)
    second.kill()
    store = Store.open(database)
    history = store.history()
    assert len(confirmed) == 96
    assert len({(rater, vote.item) for rater, vote in history}) == len(history) == 96
    store.engine.dispose()


def test_of_many_tabs_at_once_one_wins(database: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", samples=2)
    store = open_study([tmp_path / "run"], database, names=["ann"]).store
    outcomes: list[str] = []

    def send(i: int) -> None:
        vote = Vote(item=1, answer=list(Answer)[i % 3], seconds=1.0, nonce=f"n{i}", answered_at=now())
        try:
            outcomes.append("stored" if store.vote(0, vote, believed=None) else "known")
        except AnsweredElsewhere:
            outcomes.append("conflict")

    threads = [threading.Thread(target=send, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert outcomes.count("stored") == len(store.history()) == 4
    assert len({v.answer for _, v in store.history()}) == 1
    store.engine.dispose()
