from dataclasses import dataclass
from pathlib import Path

import pytest

from smartedit.config.synthesis import SynthesisConfig, load_synthesis
from smartedit.synthesis.finish import choose
from smartedit.synthesis.pipeline import prepare, work
from smartedit.synthesis.run_folder import STAGES, RunFolder
from tests.smartedit.synthesis.drawn import write_coco


@dataclass(frozen=True)
class DrawnSet:
    """The drawn pictures, and a configuration that fits them."""

    folder: Path
    pictures: Path

    def config(self, *overrides: str) -> SynthesisConfig:
        base = [
            f"pictures.annotations='{self.folder}/instances.json'",
            f"proposals.knowledge='{self.folder}/knowledge.toml'",
            "pictures.min_side=64",
            "pictures_per_shard=3",
            "draws=2",
            *(f"selection.quotas.{c}=4" for c in ("left_right", "relative_size", "mirror", "color")),
            "selection.quotas.multiple_objects=4",
            "selection.quotas.reasoning=4",
        ]
        return load_synthesis(None, [*base, *overrides])


def run_all(pictures: Path, root: Path, config: SynthesisConfig) -> RunFolder:
    shards = prepare(pictures, root, config)
    for shard in range(shards):
        for stage in STAGES:
            work(root, stage, shard)
    return RunFolder(root)


@pytest.fixture(scope="session")
def drawn_set(tmp_path_factory: pytest.TempPathFactory) -> DrawnSet:
    folder = tmp_path_factory.mktemp("drawn")
    return DrawnSet(folder=folder, pictures=write_coco(folder))


@pytest.fixture(scope="session")
def finished_run(drawn_set: DrawnSet, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of the drawn set with all stages done and a set chosen; tests must not change it."""
    root = tmp_path_factory.mktemp("finished") / "run"
    folder = run_all(drawn_set.pictures, root, drawn_set.config())
    choose(root)
    return folder
