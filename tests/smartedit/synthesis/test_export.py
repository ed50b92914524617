"""The finished set: three layouts over the same pictures, a data card, and replacement whole or not at all."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reason_edit.tables import read_rows
from smartedit.hub import model_revision
from smartedit.synthesis.export import SyntheticSample, export
from smartedit.synthesis.funnel import measure_funnel
from smartedit.synthesis.records import Rejection
from smartedit.synthesis.run_folder import RunFolder, RunFolderError


@pytest.fixture(scope="module")
def made(finished_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(finished_run.root, tmp_path_factory.mktemp("set") / "set")


def test_every_sample_has_its_pictures_mask_and_provenance(made: Path) -> None:
    samples = read_rows(made / "samples.parquet", SyntheticSample)
    assert len(samples) > 12
    assert [s.sample_id for s in samples] == [f"{n:04d}" for n in range(len(samples))]
    for sample in samples:
        with Image.open(made / sample.source) as source, Image.open(made / sample.target) as target:
            assert source.size == target.size
            before, after = np.asarray(source), np.asarray(target)
        with Image.open(made / sample.mask) as mask:
            inside = np.asarray(mask)
        assert set(np.unique(inside)) == {0, 255}
        assert (before != after)[inside > 0].any()
        assert sample.license == "CC0-1.0"
        assert len(sample.original_sha256) == 64
        assert len(sample.instructions) == 4
        assert sample.scores.background_error == 0.0
        x0, y0, x1, y1 = sample.box.corners
        rows, columns = np.nonzero(inside)
        if sample.operation.value != "add":
            assert x0 - 1 <= columns.min() <= columns.max() <= x1 + 1
            assert y0 - 1 <= rows.min() <= rows.max() <= y1 + 1


def test_the_authors_layout_is_what_their_loader_opens(made: Path) -> None:
    info = json.loads((made / "SyntheticData/SyntheticData_info_new.json").read_text())
    samples = read_rows(made / "samples.parquet", SyntheticSample)
    assert list(info) == [f"{i:04d}" for i in range(len(info))]
    for sample in samples:
        entry = info[sample.sample_id]
        assert list(entry)[:3] == ["origin_img_path", "target_img_path", "instruction"]
        assert entry["category"] == sample.category.value
        assert entry["instruction"] == list(sample.instructions)
        for key in ("origin_img_path", "target_img_path", "mask_path"):
            assert entry[key].startswith("./dataset/SyntheticData/")
            assert (made / entry[key].removeprefix("./dataset/")).is_file()


def test_the_hugging_face_folder_loads_with_decoded_pictures(made: Path) -> None:
    from datasets import load_dataset

    cache = made.parent / "cache"
    data = load_dataset(str(made / "huggingface"), split="train", cache_dir=str(cache))
    samples = read_rows(made / "samples.parquet", SyntheticSample)
    assert data["sample_id"] == [s.sample_id for s in samples]
    first = data[0]
    assert first["instructions"] == list(samples[0].instructions)
    with Image.open(made / samples[0].target) as target:
        assert np.array_equal(np.asarray(first["target"]), np.asarray(target))


def test_the_data_card_counts_what_is_there(made: Path, finished_run: RunFolder) -> None:
    card = (made / "DATA_CARD.md").read_text()
    samples = read_rows(made / "samples.parquet", SyntheticSample)
    assert f"{len(samples)} samples" in card
    assert f"| CC0-1.0 | {len(samples)} |" in card
    assert f"| clip_direction | none | 0/{len(samples)} |" in card
    funnel = measure_funnel(finished_run)
    for stage, reason, count in funnel.reasons:
        assert f"| {stage} | {reason} | {count} |" in card
    rejections = read_rows(made / "rejections.parquet", Rejection)
    assert len(rejections) == sum(count for _, _, count in funnel.reasons)


def test_the_data_card_names_weights_and_the_versions_of_the_run(finished_run: RunFolder, tmp_path: Path) -> None:
    root, weights = tmp_path / "run", tmp_path / "clip"
    shutil.copytree(finished_run.root, root)
    (weights / "deeper").mkdir(parents=True)
    (weights / "deeper/model.safetensors").write_bytes(b"weights")
    (weights / "notes.txt").write_text("no weights")
    settings = json.loads((root / "config.json").read_text())
    settings["config"]["scorer"]["clip"] = str(weights)
    settings["config"]["writer"] |= {"name": "endpoint", "model": "some-model"}
    (root / "config.json").write_text(json.dumps(settings))
    versions = json.loads((root / "environment.json").read_text())
    (root / "environment.json").write_text(json.dumps(versions | {"numpy": "0.1"}))
    card = (export(root) / "DATA_CARD.md").read_text()
    assert f"| numpy | 0.1 -> {versions['numpy']} |" in card
    assert f"| pillow | {versions['pillow']} |" in card
    assert "| writer | endpoint (some-model) | unknown |" in card
    assert "| grounder | annotations | none |" in card
    before = model_revision(str(weights))
    assert f"| scorer | clip ({weights}) | {before} |" in card
    (weights / "notes.txt").write_text("other notes")
    assert model_revision(str(weights)) == before
    (weights / "deeper/model.safetensors").write_bytes(b"others")
    assert model_revision(str(weights)) != before


def test_the_funnel_adds_up(finished_run: RunFolder) -> None:
    funnel = measure_funnel(finished_run)
    levels = {level.stage: level.total for level in funnel.levels}
    lost: dict[str, int] = {}
    for stage, _, count in funnel.reasons:
        lost[stage] = lost.get(stage, 0) + count
    assert levels["propose"] - lost.get("ground", 0) == levels["ground"]
    assert levels["ground"] - lost.get("segment", 0) == levels["segment"]
    assert levels["score"] - lost["select"] == levels["select"]
    for level in funnel.levels[2:]:
        assert sum(dict(level.by_category).values()) == level.total


def test_only_a_set_is_replaced(finished_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "mine", tmp_path / "file", finished_run.root):
        with pytest.raises(RunFolderError, match="something else than an exported set"):
            export(finished_run.root, out)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    export(finished_run.root, tmp_path / "empty")


def test_a_new_export_replaces_the_old_one_whole(
    finished_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"

    def digest() -> dict[str, str]:
        files = sorted(p for p in out.rglob("*") if p.is_file())
        return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    export(finished_run.root, out)
    first = digest()
    (out / "stale.txt").write_text("from an older run")

    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("smartedit.synthesis.export.data_card", full)
        with pytest.raises(OSError, match="No space"):
            export(finished_run.root, out)
    assert (out / "stale.txt").exists()
    export(finished_run.root, out)
    assert digest() == first
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
