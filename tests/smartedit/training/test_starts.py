"""What a stage starts from where no pipeline is named: checkpoints by name, a text encoder that a pipeline has."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from smartedit.cli import app
from smartedit.commands.train_defaults import drawn_manifest
from smartedit.inference.loading import load_pipeline
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.training.stages import StageError
from tests.smartedit.training.tiny_stages import MODEL, TinyStages
from tests.tiny import TINY

QUICK = ("training.steps=1", "training.batch_size=2", "training.validate_every=0")


def call(*arguments: str | Path) -> tuple[int, str]:
    settings = [word for text in (*QUICK, *MODEL) for word in ("--set", text)]
    result = CliRunner().invoke(app, ["train", *map(str, arguments), *settings])
    return result.exit_code, result.output


def test_align_begins_with_checkpoints(start: Path, text_encoder: Path, manifest: Path, tmp_path: Path) -> None:
    pipeline = SmartEditPipeline.from_pretrained(start)
    llava = tmp_path / "llava"
    pipeline.mllm.model.save_pretrained(llava)
    pipeline.tokenizer.save_pretrained(llava)
    # UNet and autoencoder by the pipeline that has them.
    parts = {"mllm": llava, "unet": start, "vae": start, "text": text_encoder}
    checkpoints = [word for n, folder in parts.items() for word in ("--set", f"model.{n}.checkpoint={folder}")]
    words = ("align", "--preset", TINY, "--manifest", manifest, "--run", tmp_path / "run")

    code, output = call(*words, *checkpoints[2:])
    assert code == 1 and "--set model.mllm.checkpoint=FOLDER" in " ".join(output.split())
    code, _ = call("align", "--preset", TINY, "--manifest", tmp_path, "--run", tmp_path / "run", *checkpoints)
    assert code == 1 and not (tmp_path / "run").exists()
    code, output = call(*words, *checkpoints[:-2])
    assert code == 1 and "--text-encoder" in output and not (tmp_path / "run").exists()
    code, output = call(*words, *checkpoints)

    assert code == 0, output
    assert "align: step 1 of 1, loss " in output and "left" in output
    made = SmartEditPipeline.from_pretrained(tmp_path / "run" / "start")
    kept = dict(pipeline.unet.named_parameters())
    assert all(torch.equal(p, kept[name]) for name, p in made.unet.named_parameters())
    code, output = call(*words, *checkpoints, "--set", "training.seed=5")
    assert code == 1 and "was put together from other checkpoints, model settings or another seed" in output
    assert call(*words, *checkpoints)[0] == 0
    assert (tmp_path / "run" / "model" / "model_index.json").is_file()


def test_a_text_encoder_may_be_one_that_ships(run_stage: TinyStages, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="instruct-pix2pix-miniature: its features are"):
        run_stage("align", tmp_path, text_encoder="instruct-pix2pix-miniature")


def test_the_preset_that_ships_trains_is_killed_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTEDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("smartedit.commands.train_defaults.SCENES", 6)
    monkeypatch.setattr("smartedit.commands.train_defaults.PAIRS", 12)
    manifest = drawn_manifest(64, lambda text: None)
    settings = ("training.batch_size=2", "training.checkpoint_every=1", "training.num_workers=0")
    run = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "smartedit", "train", "full", "--preset", "miniature"),
        *("--manifest", str(manifest), "--run", str(run)),
        *(word for text in settings for word in ("--set", text)),
    ]

    long, short = ([*command, "--set", f"training.steps={steps}"] for steps in (100, 4))
    first = subprocess.Popen(long, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while first.poll() is None and not any((run / "checkpoints").glob("step-*.pt")):
        time.sleep(0.02)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    again = subprocess.run(short, capture_output=True, text=True, check=False)

    assert again.returncode == 0, again.stderr
    assert again.stdout == f"wrote {run / 'model'}\n"
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 4
    assert load_pipeline(run / "model").bim is not None


def test_the_preset_that_ships_aligns_to_the_text_encoder_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTEDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("smartedit.commands.train_defaults.SCENES", 6)
    monkeypatch.setattr("smartedit.commands.train_defaults.PAIRS", 12)
    settings = ("training.steps=1", "training.batch_size=4")
    words = ["align", "--run", str(tmp_path / "run"), *(w for text in settings for w in ("--set", text))]
    result = CliRunner().invoke(app, ["train", *words])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "run" / "model" / "model_index.json").is_file()
