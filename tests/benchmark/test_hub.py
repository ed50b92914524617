"""Whether a hub counts as reachable, asked of real sockets."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from benchmark import hub
from benchmark.hub import hub_answers

waited = threading.Event()


class Hub(BaseHTTPRequestHandler):
    """Answers for the host and for one model, and lets everything else wait, as a proxy may."""

    def do_HEAD(self) -> None:
        if self.path in {"/", "/api/models/known/model"}:
            self.send_response(200)
            self.end_headers()
        else:
            waited.wait(30)

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hub, "ANSWER_SECONDS", 1.0)
    yield
    waited.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(("model", "reachable"), [("known/model", True), ("stalled/model", False)])
def test_a_hub_that_lets_the_model_wait_is_out_of_reach(endpoint: None, model: str, reachable: bool) -> None:
    waited.clear()
    assert hub_answers(model) is reachable
