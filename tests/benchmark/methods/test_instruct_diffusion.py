"""InstructDiffusion: the converter on a checkpoint with the original names, and the authors' guidance."""

import re
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline as Pipeline
from huggingface_hub import constants
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.methods.convert_instruct_diffusion import convert, read_checkpoint
from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.methods.specs import MethodError, Setting
from benchmark.runs import Run
from reason_edit.schema import Category
from smartedit.editing import EditRequest
from tests.benchmark.methods.original_names import original_checkpoint
from tests.benchmark.tiny_pipeline import write_tiny_pipeline
from tests.reason_edit.folders import draw, write_folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pipeline(tmp_path_factory.mktemp("base"), seed=0)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A checkpoint of other weights than the base's, and the pipeline that it was written from."""
    folder = tmp_path_factory.mktemp("original")
    pipeline = Pipeline.from_pretrained(write_tiny_pipeline(folder / "tiny", seed=1), safety_checker=None)
    weights = original_checkpoint(pipeline)
    positions = torch.arange(77)[None]
    weights["cond_stage_model.transformer.text_model.embeddings.position_ids"] = positions
    torch.save({"state_dict": weights}, folder / "model.ckpt")
    return folder / "model.ckpt", pipeline


def test_every_weight_comes_to_its_place(base: Path, original: tuple[Path, Any], tmp_path: Path) -> None:
    checkpoint, pipeline = original
    made = Pipeline.from_pretrained(convert(checkpoint, tmp_path / "made", str(base)), safety_checker=None)
    for part in ("unet", "vae", "text_encoder"):
        expected, found = getattr(pipeline, part).state_dict(), getattr(made, part).state_dict()
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected), part
    assert made.scheduler.config.timestep_spacing == "linspace"
    assert made.tokenizer("a pear").input_ids == pipeline.tokenizer("a pear").input_ids


def test_from_the_checkpoint_to_a_row_of_the_report(base: Path, original: tuple[Path, Any], tmp_path: Path) -> None:
    folder = convert(original[0], tmp_path / "made", str(base))
    dataset = write_folder(tmp_path / "set", {Category.COLOR: ["001", "002"]})
    words = ["evaluate", "--dataset", dataset, "--run", tmp_path / "run", "--protocol", "strict-v1"]
    words += ["--method", "instruct-diffusion", "--model", folder, "--set", "instruct-diffusion.steps=1"]
    words += ["--set", "instruct-diffusion.side=32"]
    done = CliRunner().invoke(app, [str(w) for w in words])
    assert done.exit_code == 0, done.output
    assert [r.error for r in Run(tmp_path / "run").edits()] == [None, None]
    assert "instruct-diffusion" in (tmp_path / "run" / "report.md").read_text()


def test_the_guidance_is_the_authors(base: Path) -> None:
    """One step of the editor equals the formula of the authors' sampler, worked out from three calls of the UNet."""
    options = ["steps=1", "side=32", "resolution=square", "guidance_scale=4.0", "image_guidance_scale=1.3"]
    (method,) = resolve_methods(
        MethodWords(
            methods=["instruct-diffusion"], models=[str(base)], sets=[f"instruct-diffusion.{o}" for o in options]
        )
    )
    editor: Any = method.build(Setting(device="cpu"))
    pipeline = editor._pipeline
    seen: dict[str, Any] = {}
    step, forward = pipeline.scheduler.step, pipeline.unet.forward

    def watched_step(noise: Any, *arguments: Any, **keywords: Any) -> Any:
        seen["combined"] = noise
        return step(noise, *arguments, **keywords)

    def watched_forward(sample: Any, timestep: Any, **keywords: Any) -> Any:
        seen.update(sample=sample, timestep=timestep, text=keywords["encoder_hidden_states"])
        return forward(sample, timestep, **keywords)

    pipeline.scheduler.step, pipeline.unet.forward = watched_step, watched_forward
    editor.edit([EditRequest(image=draw(1, (32, 32)), instruction="replace the pear", seed=3)])
    latents, picture = seen["sample"][:1, :4], seen["sample"][:1, 4:]
    text, nothing = seen["text"][:1], seen["text"][1:2]
    assert picture.abs().max() > 0 and not torch.equal(text, nothing)

    def call(words: Any, image: Any) -> Any:
        with torch.no_grad():
            return forward(torch.cat([latents, image], 1), seen["timestep"], encoder_hidden_states=words).sample

    both, image_only = call(text, picture), call(nothing, picture)
    text_only = call(text, torch.zeros_like(picture))
    wanted = 0.5 * (image_only + text_only) + 4.0 * (both - image_only) + 1.3 * (both - text_only)
    np.testing.assert_allclose(seen["combined"].numpy(), wanted.numpy(), atol=2e-5)


def test_checkpoints_of_something_else_are_named(base: Path, original: tuple[Path, Any], tmp_path: Path) -> None:
    weights = torch.load(original[0], weights_only=True)["state_dict"]
    first = "model.diffusion_model.input_blocks.0.0.weight"
    shortened = {k: v for k, v in weights.items() if not k.startswith("first_stage_model.decoder.mid")}
    cases: dict[str, tuple[Any, str]] = {
        "training": ({"model_ema": {}}, "a training state"),
        "other": ({"a": torch.zeros(1)}, "no Stable Diffusion checkpoint"),
        "four": ({**weights, first: weights[first][:, :4]}, "its UNet takes 4 channels"),
        "short": (shortened, "autoencoder is not of the base folder's kind"),
    }
    for name, (content, message) in cases.items():
        torch.save(content, tmp_path / f"{name}.ckpt")
        with pytest.raises((MethodError, KeyError), match=re.escape(message)):
            convert(tmp_path / f"{name}.ckpt", tmp_path / name, str(base))
        assert not (tmp_path / name).exists()
    (tmp_path / "broken.ckpt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(MethodError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "broken.ckpt")
    with pytest.raises(MethodError, match="exists already"):
        convert(original[0], tmp_path, str(base))


def test_a_base_that_lacks_a_part_is_named_and_no_host_asked(
    base: Path, original: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The libraries would take `base/tokenizer` for a name on the hub, where there is no such folder."""
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: asked.append(arguments) or [])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    for part, file in (("tokenizer", "tokenizer_config.json"), ("text_encoder", "config.json")):
        shutil.copytree(base, tmp_path / "base", ignore=shutil.ignore_patterns(part))
        with pytest.raises(MethodError, match=f"--base base: .* there is no {part}/{file}"):
            convert(original[0], tmp_path / "made", "base")
        shutil.rmtree(tmp_path / "base")
    assert asked == [] and not (tmp_path / "made").exists()
