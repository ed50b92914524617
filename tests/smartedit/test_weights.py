"""The weights that ship: they load by name, fit the repository, know what they were taught, and edit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.methods.specs import Setting
from reason_edit.schema import Category
from smartedit.config.model import load_model_config
from smartedit.editing import EditRequest
from smartedit.inference.loading import load_pipeline
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.miniature.benchmark_set import benchmark_cases, draw_case
from smartedit.miniature.cases import Use
from smartedit.miniature.drawing import draw
from smartedit.miniature.fit.clip import normalized
from smartedit.miniature.fit.looks import cut_out
from smartedit.miniature.fit.tokenizers import clip_ids
from smartedit.miniature.knowledge import clues
from smartedit.miniature.stock import Stock
from smartedit.model.build import build_model
from smartedit.seeding import numpy_generator
from smartedit.weights import shipped

NAMES = ("smartedit-miniature", "instruct-pix2pix-miniature", "clip-miniature", "squeezenet-miniature")


def folder(name: str) -> Path:
    found = shipped(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def pipeline() -> SmartEditPipeline:
    return load_pipeline("miniature")


def test_names() -> None:
    assert shipped("nothing-of-the-sort") is None
    assert shipped("../weights") is None
    assert shipped("__pycache__") is None
    assert folder("clip-miniature").joinpath("config.json").is_file()


def test_all_weights_fit_into_25_mb_and_name_no_machine() -> None:
    files = [f for name in NAMES for f in folder(name).rglob("*") if f.is_file() and not f.parent.is_symlink()]
    assert sum(f.stat().st_size for f in files) <= 25e6
    texts = [f.read_text(encoding="utf-8") for f in files if f.suffix == ".json"]
    assert not [text for text in texts if "/tmp/" in text or "/work/" in text or "/home/" in text]


def test_the_pipeline_has_the_sizes_of_its_preset(pipeline: SmartEditPipeline) -> None:
    config = load_model_config("miniature")
    with torch.device("meta"):
        expected = build_model(config)
    for part in ("qformer", "bim", "unet"):
        ours = {name: tuple(w.shape) for name, w in getattr(pipeline, part).state_dict().items()}
        assert ours == {name: tuple(w.shape) for name, w in getattr(expected, part).state_dict().items()}
    assert pipeline.mllm.config.lora_rank == config.mllm.lora.rank
    assert pipeline.layout.num_img_tokens == config.mllm.num_img_tokens


def test_clip_knows_drawn_things() -> None:
    from transformers import CLIPModel, CLIPTokenizer

    clip = CLIPModel.from_pretrained(folder("clip-miniature"), torch_dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder("clip-miniature"))
    stock, cuts, labels = Stock(seed=7, size=64), [], []
    for number in range(60):
        scene = stock.scene("weights test", number)
        cut, label = cut_out(scene, draw(scene, 128), numpy_generator("weights test", number))
        cuts.append(np.asarray(Image.fromarray(cut).resize((64, 64), Image.Resampling.BOX)))
        labels.append(label)
    texts = sorted(set(labels))
    ids = clip_ids(tokenizer, texts, clip.config.text_config.max_position_embeddings)
    with torch.no_grad():
        scores = clip(input_ids=ids, pixel_values=normalized(np.stack(cuts))).logits_per_image
    found = [texts[k] for k in scores.argmax(dim=1)]
    assert np.mean([a == b for a, b in zip(found, labels, strict=True)]) >= 0.7


def test_the_language_model_knows_the_clues_that_no_editing_row_holds(pipeline: SmartEditPipeline) -> None:
    """Without LoRA, the words of its pretraining: which thing a held-out clue means."""
    tokenizer, layout, mllm = pipeline.tokenizer, pipeline.layout, pipeline.mllm
    right = []
    for clue in [clue for clue in clues() if clue.held_out]:
        asked = f"{pipeline.config.system} USER: Bring me the {clue.text}. Which thing is meant? ASSISTANT: The"
        ids = torch.tensor([[layout.bos, *tokenizer(asked, add_special_tokens=False).input_ids]])
        wanted = tokenizer(f"The {clue.kind}.", add_special_tokens=False).input_ids[1]
        with torch.no_grad():
            hidden = mllm(ids, attention_mask=torch.ones_like(ids, dtype=torch.bool)).hidden_states
            right.append(int(mllm.logits(hidden[:, -1]).argmax()) == wanted)
    assert np.mean(right) >= 0.8


@pytest.mark.parametrize("name", ["smartedit-miniature", "instruct-pix2pix-miniature"])
def test_the_editors_edit_and_keep_the_background(name: str) -> None:
    """On scenes of a seed that nobody trained or chose on. Whether the right thing changes is for the judge to say."""
    (method,) = resolve_methods(MethodWords(methods=[name]))
    editor = method.build(Setting(device="cpu"))
    keys = ("weights test", "edit")
    cases = [draw_case(Category.COLOR, kind, False, None, Use.TRAINING, (*keys, kind)) for kind in ("apple", "car")]
    pictures = [draw(case.scene, 64).image for case in cases]
    requests = [
        EditRequest(
            image=Image.fromarray(picture),
            instruction=f"Replace {case.reference.text} with {case.target_words}.",
            seed=k,
        )
        for k, (case, picture) in enumerate(zip(cases, pictures, strict=True))
    ]
    for picture, result in zip(pictures, editor.edit(requests), strict=True):
        error = (np.asarray(result.image, float) - picture) / 255
        changed = np.abs(error).max(axis=2) > 0.25
        assert 0.01 < changed.mean() < 0.4
        assert -10 * np.log10((error[~changed] ** 2).mean()) > 20


def test_cases_of_another_seed_are_other_scenes() -> None:
    ours = {case.scene.fingerprint for case in benchmark_cases(Category.COLOR, 0)}
    assert not ours & {case.scene.fingerprint for case in benchmark_cases(Category.COLOR, 1)}
