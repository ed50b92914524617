"""The pipeline with diffusers' conventions, on a tiny model of the real classes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, DPMSolverMultistepScheduler
from PIL import Image

from smartedit.config.model import ModelConfig
from smartedit.inference.build import build_pipeline
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.images import PictureError
from smartedit.model.prompts import PromptError
from smartedit.model.tokenizer import VocabularyError
from tests.smartedit.inference.conftest import noise_picture


def seeds(*values: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(v) for v in values]


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


def test_picture_keeps_its_size_and_follows_seed_and_instruction(
    pipeline: SmartEditPipeline, picture: Image.Image
) -> None:
    first = pipeline(picture, "make it red", generator=seeds(1)).images[0]
    assert first.size == picture.size
    assert array(first).tolist() == array(pipeline(picture, "make it red", generator=seeds(1)).images[0]).tolist()
    assert np.abs(array(first) - array(pipeline(picture, "make it red", generator=seeds(2)).images[0])).max() > 10
    assert np.abs(array(first) - array(pipeline(picture, "a dog", generator=seeds(1)).images[0])).max() > 0


def test_a_picture_does_not_depend_on_its_batch(pipeline: SmartEditPipeline) -> None:
    # The second is edited at another size, in a batch of its own.
    pictures = [noise_picture(40, 40, seed=1), noise_picture(96, 24, seed=2), noise_picture(40, 40, seed=3)]
    texts = ["make it red", "remove the cup that is on the table behind the dog", "blue"]
    pipeline.readings.clear()
    together = pipeline(pictures, texts, generator=seeds(5, 6, 7)).images
    pipeline.readings.clear()
    for i in (2, 0, 1):
        alone = pipeline(pictures[i], texts[i], generator=seeds(5 + i)).images[0]
        assert np.abs(array(alone) - array(together[i])).max() <= 1


def test_one_instruction_for_a_batch_and_counts_that_differ(pipeline: SmartEditPipeline, picture: Image.Image) -> None:
    assert len(pipeline([picture, picture], "blue").images) == 2
    with pytest.raises(ValueError, match="2 pictures but 1 instructions"):
        pipeline([picture, picture], ["blue"])
    with pytest.raises(ValueError, match="1 pictures but 2 generators"):
        pipeline(picture, "blue", generator=seeds(1, 2))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps=0: at least one step"),
        ({"num_inference_steps": -3}, "num_inference_steps=-3: at least one step"),
        ({"guidance_scale": float("nan")}, "guidance_scale=nan: it must be a finite number"),
        ({"image_guidance_scale": float("inf")}, "image_guidance_scale=inf: it must be a finite number"),
        ({"output_type": "np"}, "output_type 'np' is not known; there are pil and latent"),
        ({"output_type": "latent"}, "latents of 2 sizes are no batch"),
        ({"image": []}, "no picture is given"),
        ({"image": "picture.png"}, "a picture is a PIL image, not a str"),
    ],
)
def test_calls_that_cannot_be_are_refused_before_anything_is_computed(
    pipeline: SmartEditPipeline, picture: Image.Image, settings: dict[str, Any], reason: str
) -> None:
    pipeline.readings.clear()
    pictures = [picture, noise_picture(32, 96, seed=2)]
    with pytest.raises(ValueError, match=re.escape(reason)):
        pipeline(**{"image": pictures, "instruction": "make it blue", **settings})
    assert len(pipeline.readings) == 0


def test_callback_sees_and_replaces_latents(pipeline: SmartEditPipeline, picture: Image.Image) -> None:
    steps = []

    def zero(pipe: SmartEditPipeline, step: int, timestep: object, tensors: dict) -> dict:
        assert pipe is pipeline
        steps.append(step)
        return {"latents": torch.zeros_like(tensors["latents"])}

    latents = pipeline(
        picture, "blue", num_inference_steps=3, callback_on_step_end=zero, output_type="latent", generator=seeds(1)
    ).images
    assert steps == [0, 1, 2]
    assert not latents.any()
    with pytest.raises(ValueError, match="prompt_embeds"):
        pipeline(picture, "blue", callback_on_step_end=zero, callback_on_step_end_tensor_inputs=["prompt_embeds"])


@pytest.mark.parametrize("scheduler", [DDIMScheduler, DPMSolverMultistepScheduler])
def test_other_schedulers(pipeline: SmartEditPipeline, picture: Image.Image, scheduler: type) -> None:
    kept = pipeline.scheduler
    pipeline.scheduler = scheduler.from_config(kept.config)
    first, second = (pipeline(picture, "blue", generator=seeds(1)).images[0] for _ in range(2))
    pipeline.scheduler = kept
    assert array(first).tolist() == array(second).tolist()


def test_a_reading_is_remembered_by_content(pipeline: SmartEditPipeline, picture: Image.Image) -> None:
    calls = []
    hook = pipeline.mllm.register_forward_hook(lambda *_: calls.append(1))
    pipeline.readings.clear()
    pipeline(picture, "blue", generator=seeds(1))
    pipeline(picture.copy(), " blue ", generator=seeds(2))
    assert len(calls) == 2  # the words before the picture, and the rest
    pipeline(picture, "green")
    pipeline(noise_picture(48, 32, seed=9), "blue")
    hook.remove()
    assert len(calls) == 4
    assert len(pipeline.readings) == 3


@pytest.mark.parametrize("words", ["system", "request", "answer"])
def test_other_words_round_an_instruction_are_another_reading(
    pipeline: SmartEditPipeline, picture: Image.Image, words: str
) -> None:
    first = pipeline.read([picture], ["blue"])[0].hidden_states
    before = pipeline.config[words]
    pipeline.register_to_config(**{words: f"So: {before}"})
    try:
        other = pipeline.read([picture], ["blue"])[0].hidden_states
    finally:
        pipeline.register_to_config(**{words: before})
    assert not torch.equal(first, other)
    assert torch.equal(first, pipeline.read([picture], ["blue"])[0].hidden_states)


def test_exif_turn_and_any_aspect_ratio(pipeline: SmartEditPipeline, tmp_path: Path) -> None:
    picture = noise_picture(96, 24, seed=4)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    picture.save(tmp_path / "turned.png", exif=exif)
    sizes = []
    hook = pipeline.unet.register_forward_hook(lambda _, args, out: sizes.append(tuple(args[0].shape[-2:])))
    with Image.open(tmp_path / "turned.png") as turned:
        edited = pipeline(turned, "blue").images[0]
    squashed = pipeline(picture, "blue", square=True).images[0]
    hook.remove()
    assert edited.size == (24, 96)
    assert squashed.size == (96, 24)
    assert sizes[0] == (32, 8)
    assert sizes[-1] == (16, 16)


@pytest.mark.parametrize(
    ("size", "reason"), [((1, 1), "1 x 1 pixels; each side needs at least 16"), ((400, 20), "longer than 8 times")]
)
def test_pictures_that_are_refused(pipeline: SmartEditPipeline, size: tuple[int, int], reason: str) -> None:
    with pytest.raises(PictureError, match=reason):
        pipeline(Image.new("RGB", size), "blue")


def test_instructions_that_are_refused(pipeline: SmartEditPipeline, picture: Image.Image) -> None:
    with pytest.raises(PromptError, match="instruction is empty"):
        pipeline(picture, " ")
    with pytest.raises(PromptError, match=r"is \d+ tokens too long"):
        pipeline(picture, "make it red and " * 60)


def test_original_is_kept_where_nothing_changed(pipeline: SmartEditPipeline, picture: Image.Image) -> None:
    result = pipeline(picture, "blue", keep_original=True, generator=seeds(1))
    assert result.composited
    assert result.images[0].size == picture.size
    assert not pipeline(picture, "blue", generator=seeds(1)).composited


def test_what_the_model_says(pipeline: SmartEditPipeline, picture: Image.Image) -> None:
    spoken = pipeline(picture, "blue", speak=True)
    assert "without a proper [IMG] block" in spoken.answers[0]  # random weights say no such block
    assert spoken.agreements[0] < 1
    assert pipeline(picture, "blue").answers == [None]


def test_save_and_load_give_the_same_picture(pipeline: SmartEditPipeline, picture: Image.Image, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path, max_shard_size="60KB")
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "SmartEditPipeline"
    assert len(list((tmp_path / "mllm").glob("*.safetensors"))) > 1
    assert not list(tmp_path.rglob("*.bin"))
    expected = pipeline(picture, "blue", generator=seeds(1)).images[0]
    for loaded in (SmartEditPipeline.from_pretrained(tmp_path), SmartEditPipeline.from_pretrained(str(tmp_path))):
        loaded.set_progress_bar_config(disable=True)
        assert loaded.layout == pipeline.layout
        assert np.abs(array(loaded(picture, "blue", generator=seeds(1)).images[0]) - array(expected)).max() <= 1
    loaded.save_pretrained(tmp_path / "again")
    again = SmartEditPipeline.from_pretrained(tmp_path / "again")
    assert again.layout == pipeline.layout


def test_bfloat16(pipeline: SmartEditPipeline, picture: Image.Image, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path)
    half = SmartEditPipeline.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    half.set_progress_bar_config(disable=True)
    assert half.unet.dtype == half.mllm.dtype == torch.bfloat16
    assert half(picture, "blue", generator=seeds(1)).images[0].size == picture.size
    assert isinstance(half.to(torch.float32), DiffusionPipeline)
    exact, rounded = (array(p(picture, "blue", generator=seeds(1)).images[0]) for p in (pipeline, half))
    assert np.abs(exact - rounded).mean() < 12


def test_tokenizer_of_another_model_is_refused(pipeline: SmartEditPipeline) -> None:
    parts = {**pipeline.components, "mllm": pipeline.mllm}
    small = pipeline.mllm.model.get_input_embeddings()
    kept = small.weight
    small.weight = torch.nn.Parameter(kept[:-2])
    with pytest.raises(VocabularyError, match="707 tokens, the language model 705 rows"):
        SmartEditPipeline(**parts, num_img_tokens=4)
    small.weight = kept


def test_parts_take_turns_on_the_device(pipeline: SmartEditPipeline, picture: Image.Image) -> None:
    """Offloading moves a part when it is called, so every part must be reached by its call."""
    expected = array(pipeline(picture, "blue", generator=seeds(1)).images[0])
    moved = []
    pipeline.enable_model_cpu_offload(device="cpu")
    try:
        for name in ("mllm", "qformer", "bim", "unet"):
            part = getattr(pipeline, name)
            part._hf_hook.pre_forward = lambda module, *a, _name=name, _go=part._hf_hook.pre_forward, **k: (
                moved.append(_name) or _go(module, *a, **k)
            )
        pipeline.readings.clear()
        offloaded = array(pipeline(picture, "blue", generator=seeds(1)).images[0])
    finally:
        pipeline.remove_all_hooks()
    assert list(dict.fromkeys(moved)) == ["mllm", "qformer", "bim", "unet"]
    assert np.abs(offloaded - expected).max() <= 1


def test_pipeline_without_a_tokenizer_says_where_to_name_one(tiny_config: ModelConfig) -> None:
    with pytest.raises(VocabularyError, match=r"set model\.mllm\.tokenizer"):
        build_pipeline(tiny_config)
