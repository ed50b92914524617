"""Tests that share what is costly to make run in one process: pytest-xdist must heed the marks of `conftest.py`."""

import subprocess
import sys
from pathlib import Path

SHARING = """
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def made():
    Path(os.environ["PYTEST_XDIST_WORKER"]).touch()


@pytest.mark.parametrize("number", range(8))
def test_one(made, number):
    pass
"""


def test_what_is_costly_is_made_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
    (tmp_path / "test_sharing.py").write_text(SHARING)

    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "--rootdir", str(tmp_path)]
    done = subprocess.run([*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("gw*"))) == 1
