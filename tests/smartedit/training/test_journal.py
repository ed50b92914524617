"""The curves of a run: in TensorBoard's files where it is installed, and said where it is not."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smartedit.training.journal import Journal
from tests.smartedit.training.conftest import metrics


class Board:
    """Stands in for TensorBoard's writer, which the tests do not ask for."""

    def __init__(self, folder: str, purge_step: int) -> None:
        self.folder, self.purge_step = folder, purge_step
        self.waiting: list[tuple[str, float, int]] = []
        self.written: list[tuple[str, float, int]] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.waiting.append((name, value, step))

    def flush(self) -> None:
        self.written += self.waiting
        self.waiting = []


def journal(run: Path, **changes: Any) -> Journal:
    settings: dict[str, Any] = {"run": run, "log_every": 2, "max_unreadable": 0, "writes": True}
    return Journal(**{**settings, **changes})


def installed(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> list[Board]:
    boards: list[Board] = []

    def make(*args: Any, **kwargs: Any) -> Board:
        boards.append(Board(*args, **kwargs))
        return boards[-1]

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: (is_there or None) if name == "tensorboard" else found(name)
    )
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=make))  # type: ignore[arg-type]
    return boards


def test_curves_are_in_both_files_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boards = installed(monkeypatch, is_there=True)
    ours = journal(tmp_path)
    ours.resume(4, None)
    for step, loss in ((5, 3.0), (6, 1.0)):
        ours.record(step, 6, {"loss": loss})
    assert [(board.folder, board.purge_step) for board in boards] == [(str(tmp_path / "tensorboard"), 5)]
    assert boards[0].written == [("loss", 2.0, 6)]
    assert metrics(tmp_path) == [{"step": 6, "loss": 2.0, "unreadable": 0}]


def test_it_is_said_where_there_is_no_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not installed(monkeypatch, is_there=False)
    journal(tmp_path).resume(0, None)
    assert "extra: tensorboard" in caplog.text and "metrics.jsonl only" in caplog.text
    caplog.clear()
    journal(tmp_path, writes=False).resume(0, None)
    assert not caplog.text


def test_a_loss_that_grows_is_told_once_also_behind_a_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = journal(tmp_path, log_every=1)
    first.resume(0, None)
    caplog.clear()
    for step, loss in ((1, 4.0), (2, 2.0), (3, 9.0)):
        first.record(step, 9, {"loss": loss})
    assert not caplog.text
    again = journal(tmp_path, log_every=1)
    again.resume(3, first.state())
    caplog.clear()
    for step, loss in ((4, 11.0), (5, 500.0)):
        again.record(step, 9, {"loss": loss})
    assert caplog.text.count("the loss is 11 and was 2: the learning rate is probably too high") == 1
    assert len(caplog.records) == 1
