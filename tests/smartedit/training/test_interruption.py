"""A run that is killed goes on with the same numbers; what cannot go on says why."""

import fcntl
import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reason_edit.files import BusyError
from smartedit.data.decoding import DecodingError
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.checkpoints import CheckpointError, load_model
from smartedit.training.editing import EditTrainee
from smartedit.training.journal import UnreadableRowsError
from smartedit.training.loop import DivergedError
from smartedit.training.stages import StageError
from tests.smartedit.training.conftest import metrics, write_manifest
from tests.smartedit.training.tiny_stages import TinyStages

FRESH = multiprocessing.get_context("forkserver")
"""Not fork: a process that has trained cannot be copied (autograd refuses)."""
FRESH.set_forkserver_preload(["tests.smartedit.training.tiny_stages", "smartedit.training.build"])


def kill_behind(run_stage: TinyStages, run: Path, step: int, *overrides: str) -> None:
    """Start a stage in another process and kill it when it has logged a step."""
    process = FRESH.Process(target=run_stage, args=("full", run, *overrides))
    process.start()
    deadline = time.monotonic() + 300
    while not (run / "metrics.jsonl").is_file() or len(metrics_lines(run)) < step:
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.002)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def metrics_lines(run: Path) -> list[str]:
    return (run / "metrics.jsonl").read_text().splitlines()


@pytest.fixture
def with_dropout(run_stage: TinyStages, start: Path, tmp_path: Path) -> TinyStages:
    """The same stages from a start whose QFormer has dropout, which draws while it trains."""
    pipeline = SmartEditPipeline.from_pretrained(start)
    qformer = type(pipeline.qformer).from_config({**pipeline.qformer.config, "dropout": 0.3})
    qformer.load_state_dict(pipeline.qformer.state_dict())
    pipeline.register_modules(qformer=qformer)
    pipeline.save_pretrained(tmp_path / "start")
    return replace(run_stage, start=tmp_path / "start")


def test_a_killed_run_goes_on_with_the_same_losses(with_dropout: TinyStages, tmp_path: Path) -> None:
    run_stage = with_dropout
    overrides = ("training.steps=9", "training.ema_decay=0.9")
    whole = run_stage("full", tmp_path / "whole", *overrides)
    for step in (1, 3, 6):
        kill_behind(run_stage, tmp_path / "killed", step, *overrides)
    (tmp_path / "killed/checkpoints/.step-00000008.tmp-x.pt").write_bytes(b"half")
    killed = run_stage("full", tmp_path / "killed", *overrides)
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    for part in ("mllm", "qformer", "bim", "unet"):
        ours, theirs = (getattr(SmartEditPipeline.from_pretrained(m), part).state_dict() for m in (killed, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    names = sorted(path.name for path in (tmp_path / "killed/checkpoints").iterdir())
    assert names == ["step-00000008.pt", "step-00000009.pt"]


def test_a_finished_run_is_left_as_it_is(run_stage: TinyStages, tmp_path: Path) -> None:
    model = run_stage("joint", tmp_path, "training.steps=2")
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    assert run_stage("joint", tmp_path, "training.steps=2") == model
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before
    run_stage("joint", tmp_path, "training.steps=3")
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3]


def test_a_model_of_fewer_steps_is_not_the_result(
    run_stage: TinyStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = run_stage("joint", tmp_path, "training.steps=2")
    weights = [path.relative_to(model) for path in model.rglob("*.safetensors")]
    before = [(model / name).read_bytes() for name in weights]

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(EditTrainee, "save", kill)
        run_stage("joint", tmp_path, "training.steps=4")
    assert (tmp_path / "checkpoints/step-00000004.pt").is_file()
    run_stage("joint", tmp_path, "training.steps=4")
    assert [(model / name).read_bytes() for name in weights] != before
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 3, 4]


def test_a_model_without_its_checkpoints_is_not_trained_anew(run_stage: TinyStages, tmp_path: Path) -> None:
    model = run_stage("joint", tmp_path, "training.steps=2")
    shutil.rmtree(tmp_path / "checkpoints")
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    assert run_stage("joint", tmp_path, "training.steps=2") == model
    with pytest.raises(CheckpointError, match="has 2 steps, and 4 are asked for, but there is no checkpoint in"):
        run_stage("joint", tmp_path, "training.steps=4")
    with pytest.raises(CheckpointError, match=r"model/\.trained: was trained with other settings: seed was 0 and is 5"):
        run_stage("joint", tmp_path, "training.steps=2", "training.seed=5")
    (model / ".trained").rename(tmp_path / "trained")
    with pytest.raises(CheckpointError, match="model: has an unknown number of steps, and 2 are asked for"):
        run_stage("joint", tmp_path, "training.steps=2")
    (model / ".trained").write_text("half")
    with pytest.raises(CheckpointError, match=r"\.trained: cannot be read"):
        run_stage("joint", tmp_path, "training.steps=2")
    (tmp_path / "trained").replace(model / ".trained")
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2]


def test_a_model_from_before_it_told_its_steps_counts_as_its_checkpoint(run_stage: TinyStages, tmp_path: Path) -> None:
    model = run_stage("joint", tmp_path, "training.steps=2")
    (model / ".trained").unlink()
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    assert run_stage("joint", tmp_path, "training.steps=2") == model
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before


def test_checkpoints_of_others_are_refused(run_stage: TinyStages, tmp_path: Path, start: Path) -> None:
    run_stage("joint", tmp_path, "training.steps=2")
    with pytest.raises(CheckpointError, match=r"step-00000002\.pt: is of stage joint, not full"):
        run_stage("full", tmp_path)
    with pytest.raises(CheckpointError, match="seed was 0 and is 5"):
        run_stage("joint", tmp_path, "training.seed=5")
    with pytest.raises(CheckpointError, match="rows_a_step was 4 and is 8"):
        run_stage("joint", tmp_path, "training.gradient_accumulation=2")
    other = SmartEditPipeline.from_pretrained(start)
    other.unet = type(other.unet).from_config({**other.unet.config, "block_out_channels": (16, 16)})
    other.register_modules(bim=None)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(CheckpointError, match=r"another size: unet\.conv_in\.weight is \[8, 8"):
        run_stage("joint", tmp_path, start=tmp_path / "other")
    (tmp_path / "checkpoints/step-00000004.pt").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match=r"step-00000004\.pt: cannot be read"):
        run_stage("joint", tmp_path)


def test_a_run_is_not_gone_on_with_on_other_data_or_from_another_start(
    run_stage: TinyStages, tmp_path: Path, start: Path, manifest: Path
) -> None:
    run = tmp_path / "run"
    run_stage("joint", run, "training.steps=2")

    other = tmp_path / "start"
    shutil.copytree(start, other)
    run_stage("joint", run, "training.steps=4", start=other)  # the same content at another place
    pipeline = SmartEditPipeline.from_pretrained(other)
    torch.nn.init.zeros_(pipeline.vae.decoder.conv_in.weight)
    pipeline.save_pretrained(other)
    with pytest.raises(CheckpointError, match="what lies at start was"):
        run_stage("joint", run, start=other)
    with pytest.raises(CheckpointError, match="what lies at manifest was"):
        run_stage("joint", run, manifest=write_manifest(tmp_path / "data", edits=11))
    mixture = tmp_path / "mixture.toml"
    shutil.copy(manifest.parent / "mixture.toml", mixture)
    run_stage("joint", tmp_path / "mixed", "training.steps=2", mixture=mixture)
    mixture.write_text("[weights]\nsynthetic = 1\n")
    with pytest.raises(CheckpointError, match="mixture's rows was"):
        run_stage("joint", tmp_path / "mixed", mixture=mixture)
    with pytest.raises(CheckpointError, match=r"model\.mllm\.max_text_tokens was"):
        mllm = replace(run_stage.model.mllm, max_text_tokens=run_stage.model.mllm.max_text_tokens + 1)
        run_stage("joint", run, model=replace(run_stage.model, mllm=mllm))


def test_a_checkpoint_from_before_a_setting_had_a_name_is_taken(run_stage: TinyStages, tmp_path: Path) -> None:
    run_stage("joint", tmp_path, "training.steps=2")
    for path in (tmp_path / "checkpoints").iterdir():
        content = torch.load(path, weights_only=True)
        settings = content["identity"]["settings"]
        del settings["img_tokens_only"], settings["model.mllm.projector"]
        torch.save(content, path)
    with pytest.raises(CheckpointError, match="img_tokens_only was False and is True"):
        run_stage("joint", tmp_path, "training.img_tokens_only=true")
    run_stage("joint", tmp_path, "training.steps=4")


def test_what_a_new_module_has_drawn_stays_with_its_weights(
    run_stage: TinyStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joint, run = run_stage("joint", tmp_path / "joint", "training.steps=1"), tmp_path / "run"

    def directions(steps: int) -> torch.Tensor:
        bim = load_model(run_stage("full", run, f"training.steps={steps}", start=joint)).bim
        assert bim is not None and bim.pe_layer is not None
        return bim.pe_layer.positional_encoding_gaussian_matrix

    drawn = directions(1)
    monkeypatch.setattr("smartedit.training.build.seed_from", lambda *names: 5)
    assert torch.equal(directions(2), drawn)
    for path in (run / "checkpoints").iterdir():
        content = torch.load(path, weights_only=True)
        assert set(content.pop("buffers")) == {"bim.pe_layer.positional_encoding_gaussian_matrix"}
        torch.save(content, path)
    assert not torch.equal(directions(3), drawn)  # of before they were kept


def test_two_trainings_do_not_write_one_run(run_stage: TinyStages, tmp_path: Path) -> None:
    tmp_path.joinpath(".train.lock").touch()
    with tmp_path.joinpath(".train.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another training is writing there"):
            run_stage("joint", tmp_path)
    run_stage("joint", tmp_path, "training.steps=2")


def test_starts_that_do_not_fit_are_refused(run_stage: TinyStages, tmp_path: Path, start: Path, editor: Path) -> None:
    with pytest.raises(StageError, match=r"start .*nowhere: there is no such folder"):
        run_stage("joint", tmp_path, start=tmp_path / "nowhere")
    with pytest.raises(StageError, match="no pipeline to start from"):
        run_stage("joint", tmp_path, start=tmp_path)
    with pytest.raises(StageError, match="starts from a SmartEditPipeline"):
        run_stage("joint", tmp_path, start=editor)
    with pytest.raises(StageError, match="starts from a StableDiffusionInstructPix2PixPipeline"):
        run_stage("baseline", tmp_path, start=start)
    with pytest.raises(StageError, match="--text-encoder"):
        run_stage("align", tmp_path, text_encoder=None)


@pytest.mark.parametrize("name", ["model_index.json", "notes.json"])
def test_a_broken_file_of_the_start_is_named(run_stage: TinyStages, tmp_path: Path, start: Path, name: str) -> None:
    shutil.copytree(start, tmp_path / "start")
    (tmp_path / "start" / name).write_text("")
    with pytest.raises(StageError, match=rf"start/{name}: cannot be read \(Expecting value"):
        run_stage("joint", tmp_path / "run", start=tmp_path / "start")


def test_a_loss_that_is_no_number_names_its_rows(run_stage: TinyStages, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"no number; rows: .*(synthetic|reasonseg|llava)/.*learning rate"):
        run_stage("joint", tmp_path, "training.learning_rate=1e30", "training.warmup_steps=0")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_data_that_moved_are_told_in_plain_words(run_stage: TinyStages, tmp_path: Path, workers: int) -> None:
    manifest = write_manifest(tmp_path / "data")
    for name in ("synthetic", "coco", "ReasonSeg"):
        (tmp_path / "data" / name).rename(tmp_path / name)
    with pytest.raises(DecodingError, match=r"^100 rows in a row cannot be read; the last: "):
        run_stage("joint", tmp_path / "run", f"training.num_workers={workers}", manifest=manifest)


def test_an_unreadable_picture_is_left_out_and_counted(run_stage: TinyStages, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "data")
    broken = sorted((tmp_path / "data/synthetic").glob("before*.png"))[:6]
    for path in broken:
        path.write_bytes(b"no picture")
    run_stage("joint", tmp_path / "run", manifest=manifest)
    count = metrics(tmp_path / "run")[-1]["unreadable"]
    assert 1 < count <= 6
    lines = (tmp_path / "run/unreadable.jsonl").read_text().splitlines()
    assert len(lines) == count
    assert "synthetic/" in lines[0] and "before" in lines[0]
    run_stage("joint", tmp_path / "again", "training.num_workers=2", manifest=manifest)
    assert metrics(tmp_path / "again") == metrics(tmp_path / "run")
    with pytest.raises(UnreadableRowsError, match="max_unreadable allows 1"):
        run_stage("joint", tmp_path / "strict", "training.max_unreadable=1", manifest=manifest)
