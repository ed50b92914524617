"""The flow trains stage after stage as the plain call does, and shows losses; without Prefect it still runs."""

import ast
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from smartedit.config.loading import ConfigError
from smartedit.config.training import StageName, load_training_config
from tests.smartedit.training.conftest import (
    MODEL,
    editor,
    manifest,
    metrics,
    model_config,
    run_stage,
    start,
    text_encoder,
)
from tests.smartedit.training.tiny_stages import SETTINGS, TinyStages
from tests.tiny import TINY

__all__ = ["editor", "manifest", "model_config", "run_stage", "start", "text_encoder"]

ROOT = Path(__file__).parents[2]
TEXTS = [*MODEL, *SETTINGS, "training.steps=2", "full.training.steps=4"]


def arguments(run: Path, manifest: Path, start: Path, text_encoder: Path) -> dict[str, Any]:
    return {
        "start": str(start),
        "preset": str(TINY),
        "manifest": str(manifest),
        "run": str(run),
        "text_encoder": str(text_encoder),
        "mixture": str(manifest.parent / "mixture.toml"),
        "settings": TEXTS,
    }


def without_prefect() -> dict[str, Any]:
    """The flow's file with decorators that do nothing in the place of Prefect's."""
    tree = ast.parse((ROOT / "flows/train.py").read_text(encoding="utf-8"))
    tree.body = [n for n in tree.body if not (isinstance(n, ast.ImportFrom) and str(n.module).startswith("prefect"))]
    shown: dict[str, Any] = {}

    def undecorated(**_: Any) -> Any:
        return lambda function: function

    names: dict[str, Any] = {
        "__name__": "plain",
        "flow": undecorated,
        "task": undecorated,
        "NO_CACHE": None,
        "exponential_backoff": undecorated,
        "create_table_artifact": lambda table, key, description: shown.update({key: table}),
        "create_image_artifact": lambda **parts: shown.update(parts),
        "get_run_logger": lambda: __import__("logging").getLogger("plain"),
        "shown": shown,
    }
    exec(compile(tree, "plain", "exec"), names)  # noqa: S102  (our own file, as a reader would change it)
    return names


def test_without_its_decorators_it_trains_what_plain_calls_train(
    run_stage: TinyStages, manifest: Path, start: Path, text_encoder: Path, editor: Path, tmp_path: Path
) -> None:
    names = without_prefect()
    model = names["train"](
        **arguments(tmp_path / "flow", manifest, start, text_encoder), stages=["joint", "full"], baseline=str(editor)
    )
    assert Path(model) == tmp_path / "flow/full/model" and Path(model, "model_index.json").is_file()
    few, more = (
        load_training_config(StageName(stage), TINY, [*SETTINGS, f"training.steps={steps}"])
        for stage, steps in (("joint", 2), ("full", 4))
    )
    joint = run_stage("joint", tmp_path / "joint", training=few)
    run_stage("full", tmp_path / "full", training=more, start=joint)
    for stage in ("joint", "full"):
        assert metrics(tmp_path / "flow" / stage) == metrics(tmp_path / stage)
    assert [row["step"] for row in names["shown"]["train-full-losses"]] == [1, 2, 3, 4]
    assert [row["step"] for row in names["shown"]["train-baseline-losses"]] == [1, 2]


def test_a_real_run_leaves_models_and_artifacts(
    manifest: Path, start: Path, text_encoder: Path, tmp_path: Path
) -> None:
    given = arguments(tmp_path / "run", manifest, start, text_encoder)
    command = [sys.executable, "-m", "flows.train", given["start"], given["manifest"], given["run"]]
    command += [
        "--preset",
        given["preset"],
        "--text-encoder",
        given["text_encoder"],
        "--mixture",
        given["mixture"],
        "--stage",
        "align",
    ]
    command += [part for text in TEXTS for part in ("--set", text)]
    home = tmp_path / "prefect"
    environment = os.environ | {"PREFECT_HOME": str(home), "PYTHONWARNINGS": "ignore"}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run/align/model/model_index.json").is_file()
    with sqlite3.connect(home / "prefect.db") as database:
        (losses,) = database.execute("select data from artifact where key = 'train-align-losses'").fetchone()
    assert "alignment" in losses and "language" in losses


def test_settings_of_stages() -> None:
    names = without_prefect()
    texts = ["training.seed=1", "joint.training.steps=5", "full.training.steps=6", "model.bim.depth=2"]
    assert names["settings_of"]("joint", texts) == ["training.seed=1", "training.steps=5", "model.bim.depth=2"]
    assert names["settings_of"]("full", texts)[1] == "training.steps=6"
    with pytest.raises(ConfigError, match=r"'trainig.steps=1': starts with model., training. or a stage"):
        names["settings_of"]("full", ["trainig.steps=1"])


@pytest.mark.parametrize("stages", [["baseline"], ["full", "joint"], ["joint", "joint"], ["joint", "ful"]])
def test_stages_are_those_of_smart_edit_in_their_order(tmp_path: Path, stages: list[str]) -> None:
    names = without_prefect()
    with pytest.raises(ConfigError, match=f"stages {', '.join(stages)}: takes some of align, joint, full, each once"):
        names["train"]("start", "manifest", str(tmp_path), stages=stages)
    assert names["chosen_stages"](["align", "full"]) == ["align", "full"]
    assert names["chosen_stages"](None) == names["chosen_stages"]([]) == ["align", "joint", "full"]


def test_losses_are_spread_over_the_run_and_end_with_its_end(tmp_path: Path) -> None:
    names = without_prefect()
    assert names["losses_of"](tmp_path) == [] and names["newest_grid"](tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text("".join(f'{{"step": {i}}}\n' for i in range(1, 101)))
    steps = [line["step"] for line in names["losses_of"](tmp_path, 7)]
    assert len(steps) <= 7 and steps[-1] == 100 and steps[0] <= 15


def test_it_is_served_as_default() -> None:
    from flows.serve import FLOWS, load_flow

    assert load_flow("train").name == "train" and "train" in FLOWS
    assert "entrypoint: flows/train.py:train" in (ROOT / "prefect.yaml").read_text(encoding="utf-8")
