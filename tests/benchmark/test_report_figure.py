from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.report.content import load_content
from benchmark.report.figure import CELL, GAP, FigureError, choose_samples, write_figure
from benchmark.runs import Run
from reason_edit.schema import PAPER_CATEGORIES
from tests.benchmark.report_run import FAILED, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("run"))


def test_the_default_is_one_complete_sample_of_each_category_whatever_the_scores(run: Run) -> None:
    content = load_content(run)
    chosen = choose_samples(content)
    assert [s.category for s in chosen] == list(PAPER_CATEGORIES)
    assert FAILED[1] not in [s.sample_id for s in chosen]
    assert chosen != list(content.samples[::3])  # not simply the first of each


def test_chosen_samples_and_methods_are_drawn(run: Run) -> None:
    content = load_content(run)
    png, pdf = write_figure(run, content, samples=["color/002", FAILED[1]], methods=["painter", "smearer"])
    with Image.open(png) as image:
        assert image.size == (round((CELL * 3 + 0.1) * 200), round(((CELL + GAP) * 2 + 0.35) * 200))
        pixels = np.asarray(image.convert("RGB"))
    # The middle of the first edit shows the painter's orange rectangle; the failed edit is a grey box.
    orange = (np.abs(pixels.astype(int) - (230, 120, 20)).sum(axis=-1) < 12).sum(axis=(0, 1))
    assert orange > 2_000
    assert (pixels == (241, 241, 243)).all(axis=-1).sum() > 20_000
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"CreationDate" not in pdf.read_bytes()


def test_the_same_figure_has_the_same_bytes(run: Run) -> None:
    content = load_content(run)
    first = [p.read_bytes() for p in write_figure(run, content, samples=["color/002"], methods=["painter"])]
    assert [p.read_bytes() for p in write_figure(run, content, samples=["color/002"], methods=["painter"])] == first


def test_dollar_signs_are_text(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=1)
    content = load_content(run)
    object.__setattr__(content.samples[0], "instruction", "Make it cost $5, not $4_{x}")
    write_figure(run, content, samples=[content.samples[0].sample_id], methods=["painter"])


def test_unknown_samples_and_methods_are_named(run: Run) -> None:
    content = load_content(run)
    with pytest.raises(FigureError, match=r"no sample color/999.*ids look like left_right/001"):
        write_figure(run, content, samples=["color/999"])
    with pytest.raises(FigureError, match=r"no method nobody.*there are painter"):
        write_figure(run, content, methods=["nobody"])
