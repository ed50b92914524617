"""Whether a hub counts as reachable, asked of real sockets, and where a model is then taken from."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from smartedit import hub
from smartedit.hub import ModelNotFoundError, hub_answers, locate_model

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


def cache_snapshot(cache: Path, model: str) -> Path:
    """A cached model as the hub's client lays it out."""
    commit = "0" * 40
    repository = cache / f"models--{model.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    return snapshot


def test_a_model_is_a_folder_or_a_name_while_the_hub_answers(endpoint: None, tmp_path: Path) -> None:
    assert locate_model(tmp_path) == str(tmp_path)
    assert locate_model("known/model") == "known/model"
    with pytest.raises(ModelNotFoundError, match="no such folder"):
        locate_model(tmp_path / "elsewhere")


def test_a_silent_hub_leaves_the_cache(endpoint: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    waited.clear()
    with pytest.raises(ModelNotFoundError, match=r"stalled/model: .*not in the cache, .*hf download stalled/model"):
        locate_model("stalled/model")
    snapshot = cache_snapshot(tmp_path, "stalled/model")
    assert locate_model("stalled/model") == str(snapshot)
