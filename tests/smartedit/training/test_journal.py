"""The curves of a run: in TensorBoard's files where it is installed, and said where it is not."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from smartedit.training.journal import Journal
from tests.smartedit.training.conftest import metrics

FIND = importlib.util.find_spec


def journal(run: Path, **changes: Any) -> Journal:
    settings: dict[str, Any] = {"run": run, "log_every": 2, "max_unreadable": 0, "writes": True}
    return Journal(**{**settings, **changes})


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of a run."""
    shown = EventAccumulator(str(run / "tensorboard"), purge_orphaned_data=True)
    shown.Reload()
    return {name: [(e.step, e.value) for e in shown.Scalars(name)] for name in shown.Tags()["scalars"]}


def test_curves_are_in_both_files_at_once(tmp_path: Path) -> None:
    ours = journal(tmp_path)
    ours.resume(4, None)
    for step, loss in ((5, 3.0), (6, 1.0)):
        ours.record(step, 6, {"loss": loss})
    assert curves(tmp_path) == {"loss": [(6, 2.0)]}
    assert metrics(tmp_path) == [{"step": 6, "loss": 2.0, "unreadable": 0}]


def test_steps_that_are_made_again_take_the_place_of_the_first_ones(tmp_path: Path) -> None:
    killed = journal(tmp_path, log_every=1)
    killed.resume(0, None)
    for step, loss in ((1, 4.0), (2, 3.0), (3, 2.0)):
        killed.record(step, 4, {"loss": loss})
    again = journal(tmp_path, log_every=1)
    again.resume(1, None)
    for step, loss in ((2, 3.5), (3, 2.5)):
        again.record(step, 4, {"loss": loss})
    expected = [(1, 4.0), (2, 3.5), (3, 2.5)]
    assert curves(tmp_path) == {"loss": expected}
    assert [(line["step"], line["loss"]) for line in metrics(tmp_path)] == expected


def without_tensorboard(name: str) -> Any:
    return None if name == "tensorboard" else FIND(name)


def test_it_is_said_where_there_is_no_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", without_tensorboard)
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
