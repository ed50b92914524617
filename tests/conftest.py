"""What all tests share: the folder of reference numbers, and a machine that stays offline."""

import os
from pathlib import Path

import pytest

# One thread a process: several on few cores wait for each other, and sums come in the same order everywhere.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

GOLDEN = Path(os.environ.get("SMARTEDIT_GOLDEN", Path(__file__).parent / "golden"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference numbers, same layout as the reference sets of the project."""
    return GOLDEN
