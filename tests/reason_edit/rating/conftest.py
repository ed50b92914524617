"""A small study, once a test where it is changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.commands.rating_study import OpenedStudy, open_study
from tests.reason_edit.rating.drawn_run import write_run


@pytest.fixture
def study(tmp_path: Path) -> Iterator[OpenedStudy]:
    write_run(tmp_path / "run")
    opened = open_study([tmp_path / "run"], None, names=["ann", "bo"], copies=2)
    yield opened
    opened.store.engine.dispose()
