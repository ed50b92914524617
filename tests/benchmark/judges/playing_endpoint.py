"""A local server that plays an OpenAI-compatible endpoint: right, slow, refusing, malformed, rate-limited."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Play = tuple[int, Any, dict[str, str]]


@dataclass
class Endpoint:
    """What the server plays, and what it saw.

    Attributes:
        play: From the request's body and the number of times its question came (from 1) to status, body and headers.
    """

    play: Callable[[dict[str, Any], int], Play]
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    times: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


def said(text: str | None, model: str = "judge-2026-01-01", **message: Any) -> Play:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    return 200, {"model": model, "choices": [choice]}, {}


@contextmanager
def playing(play: Callable[[dict[str, Any], int], Play]) -> Iterator[Endpoint]:
    endpoint = Endpoint(play)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            body = json.loads(raw)
            with endpoint.lock:
                endpoint.at_once += 1
                endpoint.most_at_once = max(endpoint.most_at_once, endpoint.at_once)
                endpoint.times[raw] += 1
                count = endpoint.times[raw]
                endpoint.seen.append({"path": self.path, **body})
                endpoint.keys.append(self.headers.get("Authorization"))
            try:
                status, content, headers = endpoint.play(body, count)
            finally:
                with endpoint.lock:
                    endpoint.at_once -= 1
            answer = content if isinstance(content, bytes) else json.dumps(content).encode()
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            except OSError:
                return

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()


def slow(seconds: float) -> Callable[[dict[str, Any], int], Play]:
    def play(_: dict[str, Any], __: int) -> Play:
        time.sleep(seconds)
        return said("yes")

    return play
