"""A bank of the user's own, files named relatively, and the manifest's reader on the finished set."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from reason_edit.tables import read_rows
from smartedit.data.examples import TrainingExample
from smartedit.data.sources.synthetic import read
from smartedit.synthesis.exemplars import exemplars_of_folder
from smartedit.synthesis.export import SyntheticSample, export
from smartedit.synthesis.records import EditedPair
from smartedit.synthesis.run_folder import RunFolder
from smartedit.tools.protocols import ToolUnavailable
from tests.smartedit.synthesis.conftest import DrawnSet, run_all


def test_cut_outs_of_the_users_own(drawn_set: DrawnSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bank/orange").mkdir(parents=True)
    image = Image.new("RGBA", (40, 40))
    ImageDraw.Draw(image).ellipse((0, 0, 39, 39), fill=(240, 150, 30, 255))
    image.save(tmp_path / "bank/orange/one.png")
    monkeypatch.chdir(tmp_path)
    config = drawn_set.config("replacer.bank=bank", "proposals.remove_share=0", "pictures.limit=3", "draws=1")
    folder = run_all(drawn_set.pictures, Path("run"), config)
    monkeypatch.chdir(drawn_set.folder)
    folder = RunFolder(tmp_path / "run")
    assert Path(folder.settings().config.replacer.bank or "").is_absolute()
    origins = {p.origin for p in folder.all_rows("inpaint", EditedPair) if p.tool == "exemplar"}
    assert origins == {"orange-one"}
    with pytest.raises(ToolUnavailable, match="no cut-outs"):
        exemplars_of_folder(tmp_path)


def test_the_manifest_reads_the_set(finished_run: RunFolder, tmp_path: Path) -> None:
    made = export(finished_run.root, tmp_path / "set")
    rows = list(read(made))
    samples = read_rows(made / "samples.parquet", SyntheticSample)
    assert len(rows) == len(samples) > 12
    for row, sample in zip(rows, samples, strict=True):
        assert isinstance(row, TrainingExample), row
        assert row.instructions == sample.instructions
        assert row.category == sample.category.value
        assert row.image is not None
        assert row.image.path.endswith(f"{sample.sample_id}/{sample.sample_id}.png")
