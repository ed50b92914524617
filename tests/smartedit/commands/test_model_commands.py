"""The commands round a model, as a user runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from reason_edit.files import file_sha256
from smartedit.commands import model as commands
from tests.smartedit.released.conftest import Small, small, small_config, tokenizer_folder  # noqa: F401

app = typer.Typer()
app.command("edit")(commands.edit)
app.command("convert")(commands.convert)
app.command("doctor")(commands.doctor)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A drawn picture that a camera held upright: 90 x 60 in the file, 60 x 90 to the eye."""
    pixels = np.zeros((60, 90, 3), dtype=np.uint8)
    pixels[:, :, 0] = np.linspace(0, 255, 90)
    pixels[20:40, 30:60] = (0, 200, 50)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "picture.jpg", exif=exif, quality=95)
    return tmp_path / "picture.jpg"


def test_edit_writes_what_it_did(small: Small, picture: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ["edit", picture, "paint the square red", "--model", small.converted.folder, "--steps", 2]
    result = run(*words, "-o", tmp_path / "a.png", "--compare", "--show-answer")
    assert result.exit_code == 0, result.output
    assert "answer: " in result.output
    assert "[IMG] tokens the model would say" in result.output
    with Image.open(tmp_path / "a.png") as edited:
        assert edited.size == (60, 90), "turned as EXIF says, and back at the source's size"
        assert 0x0112 not in edited.getexif()
        description = json.loads(edited.getexif()[0x010E])
    assert description["instruction"] == "paint the square red"
    assert (description["seed"], description["num_inference_steps"], description["composited"]) == (0, 2, False)
    with Image.open(tmp_path / "a-compare.png") as sheet:
        assert sheet.width > 120
        assert sheet.height > 90
        assert np.abs(np.asarray(sheet)[:90, :60].astype(int) - _upright(picture)).max() == 0


def _upright(path: Path) -> np.ndarray:
    from PIL import ImageOps

    with Image.open(path) as opened:
        return np.asarray(ImageOps.exif_transpose(opened)).astype(int)


def test_edit_follows_its_seed(small: Small, picture: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ["edit", picture, "paint the square red", "--model", small.converted.folder, "--steps", 2]
    hashes = []
    for name, seed in [("a.png", 1), ("b.png", 1), ("c.png", 2)]:
        assert run(*words, "-o", tmp_path / name, "--seed", seed).exit_code == 0
        with Image.open(tmp_path / name) as edited:
            hashes.append(edited.tobytes())
    assert hashes[0] == hashes[1] != hashes[2]


def test_compositing_is_said(small: Small, picture: Path, tmp_path: Path) -> None:  # noqa: F811
    words = ["edit", picture, "x", "--model", small.converted.folder, "--steps", 1, "--keep-unedited"]
    result = run(*words, "-o", tmp_path / "a.webp")
    assert "composited" in result.output
    with Image.open(tmp_path / "a.webp") as edited:
        assert json.loads(edited.getexif()[0x010E])["composited"] is True


def test_bad_input_is_one_plain_message(small: Small, picture: Path, tmp_path: Path) -> None:  # noqa: F811
    broken, text, thin, dot = (tmp_path / name for name in ("broken.jpg", "text.png", "thin.png", "dot.png"))
    broken.write_bytes(picture.read_bytes()[:400])
    text.write_text("no picture")
    Image.new("RGB", (400, 20)).save(thin)
    Image.new("RGB", (1, 1)).save(dot)
    done = tmp_path / "done.png"
    done.write_text("mine")
    model, out = ["--model", small.converted.folder, "--steps", 1], tmp_path / "out.png"
    for words, expected in [
        (["edit", tmp_path / "none.png", "x", "-o", out, *model], "there is no such file"),
        (["edit", broken, "x", "-o", out, *model], "cannot be read as a picture"),
        (["edit", text, "x", "-o", out, *model], "is no picture"),
        (["edit", thin, "x", "-o", out, *model], "longer than 8 times its short side"),
        (["edit", dot, "x", "-o", out, *model], "1 x 1 pixels"),
        (["edit", picture, "  ", "-o", out, *model], "instruction is empty"),
        (["edit", picture, "word " * 300, "-o", out, *model], "tokens too long"),
        (["edit", picture, "x", "-o", tmp_path / "out.xyz", *model], ".png, .jpg"),
        (["edit", picture, "x", "-o", picture, *model], "this is the picture itself"),
        (["edit", picture, "x", "-o", done, *model], "--overwrite replaces it"),
        (["edit", picture, "x", "-o", out, "--model", tmp_path / "nowhere"], "no such folder"),
        (["edit", picture, "x", "-o", out, "--model", tmp_path], "no model_index.json"),
        (["edit", picture, "x", "-o", out, "--model", small.folders.released], "`smartedit convert` first"),
        (["edit", picture, "x", "-o", out, "--model", "smartedit-7b"], "this preset names no checkpoints"),
        (["edit", picture, "x", "-o", out, *model, "--precision", "2-bit"], "float32, bfloat16"),
        (["edit", picture, "x", "-o", out, *model, "--device", "foo"], "--device foo: not usable here"),
        (["edit", tmp_path, "x", "-o", out, *model], "is a folder, and a file is wanted"),
        (["doctor", small.converted.folder, "--device", "foo"], "--device foo: not usable here"),
    ]:
        result = run(*words)
        assert result.exit_code == 1, (words, result.output)
        assert expected in result.output.replace("\n", " "), (words, result.output)
        assert result.output.startswith("error: ")
        assert "Traceback" not in result.output
    assert done.read_text() == "mine"
    assert not out.exists()


def write_sizes(path: Path) -> Path:
    """The small configuration's sizes that `convert` cannot read off the ingredients."""
    config = small_config()
    qformer, bim = config.qformer, config.bim
    path.write_text(
        f"[model.mllm]\nnum_img_tokens = {config.mllm.num_img_tokens}\n"
        f"max_text_tokens = {config.mllm.max_text_tokens}\n"
        f"[model.qformer]\nnum_queries = {qformer.num_queries}\nhidden_size = {qformer.hidden_size}\n"
        f"intermediate_size = {qformer.intermediate_size}\nnum_layers = {qformer.num_layers}\n"
        f"num_heads = {qformer.num_heads}\n"
        f"[model.bim]\nhidden_size = {bim.hidden_size}\nmlp_size = {bim.mlp_size}\nnum_heads = {bim.num_heads}\n"
        f"[model.sampling]\nimage_size = {config.sampling.image_size}\n"
    )
    return path


def convert_words(small: Small, out: Path, sizes: Path) -> list[object]:  # noqa: F811
    folders = small.folders
    return [
        *("convert", "--released", folders.released, "--vicuna", folders.vicuna, "--llava", folders.llava),
        *("--instruct-diffusion", folders.instruct_diffusion, "--clip", folders.clip, "--out", out, "--sizes", sizes),
    ]


def test_convert_then_doctor_then_edit(small: Small, picture: Path, tmp_path: Path) -> None:  # noqa: F811
    prompts = tmp_path / "prompts.toml"
    prompts.write_text('system = "Be <img>."\n[[phrasings]]\nrequest = "Do [cap]."\nanswer = "Done [img]."\n')
    words = convert_words(small, tmp_path / "model", write_sizes(tmp_path / "sizes.toml"))
    result = run(*words, "--prompts", prompts)
    assert result.exit_code == 0, result.output
    assert "no adapter_config.json" in result.output
    assert "our words" not in result.output
    assert json.loads((tmp_path / "model" / "model_index.json").read_text())["request"] == "Do [cap]."
    result = run("doctor", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert "nothing wrong" in result.output
    result = run("edit", picture, "x", "--model", tmp_path / "model", "--steps", 1, "-o", tmp_path / "a.png")
    assert result.exit_code == 0, result.output

    (tmp_path / "model" / "unet" / "config.json").unlink()
    result = run("doctor", tmp_path / "model", "--no-hashes", "--no-run")
    assert result.exit_code == 1
    assert "config.json: missing" in result.output
    result = run(*convert_words(replace_llava(small, tmp_path), tmp_path / "other", tmp_path / "sizes.toml"))
    assert result.exit_code == 1
    assert result.output.startswith("error: --llava")
    result = run(*words, "--stage1", tmp_path / "file.bin")
    assert result.exit_code == 1
    assert "--released, or their first stage's file as --stage1" in result.output


def replace_llava(small: Small, tmp_path: Path) -> Small:  # noqa: F811
    (tmp_path / "empty").mkdir()
    import torch

    torch.save({"x": torch.ones(1)}, tmp_path / "empty" / "pytorch_model.bin")
    return replace(small, folders=replace(small.folders, llava=tmp_path / "empty"))


def test_convert_survives_kill_9(small: Small, tmp_path: Path) -> None:  # noqa: F811
    """Killed in the middle of writing; the same command ends with the bytes of an undisturbed one."""
    sizes = write_sizes(tmp_path / "sizes.toml")
    program = "from tests.smartedit.commands.test_model_commands import app; app()"

    def start(out: Path) -> subprocess.Popen[bytes]:
        words = [str(word) for word in convert_words(small, out, sizes)]
        return subprocess.Popen(
            [sys.executable, "-c", program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed)
    while process.poll() is None and not list(killed.glob("mllm/*.safetensors")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "model_index.json").exists()
    assert run(*convert_words(small, killed, sizes)).exit_code == 0
    assert run(*convert_words(small, whole, sizes)).exit_code == 0
    names = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(killed) for p in killed.rglob("*") if p.is_file())
    assert [file_sha256(whole / n) for n in names] == [file_sha256(killed / n) for n in names]
