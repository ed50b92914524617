"""The server as a process: killed, flooded, and kept waiting."""

import socket
import sqlite3
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tests.reason_edit.rating.drawn_run import serve, write_run


def answer(client: httpx.Client, link: str, turn: int, value: str) -> None:
    """Take the next item, look at it, answer; send again, as the page does, until the server has confirmed."""
    state = client.get(link + "items/next").json()
    assert client.get(link + state["edited"]).content.startswith(b"\x89PNG")
    body = {"item": state["item"], "answer": value, "believed": None, "seconds": 1.0, "nonce": f"{turn:032x}"}
    client.post(link + "answers", json=body).raise_for_status()


def stored(run: Path) -> list[tuple[int, int, str]]:
    with sqlite3.connect(run / "study.sqlite") as connection:
        return connection.execute("SELECT rater, item, nonce FROM votes ORDER BY number").fetchall()


def test_every_confirmed_vote_survives_kill_9(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, samples=12)
    served = serve(run, "--raters", "3")
    port = urlsplit(next(iter(served.links.values()))).port or 0
    confirmed: set[tuple[str, int]] = set()
    restarted = threading.Event()

    def rate(name: str, link: str) -> None:
        with httpx.Client(timeout=5) as client:
            for turn in range(36):
                while True:
                    try:
                        answer(client, link, turn, "aligned")
                        confirmed.add((name, turn))
                        break
                    except httpx.TransportError:
                        assert restarted.wait(20)

    threads = [threading.Thread(target=rate, args=pair) for pair in served.links.items()]
    for t in threads:
        t.start()
    while len(confirmed) < 30:
        time.sleep(0.002)
    served.kill()
    at_death = set(confirmed)
    nonces = {(f"rater-{rater + 1}", int(nonce, 16)) for rater, _, nonce in stored(run)}
    assert at_death <= nonces
    assert len(nonces) < 108
    again = serve(run, port=port)
    restarted.set()
    for t in threads:
        t.join(30)
    again.kill()
    votes = stored(run)
    assert len(confirmed) == 108
    assert len({(rater, item) for rater, item, _ in votes}) == len(votes) == 108
    assert again.links == served.links


def test_fifty_raters_at_once_lose_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, samples=3)
    served = serve(run, "--raters", "50")
    problems: list[BaseException] = []

    def rate(link: str) -> None:
        try:
            with httpx.Client(timeout=30) as client:
                for turn in range(4):
                    answer(client, link, turn, ("aligned", "not", "cannot tell")[turn % 3])
        except BaseException as error:  # noqa: BLE001
            problems.append(error)

    threads = [threading.Thread(target=rate, args=(link,)) for link in served.links.values()]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    served.kill()
    assert problems == []
    votes = stored(run)
    assert len(votes) == len({(rater, item) for rater, item, _ in votes}) == 200


def test_slow_clients_hold_nobody_up(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, samples=3)
    served = serve(run, "--raters", "2")
    link = served.links["rater-1"]
    parts = urlsplit(link)
    lazy = []
    for _ in range(60):
        connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
        head = f"POST {parts.path}answers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(f'{head}Content-Length: 300\r\n\r\n{{"item": "'.encode())
        lazy.append(connection)
    with httpx.Client(timeout=10) as client:
        for turn in range(9):
            answer(client, served.links["rater-2"], turn, "not")
        # A slow but honest client: its answer arrives byte by byte and counts.
        state = client.get(link + "items/next").json()
    body = (
        f'{{"item": "{state["item"]}", "answer": "aligned", "believed": null, "seconds": 1, "nonce": "{"a" * 32}"}}'
    ).encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as slow:
        head = f"POST {parts.path}answers HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        slow.sendall(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode())
        for i in range(0, len(body), 8):
            slow.sendall(body[i : i + 8])
            time.sleep(0.01)
        reply = slow.recv(4096)
    assert reply.startswith(b"HTTP/1.1 200")
    for connection in lazy:
        connection.close()
    served.kill()
    assert len(stored(run)) == 10
