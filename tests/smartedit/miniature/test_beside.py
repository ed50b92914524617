import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from smartedit.miniature.fit.beside import FailedBesideError, beside

FRESH = multiprocessing.get_context("forkserver")


def write_threads(file: Path) -> None:
    file.write_text(str(torch.get_num_threads()))


def fail(file: Path) -> None:
    file.touch()
    raise ValueError("what is told by the process itself")


def write_on(file: Path) -> None:
    while True:
        file.write_text(str(os.getpid()))
        time.sleep(0.01)


def write_on_beside(file: Path) -> None:
    with beside(write_on, file, at_once=True, on_part=print):
        time.sleep(600)


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 120
    while not file.is_file() or not file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_still(file: Path) -> bool:
    before = file.stat().st_mtime_ns
    time.sleep(0.3)
    return file.stat().st_mtime_ns == before


def test_threads_are_shared_until_one_is_done(four_threads: None, tmp_path: Path) -> None:
    told: list[str] = []
    with beside(write_threads, tmp_path / "threads", at_once=True, on_part=told.append) as on_part:
        assert torch.get_num_threads() == 2
        wait_for(tmp_path / "threads")
        deadline = time.monotonic() + 60
        while torch.get_num_threads() == 2 and time.monotonic() < deadline:
            on_part.look()
        assert torch.get_num_threads() == 4
        on_part("part")
    assert told == ["part"]
    assert torch.get_num_threads() == 4
    assert (tmp_path / "threads").read_text() == "2"


def test_a_failure_beside_is_told_at_the_next_look_and_at_the_end(tmp_path: Path, capfd) -> None:
    with (
        pytest.raises(FailedBesideError, match="ended with 1"),
        beside(fail, tmp_path / "begun", at_once=True, on_part=print) as on_part,
    ):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            on_part.look()
    err = capfd.readouterr().err
    assert "what is told by the process itself" in err and "Traceback" not in err
    with pytest.raises(FailedBesideError), beside(fail, tmp_path / "begun", at_once=True, on_part=print):
        pass


def test_a_process_that_the_system_ends_is_told_by_its_signal(tmp_path: Path) -> None:
    with (
        pytest.raises(FailedBesideError, match=r"ended by signal 9 \(Killed\).*memory"),
        beside(write_on, tmp_path / "file", at_once=True, on_part=print) as on_part,
    ):
        wait_for(tmp_path / "file")
        os.kill(int((tmp_path / "file").read_text()), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            on_part.look()


def test_a_failure_here_ends_what_is_beside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), beside(write_on, tmp_path / "file", at_once=True, on_part=print):
        wait_for(tmp_path / "file")
        raise ZeroDivisionError
    assert is_still(tmp_path / "file")


def test_a_kill_here_ends_what_is_beside(tmp_path: Path) -> None:
    process = FRESH.Process(target=write_on_beside, args=(tmp_path / "file",))
    process.start()
    wait_for(tmp_path / "file")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    time.sleep(0.5)
    assert is_still(tmp_path / "file")


def test_nothing_is_run_beside_where_one_process_is_allowed(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    with beside(fail, tmp_path / "begun", at_once=False, on_part=print) as on_part:
        on_part.look()
        assert on_part.on_part is print and torch.get_num_threads() == threads
    assert not (tmp_path / "begun").exists()
