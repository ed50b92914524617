"""Stages train what they should, on rows that follow from seeds, and end as pipelines."""

import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler
from PIL import Image

from smartedit.config.model import Interaction, load_model_config
from smartedit.config.training import StageName
from smartedit.data.decoding import DecodingRules
from smartedit.data.examples import Task
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.checkpoints import CheckpointError, load_model
from smartedit.model.prompts import PromptError
from smartedit.training.build import build_trainee
from smartedit.training.stages import STAGES, StageError
from smartedit.training.validation import Validation
from tests.smartedit.training.conftest import MODEL, metrics
from tests.smartedit.training.tiny_stages import TinyStages, settings
from tests.tiny import TINY

LOSSES = Path(__file__).parent / "losses.json"
"""Losses of the first 20 steps of each stage; a change of the code must not move them."""


@pytest.mark.parametrize("stage", ["align", "joint", "full", "baseline"])
def test_losses_are_those_of_before(run_stage: TinyStages, tmp_path: Path, stage: str) -> None:
    run_stage(stage, tmp_path, "training.steps=20", "training.checkpoint_every=100")
    lines = metrics(tmp_path)
    found = {name: [line[name] for line in lines] for name in ("loss", "gradient_norm")}
    expected = json.loads(LOSSES.read_text())[stage]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-2)
    assert sum(found["loss"][-5:]) < sum(found["loss"][:5])
    every = {loss for kind in STAGES.values() for loss in kind.losses}
    assert all(every & line.keys() == set(STAGES[StageName(stage)].losses) for line in lines)
    assert [sum(line[part] for part in every & line.keys()) for line in lines] == pytest.approx(found["loss"])
    rates = [0.0, 0.5, *((1 + math.cos(math.pi * k / 18)) / 2 for k in range(18))]  # The cosine that the authors lack.
    assert [line["learning_rate"] for line in lines] == pytest.approx([2e-3 * rate for rate in rates])


def changed(before: Path, after: Path) -> dict[str, torch.Tensor]:
    """By how much each parameter differs."""
    old, new = load_model(before).state_dict(), load_model(after).state_dict()
    return {
        name: (new[name] - old[name]).abs() for name in new if name in old and not torch.equal(new[name], old[name])
    }


def groups(names: Any) -> set[str]:
    rows = {"embed_tokens.weight": "embed_tokens", "lm_head.weight": "lm_head"}
    parts = set()
    for name in names:
        row = next((group for end, group in rows.items() if name.endswith(end)), None)
        parts.add(row or ("lora" if "lora_" in name else name.partition(".")[0]))
    return parts


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("align", {"embed_tokens", "lm_head", "qformer", "empty_text"}),
        ("joint", {"embed_tokens", "lm_head", "lora", "qformer", "unet"}),
        ("full", {"embed_tokens", "lm_head", "lora", "qformer", "unet", "bim"}),
    ],
)
def test_a_stage_changes_its_parts_and_the_added_rows_only(
    run_stage: TinyStages, start: Path, tmp_path: Path, stage: str, expected: set[str]
) -> None:
    model = run_stage(stage, tmp_path, "training.weight_decay=0.1")
    differences = changed(start, model)
    assert groups(differences) == expected
    pipeline = SmartEditPipeline.from_pretrained(model)
    first = pipeline.layout.system_image
    for name, difference in differences.items():
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            assert difference[:first].max() == 0
            assert (difference[first:].amax(dim=1) > 0).all() or name.endswith("embed_tokens.weight")
    assert (pipeline.bim is None) == (stage == "joint")


def test_the_result_edits(run_stage: TinyStages, tmp_path: Path) -> None:
    pipeline = SmartEditPipeline.from_pretrained(run_stage("full", tmp_path, "training.steps=2"))
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(Image.new("RGB", (40, 40)), "make it red").images[0].size == (40, 40)


def test_full_goes_on_from_joint_and_makes_the_module_anew(run_stage: TinyStages, tmp_path: Path) -> None:
    joint = run_stage("joint", tmp_path / "joint", "training.steps=2")
    assert SmartEditPipeline.from_pretrained(run_stage("full", tmp_path / "full", start=joint)).bim is not None


def test_cached_encoders_give_the_same_losses(run_stage: TinyStages, tmp_path: Path, manifest: Path) -> None:
    for name in ("off", "on", "again"):
        run_stage("full", tmp_path / name, f"training.cache={'false' if name == 'off' else 'true'}")
    assert metrics(tmp_path / "again") == metrics(tmp_path / "on")
    for cached, computed in zip(metrics(tmp_path / "on"), metrics(tmp_path / "off"), strict=True):
        assert cached == pytest.approx(computed, rel=1e-4)


def test_a_cache_may_have_no_limit(run_stage: TinyStages, tmp_path: Path) -> None:
    run_stage("joint", tmp_path, "training.cache_gib=inf", "training.steps=1")
    assert len(metrics(tmp_path)) == 1


def test_with_a_full_cache_the_vision_tower_rests(
    run_stage: TinyStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage("joint", tmp_path / "first")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an encoder ran")

    encoded, encode = [], AutoencoderKL.encode

    def counted(vae: Any, pixels: torch.Tensor) -> Any:
        encoded.append(pixels)
        return encode(vae, pixels)

    monkeypatch.setattr("smartedit.model.mllm.ImageTextMllm.look", refuse)
    monkeypatch.setattr(AutoencoderKL, "encode", counted)
    run_stage("joint", tmp_path / "second")
    assert metrics(tmp_path / "second") == metrics(tmp_path / "first")
    painted = [pixels for pixels in encoded if (pixels.std(dim=(2, 3)) > 0).any()]
    assert 0 < len(painted) == len(encoded) < 6 * 4  # Targets that are painted at each visit, and no other picture.


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(run_stage: TinyStages, tmp_path: Path, workers: int) -> None:
    run_stage("joint", tmp_path / "workers", f"training.num_workers={workers}")
    run_stage("joint", tmp_path / "thread", "training.num_workers=0")
    assert metrics(tmp_path / "workers") == metrics(tmp_path / "thread")


def test_accumulated_passes_are_one_batch(run_stage: TinyStages, tmp_path: Path) -> None:
    run_stage("joint", tmp_path / "one")
    run_stage("joint", tmp_path / "two", "training.batch_size=2", "training.gradient_accumulation=2")
    for one, two in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, rel=1e-3)


def test_velocity_is_predicted_where_the_schedule_says_so(run_stage: TinyStages, tmp_path: Path, start: Path) -> None:
    velocity = load_model_config(TINY, [*MODEL, "model.scheduler.prediction_type=v_prediction"])
    with pytest.raises(StageError, match="v_prediction"):
        run_stage("joint", tmp_path / "mixed", model=velocity)
    pipeline = SmartEditPipeline.from_pretrained(start)
    settings = {**pipeline.scheduler.config, "prediction_type": "v_prediction"}
    pipeline.register_modules(scheduler=EulerAncestralDiscreteScheduler.from_config(settings))
    pipeline.save_pretrained(tmp_path / "start")
    run_stage("joint", tmp_path / "velocity", model=velocity, start=tmp_path / "start")
    run_stage("joint", tmp_path / "noise")
    assert metrics(tmp_path / "velocity")[0]["diffusion"] != metrics(tmp_path / "noise")[0]["diffusion"]


def test_a_schedule_that_ends_in_noise_alone(
    run_stage: TinyStages, tmp_path: Path, start: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ["model.scheduler.prediction_type=v_prediction", "model.scheduler.rescale_betas_zero_snr=true"]
    model = load_model_config(TINY, [*MODEL, *settings])
    pipeline = SmartEditPipeline.from_pretrained(start)
    velocity = {**pipeline.scheduler.config, "prediction_type": "v_prediction"}
    for name, zero in (("leak", False), ("start", True)):
        config = {**velocity, "rescale_betas_zero_snr": zero}
        pipeline.register_modules(scheduler=EulerAncestralDiscreteScheduler.from_config(config))
        pipeline.save_pretrained(tmp_path / name)
    with pytest.raises(StageError, match="rescale_betas_zero_snr False"):
        run_stage("joint", tmp_path / "mixed", model=model, start=(leak := tmp_path / "leak"))
    last = "training.last_timestep_share=1"
    made = run_stage("joint", tmp_path / "last", last, model=model, start=tmp_path / "start")
    trained = SmartEditPipeline.from_pretrained(made)
    assert trained.scheduler.config.rescale_betas_zero_snr is True
    # Editing refuses latents that are not finite.
    assert trained(Image.new("RGB", (64, 64), "red"), "make it blue").images[0].size == (64, 64)
    run_stage("joint", tmp_path / "any", model=model, start=tmp_path / "start")
    assert metrics(tmp_path / "last")[0]["diffusion"] != metrics(tmp_path / "any")[0]["diffusion"]
    assert "amplitude" not in caplog.text
    run_stage("joint", tmp_path / "leaks", last, model=load_model_config(TINY, [*MODEL, settings[0]]), start=leak)
    assert "6.8 % of the finished picture's amplitude is left" in caplog.text


def test_errors_where_pictures_differ_can_count_more(
    run_stage: TinyStages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tiny autoencoder is not trained: its latents differ by what is drawn from them.
    monkeypatch.setattr("smartedit.training.losses.CHANGED", 0.15)
    for stage in ("full", "baseline"):
        run_stage(stage, tmp_path / stage / "alike", "training.steps=1")
        run_stage(stage, tmp_path / stage / "more", "training.steps=1", "training.change_weight=4")
        alike, more = (metrics(tmp_path / stage / name)[0]["diffusion"] for name in ("alike", "more"))
        assert more != alike
        assert more == pytest.approx(alike, rel=0.5)


def test_the_average_is_what_is_saved(run_stage: TinyStages, tmp_path: Path, start: Path) -> None:
    still = run_stage("joint", tmp_path / "still", "training.ema_decay=0.999999")
    moved = run_stage("joint", tmp_path / "moved")
    name = "unet.conv_in.weight"
    assert changed(start, still)[name].mean() < 0.97 * changed(start, moved)[name].mean()


def test_half_precision_and_checkpointing_change_little(run_stage: TinyStages, tmp_path: Path) -> None:
    half = ("training.mixed_precision=bfloat16", "training.gradient_checkpointing=true")
    for stage in ("full", "baseline"):
        run_stage(stage, tmp_path / stage / "half", *half, "training.steps=2")
        run_stage(stage, tmp_path / stage / "whole", "training.steps=2")
        for rounded, exact in zip(metrics(tmp_path / stage / "half"), metrics(tmp_path / stage / "whole"), strict=True):
            assert rounded["loss"] != exact["loss"]
            assert rounded["loss"] == pytest.approx(exact["loss"], rel=2e-2)


def test_an_edit_that_cannot_be_shown_leaves_its_place_white(tmp_path: Path, manifest: Path) -> None:
    class Rows:
        rules = DecodingRules(side=32)

        def __getitem__(self, position: int) -> tuple[Any, Any]:
            picture = np.zeros((32, 32, 3), np.uint8)
            return SimpleNamespace(task=Task.EDIT), SimpleNamespace(
                instruction="too long" if position % 2 else "make it red", source=picture, target=picture
            )

    def edit(image: Image.Image, instruction: str, seed: int) -> Image.Image:
        if instruction == "too long":
            raise PromptError("9 tokens too many")
        return image

    Validation(rows=Rows(), edit=edit, count=2, folder=tmp_path)(1)  # type: ignore[arg-type]
    with Image.open(tmp_path / "step-00000001.png") as grid:
        made = np.asarray(grid)[:, 32:64]
    assert made[14:46].max() == 0 and made[60:92].min() == 255


def test_edits_are_shown_and_change_nothing(run_stage: TinyStages, tmp_path: Path) -> None:
    shown = ("training.validate_every=1", "training.validation_samples=2", "training.steps=2")
    for stage in ("full", "baseline"):
        run_stage(stage, tmp_path / stage, *shown)
        run_stage(stage, tmp_path / stage / "silent", "training.steps=2")
        assert metrics(tmp_path / stage) == metrics(tmp_path / stage / "silent")
        grids = sorted((tmp_path / stage / "samples").iterdir())
        assert [path.name for path in grids] == ["step-00000001.png", "step-00000002.png"]
        with Image.open(grids[0]) as grid:
            assert grid.size[0] == 3 * 32 and grid.size[1] > 2 * 32


def test_edits_that_are_shown_share_nothing_with_the_rows_that_a_thread_reads(run_stage: TinyStages) -> None:
    """Open files and tokenizers are one thread's: a tokenizer that pads otherwise in between gives ragged rows."""
    for stage, place in (("full", run_stage.start), ("baseline", run_stage.editor)):
        built = build_trainee(
            StageName(stage),
            start=place,
            manifest=run_stage.manifest,
            model=run_stage.model,
            training=replace(settings(stage), mixture=str(run_stage.manifest.parent / "mixture.toml")),
            text_encoder=None,
        )
        rows = built.trainee.rows
        assert built.shown is not None and built.shown[0] is not rows.decoded
        assert all(a is not b for a, b in zip(built.shown[0]._open(), rows.decoded._open(), strict=True))
        assert rows.tokenizer is not built.trainee.pipeline.tokenizer
        assert rows.tokenizer("edit it").input_ids == built.trainee.pipeline.tokenizer("edit it").input_ids


def test_a_start_with_another_interaction_module_is_refused(run_stage: TinyStages, tmp_path: Path) -> None:
    full = run_stage("full", tmp_path / "full", "training.steps=1")
    depth = run_stage.model.bim.depth
    for changes, message in (
        ({"depth": depth + 1}, f"depth is {depth}, and asked for is {depth + 1}"),
        ({"interaction": Interaction.PLAIN}, "there is one, and model.bim.interaction is plain"),
    ):
        model = replace(run_stage.model, bim=replace(run_stage.model.bim, **changes))
        with pytest.raises(StageError, match=f"interaction module differs from model.bim: {message}; start from"):
            run_stage("full", tmp_path / "other", "training.steps=1", start=full, model=model)
        run_stage("joint", tmp_path / f"joint-{len(message)}", "training.steps=1", start=full, model=model)


def test_align_finds_the_text_encoder_of_the_settings(
    run_stage: TinyStages, tmp_path: Path, text_encoder: Path
) -> None:
    text = replace(run_stage.model.text, checkpoint=str(text_encoder))
    model, once = replace(run_stage.model, text=text), "training.steps=1"
    run_stage("align", tmp_path / "run", once, model=model, text_encoder=None)
    named = run_stage("align", tmp_path / "named", once)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "named") and named.is_dir()
    with pytest.raises(StageError, match=r"--text-encoder: stage align learns .* or set model.text.checkpoint"):
        run_stage("align", tmp_path / "none", once, text_encoder=None, start=tmp_path / "nothing")
    with pytest.raises(StageError, match=r"--text-encoder .*: only stage align learns one"):
        run_stage("joint", tmp_path / "joint", once, text_encoder=text_encoder)


def test_a_mixture_counts_by_its_content_and_not_by_its_name(run_stage: TinyStages, tmp_path: Path) -> None:
    run_stage("full", tmp_path / "run", "training.steps=1")
    copied = tmp_path / "mixture.toml"
    copied.write_text((run_stage.manifest.parent / "mixture.toml").read_text())
    run_stage("full", tmp_path / "run", "training.steps=2", mixture=copied)
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2]
    copied.write_text("seed = 5\n" + copied.read_text())
    with pytest.raises(CheckpointError, match="mixture's rows was"):
        run_stage("full", tmp_path / "run", "training.steps=3", mixture=copied)


def test_adapters_that_the_start_has_stay_and_that_is_told(
    run_stage: TinyStages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    joint = run_stage("joint", tmp_path / "joint", "training.steps=1")
    lora = run_stage.model.mllm.lora
    assert lora is not None
    mllm = replace(run_stage.model.mllm, lora=replace(lora, dropout=0.5))
    caplog.clear()
    run_stage("full", tmp_path / "same", "training.steps=1", start=joint)
    assert "has LoRA already" not in caplog.text
    run_stage("full", tmp_path / "other", "training.steps=1", start=joint, model=replace(run_stage.model, mllm=mllm))
    assert "has LoRA already, and it stays as it is: dropout 0.0, not 0.5 (model.mllm.lora)" in caplog.text


def test_settings_of_the_start_stay_and_that_is_told(
    run_stage: TinyStages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    once, model = "training.steps=1", run_stage.model
    run_stage("joint", tmp_path / "same", once)
    assert "settings of its own" not in caplog.text
    model = replace(
        model,
        sampling=replace(model.sampling, image_size=128),
        mllm=replace(model.mllm, max_text_tokens=64),
        qformer=replace(model.qformer, dropout=0.3),
    )
    run_stage("joint", tmp_path / "other", once, model=model)
    assert (
        "stay as they are: model.qformer.dropout 0.0, not 0.3, model.sampling.image_size 32, not 128, "
        f"model.mllm.max_text_tokens {run_stage.model.mllm.max_text_tokens}, not 64"
    ) in caplog.text


def test_align_refuses_a_mixture(run_stage: TinyStages, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="--mixture miniature: stage align draws all captions alike"):
        run_stage("align", tmp_path / "run", mixture="miniature", start=tmp_path / "nothing")


def test_a_model_asks_in_the_words_that_it_was_trained_with(
    run_stage: TinyStages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = tmp_path / "words.toml"
    words.write_text('system = "Draw <img>."\n[[phrasings]]\nrequest = "Do [cap]."\nanswer = "Done [img]."\n')
    model = replace(run_stage.model, prompts=str(words))
    joint = run_stage("joint", tmp_path / "joint", "training.steps=1", model=model)
    told = "the start asks in other words"
    assert told in caplog.text and "model.prompts" in caplog.text
    asks = json.loads((joint / "model_index.json").read_text())
    assert [asks[name] for name in ("system", "request", "answer")] == ["Draw <img>.", "Do [cap].", "Done [img]."]
    caplog.clear()
    run_stage("full", tmp_path / "full", "training.steps=1", start=joint, model=model)
    run_stage("joint", tmp_path / "ours", "training.steps=1")
    assert told not in caplog.text
    copied = words.rename(tmp_path / "copied.toml")
    model = replace(model, prompts=str(copied))
    run_stage("joint", tmp_path / "joint", "training.steps=2", model=model)
    copied.write_text(copied.read_text().replace("Done", "Here"))
    with pytest.raises(CheckpointError, match="prompts' words was"):
        run_stage("joint", tmp_path / "joint", "training.steps=3", model=model)
