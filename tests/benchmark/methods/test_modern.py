"""Today's editors with their real classes, from small random parts through `evaluate` to rows of a report."""

import ast
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.methods.editing_pipeline import EditingPipeline
from benchmark.methods.modern import DiffusersEditor
from benchmark.methods.modern_loading import LoadOptions, load_pipeline
from benchmark.methods.modern_table import EDITING_PIPELINES
from benchmark.methods.not_editors import NOT_EDITORS
from benchmark.methods.registry import METHODS, MethodWords, resolve_methods
from benchmark.methods.specs import MethodError, Setting
from benchmark.runs import Run
from reason_edit.schema import Category
from smartedit.editing import EditRequest
from tests.benchmark.methods.tiny_editors import BUILDERS, write_tiny_editor
from tests.reason_edit.folders import draw, write_folder

ROWS = {row.name: row for row in EDITING_PIPELINES}
LARGE = {name for name in BUILDERS if not ROWS[name].takes_side}
"""Methods whose class works at about a million pixels whatever it is given; one picture of them has to do."""


DECIDED = (
    "flux-kontext", "flux2", "flux2-klein", "omnigen", "bria-fibo-edit", "chronoedit", "glm-image", "qwen-image-2.1",
    "z-image-omni",
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    folders: dict[str, Path] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Every method evaluated: the small ones on two pictures of different shapes, the large ones on one."""
    place = tmp_path_factory.mktemp("modern")
    made = Bench(folders={name: write_tiny_editor(name, place / "models") for name in BUILDERS})
    for names, stems in ((set(BUILDERS) - LARGE, ["001", "002"]), (LARGE, ["001"])):
        dataset = write_folder(place / f"set-{len(stems)}", {Category.COLOR: stems})
        run = Run(place / f"run-{len(stems)}")
        methods = [w for n in sorted(names) for w in method_words(n, made.folders[n])]
        words = [*methods, "--dataset", dataset, "--run", run.folder, "--protocol", "strict-v1", "--batch-size", "2"]
        done = CliRunner().invoke(app, ["evaluate", *map(str, words)], env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        made.runs.update(dict.fromkeys(names, run))
        made.output.update(dict.fromkeys(names, done.output))
    return made


def method_words(name: str, folder: Path) -> list[str]:
    words = ["--method", name, "--model", f"{name}={folder}", "--set", f"{name}.steps=1"]
    return words if name in LARGE else [*words, "--set", f"{name}.side=96"]


def editor(name: str, folder: Path, *settings: str, device: str = "cpu") -> Any:
    sets = [f"{name}.steps=1", *(f"{name}.{s}" for s in settings)]
    (method,) = resolve_methods(MethodWords(methods=[name], models=[str(folder)], sets=sets))
    return method.build(Setting(device=device))


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_from_parts_to_a_row_of_the_report(bench: Bench, name: str) -> None:
    run = bench.runs[name]
    records = [r for r in run.edits() if r.method == name]
    assert [r.error for r in records] == [None] * len(records) and records
    psnr = [s.value for s in run.scores() if s.method == name and s.metric == "background_psnr"]
    assert np.isfinite(psnr).all() and len(psnr) == len(records)
    assert name in (run.folder / "report.md").read_text()
    settings = run.settings()["methods"][name]
    assert settings["options"]["steps"] == 1 and settings["weights_sha256"]
    row = ROWS[name]
    if row.guidance is not None:
        assert settings["options"]["guidance_scale"] == row.guidance


@pytest.mark.parametrize("name", ["flux-kontext", "sdxl-instruct-pix2pix", "cosxl-edit", "omnigen"])
def test_a_batch_changes_no_picture(bench: Bench, name: str) -> None:
    """Also one with pictures of two shapes and instructions of two lengths."""
    made = editor(name, bench.folders[name], "side=64")
    requests = [
        EditRequest(image=draw(1), instruction="x", seed=1),
        EditRequest(image=draw(2, (40, 40)), instruction="replace the pear", seed=2),
        EditRequest(image=draw(3), instruction="make the leftmost of the three red", seed=3),
    ]
    together = [np.asarray(r.image).astype(int) for r in made.edit(requests)]
    alone = [np.asarray(made.edit([r])[0].image).astype(int) for r in requests]
    assert [t.shape for t in together] == [a.shape for a in alone] and together[0].shape != together[1].shape
    assert max(abs(t - a).max() for t, a in zip(together, alone, strict=True)) <= 2


@pytest.mark.parametrize("name", DECIDED)
def test_seed_instruction_and_picture_decide_the_edit(bench: Bench, name: str) -> None:
    """Random parts too see all three; a picture that never reached the network would not show otherwise."""
    made = editor(name, bench.folders[name], "side=96")

    def edit(seed: int = 1, instruction: str = "replace the pear", picture: int = 1) -> np.ndarray:
        image = draw(picture, (96, 96))
        return np.asarray(made.edit([EditRequest(image=image, instruction=instruction, seed=seed)])[0].image)

    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = edit()
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(6)
    assert np.array_equal(first, edit())
    assert not np.array_equal(first, edit(seed=2))
    assert not np.array_equal(first, edit(instruction="remove all"))
    assert not np.array_equal(first, edit(picture=2))


def test_sizes_keep_the_aspect_within_the_trained_area(bench: Bench) -> None:
    made: DiffusersEditor = editor("flux-kontext", bench.folders["flux-kontext"], "side=1024")
    for size in ((601, 401), (1000, 1000), (2000, 1500), (333, 1000)):
        width, height = made._size(Image.new("RGB", size)) or (0, 0)
        assert width % 16 == height % 16 == 0 and 0.93 * 1024**2 < width * height <= 1024**2
        assert abs(np.log(width / height * size[1] / size[0])) < 0.04


def test_storage_and_tiling_options_work_on_the_cpu(bench: Bench) -> None:
    folder = bench.folders["flux-kontext"]
    request = EditRequest(image=draw(1), instruction="replace the pear", seed=1)
    plain = np.asarray(editor("flux-kontext", folder, "side=64").edit([request])[0].image).astype(int)
    small = editor("flux-kontext", folder, "side=64", "quantization=float8", "vae_tiling=true")
    weights = {str(p.dtype) for p in small._pipeline.transformer.parameters()}
    assert "torch.float8_e4m3fn" in weights and small._pipeline.vae.use_tiling
    coarse = np.asarray(small.edit([request])[0].image).astype(int)
    assert coarse.shape == plain.shape and 0 < abs(coarse - plain).mean() < 40
    half = editor("flux-kontext", folder, "side=64", "dtype=bfloat16")
    assert str(half._pipeline.transformer.dtype) == "torch.bfloat16" and half.edit([request])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("flux-kontext", ["offload=model"], "offload=model: moves parts to a GPU, and the device is cpu"),
        ("flux-kontext", ["quantization=4-bit"], "quantization=4-bit: needs a GPU"),
        ("flux-kontext", ["resolution=own"], "works at any size; use area"),
        ("qwen-image-edit", ["resolution=area"], "chooses its size itself; only own works"),
        ("flux-kontext", ["stepps=3"], "flux-kontext.stepps"),
        ("flux2-klein-kv", ["guidance_scale=3"], "flux2-klein-kv.guidance_scale"),
        ("qwen-image-edit", ["side=512"], "qwen-image-edit.side"),
        ("flux-kontext", ["revision=main"], "revision=main: a local folder has none"),
    ],
)
def test_settings_that_cannot_be_are_named(bench: Bench, name: str, settings: list[str], message: str) -> None:
    with pytest.raises(MethodError, match=re.escape(message)):
        editor(name, bench.folders[name], *settings)


def test_another_pipeline_or_none_is_named(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(MethodError, match="holds a OmniGenPipeline, and this method runs a FluxKontextPipeline"):
        editor("flux-kontext", bench.folders["omnigen"])
    with pytest.raises(MethodError, match="no diffusers folder of a Flux2Pipeline"):
        editor("flux2", tmp_path)
    with pytest.raises(MethodError, match="the hub does not answer; fetch it"):
        resolve_methods(MethodWords(methods=["flux-kontext"]))[0].settings()
    with pytest.raises(MethodError, match=r"z-image-omni\.model"):
        resolve_methods(MethodWords(methods=["z-image-omni"]))


def test_a_folder_under_another_name_and_a_fixed_schedule(bench: Bench, tmp_path: Path) -> None:
    """Some published folders name an older class as theirs; and one family fixes its schedule in the folder."""

    def with_index(name: str, **changes: Any) -> Path:
        folder = tmp_path / name
        shutil.copytree(bench.folders[name], folder)
        index = folder / "model_index.json"
        index.write_text(json.dumps(json.loads(index.read_text()) | changes))
        return folder

    assert editor("chronoedit", with_index("chronoedit", _class_name="WanImageToVideoPipeline"))
    folder = with_index("qwen-image-2.1", sample_sigmas=[1.0, 0.5])
    with pytest.raises(MethodError, match=r"steps=1: .* fixes a schedule of 2 steps .*; set steps=2"):
        editor("qwen-image-2.1", folder)
    assert editor("qwen-image-2.1", folder, "steps=2")


def test_a_picture_with_alpha_is_shown_over_white(bench: Bench) -> None:
    made = editor("qwen-image-2.1", bench.folders["qwen-image-2.1"], "side=64")
    seen = []
    decode = made._pipeline.image_processor.postprocess

    def keep(*arguments: Any, **keywords: Any) -> Any:
        seen.extend(decode(*arguments, **keywords))
        return seen

    made._pipeline.image_processor.postprocess = keep
    picture = made.edit([EditRequest(image=draw(1), instruction="replace the pear", seed=1)])[0].image
    assert seen[0].mode == "RGBA" and picture.mode == "RGB"
    color, alpha = np.asarray(seen[0])[..., :3].astype(float), np.asarray(seen[0])[..., 3:] / 255
    assert alpha.min() < 0.9
    assert abs(np.asarray(picture) - (color * alpha + 255 * (1 - alpha))).max() <= 1


def test_weights_beyond_the_memory_are_refused_before_loading(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.methods.modern_loading._device_memory", lambda device: 1000)
    with pytest.raises(MethodError, match=r"its weights need .* GiB, and cpu has .* GiB; set offload=model"):
        load_pipeline(LoadOptions(pipeline="OmniGenPipeline", model=str(bench.folders["omnigen"]), device="cpu"))


@pytest.mark.parametrize("row", EDITING_PIPELINES, ids=lambda row: row.name)
def test_rows_name_classes_and_arguments_that_exist(row: EditingPipeline) -> None:
    import inspect

    arguments = inspect.signature(getattr(diffusers, row.pipeline).__call__).parameters
    used = {row.image_argument, "prompt", "generator", "num_inference_steps", *row.call}
    used |= {row.guidance_argument} if row.guidance is not None else set()
    used |= {row.image_guidance_argument} if row.image_guidance is not None else set()
    used |= {"height", "width"} if row.sized else set()
    used |= {a for a in (row.area_argument, row.longest_argument) if a is not None}
    assert used <= set(arguments)
    assert ("{instruction}" in row.prompt) != ("{quoted}" in row.prompt)
    assert METHODS[row.name].batched == row.batched
    assert METHODS[row.name].facts["class"] == row.pipeline


@pytest.mark.parametrize("row", EDITING_PIPELINES, ids=lambda row: row.name)
def test_the_docs_say_what_the_table_says(row: EditingPipeline) -> None:
    docs = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    (line,) = (line for line in docs.splitlines() if line.startswith(f"| `{row.name}` |"))
    weights = row.checkpoint
    assert all(word in line for word in (row.pipeline, weights.license, weights.checked, f"| {row.steps}; "))
    assert weights.model is None or f"`{weights.model}`" in line
    assert weights.revision is None or f"`{weights.revision[:8]}" in line


def test_no_editor_of_diffusers_is_forgotten() -> None:
    """Every pipeline that is called with a picture, a prompt and no mask or noise strength has a row or a reason."""
    found = {name for name in editors_in(Path(diffusers.__file__).parent / "pipelines") if hasattr(diffusers, name)}
    reasons = {name for names in NOT_EDITORS.values() for name in names}
    told = {row.pipeline for row in EDITING_PIPELINES} | reasons | {"StableDiffusionInstructPix2PixPipeline"}
    assert {"FluxKontextPipeline", "OmniGenPipeline", "JoyImageEditPlusPipeline"} <= found
    assert found - told == set()
    assert all(hasattr(diffusers, name) for name in reasons)


def editors_in(folder: Path) -> set[str]:
    names = set()
    for path in folder.rglob("pipeline_*.py"):
        text = path.read_text(encoding="utf-8")
        if "deprecated" in path.parts or not re.search(r"\b(image|images|input_images)\s*:", text):
            continue
        for node in ast.parse(text).body:
            if not isinstance(node, ast.ClassDef) or not node.name.endswith("Pipeline"):
                continue
            calls = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__call__"]
            arguments = {a.arg for call in calls for a in call.args.args}
            other = {"mask_image", "mask", "strength", "control_image", "num_frames", "conditioning_frames"}
            if arguments & {"image", "images", "input_images"} and "prompt" in arguments and not arguments & other:
                names.add(node.name)
    return names
