"""`smartedit train`: a run from the command line, defaults, and mistakes in plain words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from smartedit.cli import app
from tests.benchmark.tiny_pipeline import write_tiny_pipeline
from tests.tiny import TINY

QUICK = ("--set", "training.steps=1", "--set", "training.batch_size=2", "--set", "training.validate_every=0")


def call(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_baseline_trains_on_drawn_data_where_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTEDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("smartedit.commands.train_defaults.SCENES", 4)
    monkeypatch.setattr("smartedit.commands.train_defaults.PAIRS", 6)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    start = write_tiny_pipeline(tmp_path / "editor")
    code, output = call("baseline", "--preset", TINY, "--start", start, *QUICK)
    assert code == 0, output
    assert "drawing training data of 4 scenes" in output and str(tmp_path / "cache") in output
    assert (tmp_path / "runs/train-baseline/model/model_index.json").is_file()
    code, output = call("baseline", "--preset", TINY, "--start", start, *QUICK)
    assert code == 0 and "training on the drawn data" in output


def test_mistakes_are_named(tmp_path: Path) -> None:
    assert "name the pipeline to start from" in call("full", "--preset", TINY, *QUICK)[1]
    assert "settings start with training. or model." in call("full", "--preset", TINY, "--set", "steps=1")[1]
    assert "training.full.stepz" in call("full", "--preset", TINY, "--set", "training.stepz=1")[1]
    code, output = call("full", "--preset", TINY, "--start", tmp_path, *QUICK)
    assert code == 1 and "no model_index.json" in output
    for option, value in (("--mixture", "miniature"), ("--set", "training.mixture=miniature")):
        code, output = call("align", option, value, "--start", tmp_path, "--run", tmp_path / "run", *QUICK)
        assert code == 1 and f"{option} {value}: stage align draws all captions alike" in " ".join(output.split())


def test_the_estimate_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = call("full", "--preset", TINY, "--estimate", "--gpus", "8", "--sharding", "zero2")
    assert code == 0 and "8 GPUs, sharding zero2" in output
    assert list(tmp_path.iterdir()) == []
    assert (
        "there are none, zero2, fsdp, deepspeed"
        in call("full", "--preset", TINY, "--estimate", "--sharding", "some")[1]
    )


def test_processes_that_draw_at_once_wait_for_each_other(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from smartedit.commands import train_defaults as d\n"
        "d.SCENES, d.PAIRS = 4, 6\n"
        "print(d.drawn_manifest(32, lambda text: None))\n"
    )
    environment = os.environ | {"SMARTEDIT_CACHE": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert told[0] == told[1]
