"""The flow trains, edits and scores every cell once, shares what cells have in common, and reports beside the paper."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import flows.quiet

# isort: split
from flows.ablations import REPORT, Request, open_ablations, train_and_measure, train_joint, write_ablation_report
from smartedit.data.mixture import load_mixture
from smartedit.model.checkpoints import load_model
from tests.reason_edit.folders import write_folder
from tests.smartedit.training.conftest import MODEL, editor, manifest, model_config, start, text_encoder
from tests.smartedit.training.tiny_stages import SETTINGS
from tests.tiny import TINY

__all__ = ["editor", "flows", "manifest", "model_config", "start", "text_encoder"]

ROOT = Path(__file__).parents[2]
TEXTS = (*MODEL, *SETTINGS, "training.steps=1")


@pytest.fixture
def request_of_two(start: Path, manifest: Path, tmp_path: Path) -> Request:
    return Request(
        align=str(start),
        manifest=str(manifest),
        preset=str(TINY),
        settings=TEXTS,
        dataset=str(write_folder(tmp_path / "set")),
        edit_settings=("steps=1",),
        protocol="strict-v1",
        batch_size=4,
    )


def test_cells_share_what_they_start_from_and_finished_ones_are_kept(request_of_two: Request, tmp_path: Path) -> None:
    request, root = request_of_two, str(tmp_path / "run")
    open_ablations(root, request)
    joint = Path(train_joint(root, request, "all", 0))
    written = (joint / "unet/config.json").stat().st_mtime_ns
    for name in ("plain", "simple-ca"):
        train_and_measure(root, request, name, 0, "cpu")
    assert (joint / "unet/config.json").stat().st_mtime_ns == written
    models = {name: Path(root) / f"cells/{name}-0/training/model" for name in ("plain", "simple-ca")}
    assert load_model(models["plain"]).bim is None and load_model(models["simple-ca"]).bim is not None
    before = {p: p.stat().st_mtime_ns for p in Path(root).rglob("*.png")}
    assert len(before) == 2 * 8
    train_and_measure(root, request, "plain", 0, "cpu")
    assert {p: p.stat().st_mtime_ns for p in Path(root).rglob("*.png")} == before
    text = write_ablation_report(root, request, ["whole, seed 0: out of memory"])
    assert "plain (no BIM)" in text and "Not finished: whole, seed 0: out of memory" in text
    assert ("SmartEdit-7B, SimpleCA" in text and "0/1" in text) or "1/1" in text
    assert (Path(root) / REPORT).read_text() == text


def test_data_that_are_left_out_are_not_drawn(request_of_two: Request, tmp_path: Path) -> None:
    request, root = request_of_two, str(tmp_path / "run")
    mixtures = {}
    for data in ("all", "all-no-segmentation"):
        train_joint(root, request, data, 3)
        mixtures[data] = (Path(root) / f"joint/{data}-3/mixture.toml").read_text()
    assert "reasonseg" in mixtures["all"] and "reasonseg" not in mixtures["all-no-segmentation"]
    assert all("seed = 3" in text and "synthetic" in text and "llava" in text for text in mixtures.values())


def test_a_mixture_of_the_settings_is_what_is_varied(request_of_two: Request, manifest: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text("[weights]\nsynthetic = 0.75\nllava = 0.25\n")
    request = replace(request_of_two, settings=(*TEXTS, f"training.mixture={mine}"))
    train_joint(str(tmp_path / "run"), request, "all", 0)
    written = load_mixture(tmp_path / "run/joint/all-0/mixture.toml")
    assert written.weights == {"synthetic": 0.75, "llava": 0.25}


def test_a_mixture_that_nothing_would_draw_is_refused(request_of_two: Request, tmp_path: Path) -> None:
    request = replace(request_of_two, settings=(*TEXTS, "full.training.mixture=mine.toml"))
    with pytest.raises(ValueError, match=r"full\.training\.mixture: both stages of a cell draw from joint's"):
        open_ablations(str(tmp_path / "run"), request)


def test_another_request_is_refused(request_of_two: Request, tmp_path: Path) -> None:
    root = str(tmp_path / "run")
    open_ablations(root, request_of_two)
    open_ablations(root, request_of_two)
    with pytest.raises(ValueError, match=r"batch_size was 4 and is 2; give the former"):
        open_ablations(root, replace(request_of_two, batch_size=2))


def test_a_real_run_reports_its_cells(start: Path, manifest: Path, tmp_path: Path) -> None:
    dataset = write_folder(tmp_path / "set")
    command = [sys.executable, "-m", "flows.ablations", str(start), str(manifest), str(tmp_path / "run")]
    command += [
        "--preset",
        str(TINY),
        "--table",
        "2",
        "--seed",
        "0",
        "--dataset",
        str(dataset),
        "--protocol",
        "strict-v1",
        "--device",
        "cpu",
    ]
    command += ["--edit-set", "steps=1", *(part for text in TEXTS for part in ("--set", text))]
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONWARNINGS": "ignore"}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    cells = sorted(p.parent.name for p in (tmp_path / "run/cells").glob("*/done.json"))
    assert cells == ["plain-0", "simple-ca-0", "whole-0"]
    assert json.loads((tmp_path / "run/cells/whole-0/done.json").read_text()) == {"variant": "whole", "seed": 0}
    assert "Table 2: the interaction module" in (tmp_path / "run" / REPORT).read_text()


def test_it_is_served_as_default() -> None:
    from flows.serve import FLOWS, load_flow

    assert load_flow("ablations").name == "ablations" and "ablations" in FLOWS
    assert "entrypoint: flows/ablations.py:ablations" in (ROOT / "prefect.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"protocol": "v9"}, "unknown protocol 'v9'"), ({"clip_model": "/nowhere"}, "CLIP /nowhere")],
)
def test_scoring_that_cannot_be_is_refused_before_a_training(
    request_of_two: Request, tmp_path: Path, wrong: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        open_ablations(str(tmp_path / "run"), replace(request_of_two, **wrong))  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
