"""The audit proves that drawn training data and the drawn benchmark share no picture, and would notice if they did."""

import shutil
from pathlib import Path

import pytest

from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.audit import AuditOptions, Kind, audit_manifest
from smartedit.data.build import build_manifest
from smartedit.data.manifest import Manifest
from smartedit.miniature.corpora import write_corpora
from smartedit.miniature.stock import Stock

SOURCES = """
[sources.refcoco]
root = "refer_seg"

[sources.magicbrush]
root = "MagicBrush_HF"

[sources.instructpix2pix]
root = "clip-filtered-dataset"
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    folder = tmp_path_factory.mktemp("disjoint")
    write_corpora(
        folder / "data",
        Stock(seed=0, count=12, size=64, synthetic=18),
        ["refcoco", "magicbrush-hub", "instructpix2pix"],
    )
    (folder / "sources.toml").write_text(f'root = "data"\n{SOURCES}')
    config = load_tree(ManifestConfig, source=folder / "sources.toml")
    return Manifest(build_manifest(config, folder / "out", data_root=folder / "data").manifest)


def test_no_picture_is_shared(manifest: Manifest, miniature: Path, tmp_path: Path) -> None:
    found = audit_manifest(manifest, miniature, AuditOptions(cache=tmp_path))
    assert found.samples == 219 and found.faults == {}
    assert found.leaking_rows() == set()


def test_a_copied_scene_is_noticed(manifest: Manifest, miniature: Path, tmp_path: Path) -> None:
    shutil.copytree(manifest.data_root, tmp_path / "data")
    row = next(row for row in manifest.examples("instructpix2pix"))
    assert row.image is not None
    copied = sorted((miniature / "3-Mirror").glob("*.png"))[0]
    shutil.copy(copied, tmp_path / "data" / row.image.path)
    moved = Manifest(manifest.path, data_root=tmp_path / "data")
    found = audit_manifest(moved, miniature, AuditOptions(cache=tmp_path / "cache"))
    (exact,) = [o for o in found.overlaps if o.kind is Kind.EXACT and not o.inside]
    assert exact.example_id == row.example_id and exact.other_id == f"mirror/{copied.stem}"
