"""CLIP scores are cosines that move with the pictures and texts, and a single text is not always best."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from smartedit.tools.clip_scorer import ClipScorer
from smartedit.tools.protocols import ChangeRequest, ToolUnavailable
from tests.smartedit.tools.tiny_models import shapes


def test_scores_are_what_the_features_say(clip_folder: Path) -> None:
    from transformers import CLIPModel, CLIPProcessor

    red, blue = Image.new("RGB", (40, 40), (200, 30, 30)), shapes(40, 40)
    request = ChangeRequest(source=red, target=blue, source_text="an apple", target_text="a cup")
    (found,) = ClipScorer.load(str(clip_folder)).score([request])
    model, processor = CLIPModel.from_pretrained(clip_folder), CLIPProcessor.from_pretrained(clip_folder)
    inputs = processor(images=[red, blue], text=["an apple", "a cup"], return_tensors="pt", padding=True)
    with torch.inference_mode():
        output = model(**inputs)
    images, texts = output.image_embeds, output.text_embeds
    assert found.target == pytest.approx(float(images[1] @ texts[1]), abs=1e-5)
    assert found.source_drop == pytest.approx(float(images[0] @ texts[0] - images[1] @ texts[0]), abs=1e-5)
    direction = torch.nn.functional.cosine_similarity(images[1] - images[0], texts[1] - texts[0], dim=0)
    assert found.direction == pytest.approx(float(direction), abs=1e-5)
    assert -1 <= found.target < 0.999


def test_no_change_has_no_drop_and_an_opposite_change_the_opposite_drop(clip_folder: Path) -> None:
    scorer = ClipScorer.load(str(clip_folder))
    one, other = shapes(), Image.new("RGB", (60, 60), (20, 200, 90))
    texts = {"source_text": "an apple", "target_text": "a cup"}
    same, there, back = scorer.score(
        [
            ChangeRequest(source=one, target=one, **texts),
            ChangeRequest(source=one, target=other, **texts),
            ChangeRequest(source=other, target=one, **texts),
        ]
    )
    assert same.source_drop == pytest.approx(0, abs=1e-6)
    assert there.source_drop == pytest.approx(-back.source_drop, abs=1e-5)
    assert there.direction == pytest.approx(-back.direction, abs=1e-5)


def test_a_missing_model_is_named(tmp_path: Path, bert_folder: Path) -> None:
    with pytest.raises(ToolUnavailable, match=r"scorer\.clip"):
        ClipScorer.load(str(tmp_path / "none"))
    with pytest.raises(ToolUnavailable, match="BertModel"):
        ClipScorer.load(str(bert_folder))
