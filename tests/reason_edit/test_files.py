"""Atomic writes: whole or absent, also when a process is killed or the disk is full."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from reason_edit.files import atomic_path, sweep_unfinished, write_text

KILLED = """
import os, signal, sys
from reason_edit.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "deep" / "whole.txt", "whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "deep" / "half.txt")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "deep").iterdir())) == 2
    with atomic_path(tmp_path / "deep" / "mine.txt") as temporary:
        temporary.write_text("being written")
        sweep_unfinished(tmp_path)
        assert temporary.is_file()
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["mine.txt", "whole.txt"]


def test_a_full_disk_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "before")
    with (
        pytest.raises(OSError, match=r"make room and give the same command again: '.*a\.txt'"),
        atomic_path(tmp_path / "a.txt"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [p.read_text() for p in tmp_path.iterdir()] == ["before"]
