"""One miniature Reason-Edit for all tests of this folder."""

from pathlib import Path

import pytest

from reason_edit.tables import read_rows
from smartedit.miniature.benchmark_set import Answer, write_reason_edit


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature") / "reason-edit"
    write_reason_edit(folder, seed=0, size=64)
    return folder


@pytest.fixture(scope="session")
def answers(miniature: Path) -> list[Answer]:
    return read_rows(miniature / "answers" / "scenes.parquet", Answer)
