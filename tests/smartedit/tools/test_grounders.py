"""Both GroundingDINO adapters: they load their own files, agree on the same weights, and say what is missing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smartedit.config.synthesis import GrounderConfig
from smartedit.tools.grounding_captions import captions, detections
from smartedit.tools.grounding_dino_hf import GroundingDinoHFGrounder
from smartedit.tools.groundingdino import GroundingDinoGrounder, build_groundingdino
from smartedit.tools.groundingdino_compatibility import LENT, lent_methods
from smartedit.tools.groundingdino_conversion import to_transformers
from smartedit.tools.protocols import GroundingRequest, Picture, ToolError, ToolUnavailable
from tests.smartedit.tools.tiny_models import dino_hf_config, shapes, write_dino_config


@pytest.fixture
def both(tmp_path: Path, bert_folder: Path, tiny_swin: None) -> tuple[GrounderConfig, GrounderConfig]:
    """The same random weights as an authors' checkpoint and as a folder of transformers."""
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection

    settings = {"short_side": 96, "box_threshold": 0.2, "text_threshold": 0.2}
    ours = GrounderConfig(
        name="groundingdino",
        model=str(tmp_path / "tiny.pth"),
        model_config=str(write_dino_config(tmp_path)),
        text_encoder=str(bert_folder),
        **settings,
    )
    torch.manual_seed(1)
    model = build_groundingdino(ours)
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.05)
    with torch.no_grad():
        model.transformer.decoder.norm.weight.mul_(0.1)  # else every score saturates at 1
    torch.save({"model": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "tiny.pth")
    hf = GroundingDinoForObjectDetection(dino_hf_config())
    hf.load_state_dict(to_transformers(model.state_dict()), strict=True)
    hf.save_pretrained(tmp_path / "hf")
    AutoTokenizer.from_pretrained(bert_folder).save_pretrained(tmp_path / "hf")
    return ours, GrounderConfig(name="grounding-dino-hf", model=str(tmp_path / "hf"), **settings)


def test_adapters_agree_on_converted_weights(both: tuple[GrounderConfig, GrounderConfig]) -> None:
    first, second = (Picture(picture_id=str(n), image=shapes(96 + 32 * n)) for n in range(2))
    asked = [(first, "apple"), (first, "remote control"), (second, "cat"), (second, "mirror")]
    requests = [GroundingRequest(picture=p, phrase=w) for p, w in asked]
    ours = GroundingDinoGrounder.load(both[0]).ground(requests)
    theirs = GroundingDinoHFGrounder.load(both[1]).ground(requests)
    assert len({round(d.score, 3) for found in ours for d in found if 0.2 < d.score < 0.95}) > 3
    for mine, other, (picture, phrase) in zip(ours, theirs, asked, strict=True):
        assert len(mine) == len(other)
        for a, b in zip(mine, other, strict=True):
            assert a.phrase == b.phrase == phrase
            assert a.score == pytest.approx(b.score, abs=2e-5)
            assert a.box == pytest.approx(b.box, abs=2e-3 * picture.image.width)


def test_the_lent_methods_are_gone_after_building() -> None:
    from transformers import BertModel

    before = {name for name in LENT if hasattr(BertModel, name)}
    with lent_methods():
        assert all(hasattr(BertModel, name) for name in LENT)
    assert {name for name in LENT if hasattr(BertModel, name)} == before


def test_weights_missing_is_said_with_a_remedy(tmp_path: Path, bert_folder: Path, tiny_swin: None) -> None:
    with pytest.raises(ToolUnavailable, match=r"no checkpoint.*grounder\.model"):
        GroundingDinoGrounder.load(GrounderConfig(model=str(tmp_path / "none.pth")))
    with pytest.raises(ToolUnavailable, match="IDEA-Research"):
        GroundingDinoHFGrounder.load(GrounderConfig())
    with pytest.raises(ToolUnavailable, match="no model"):
        GroundingDinoHFGrounder.load(GrounderConfig(model=str(tmp_path)))
    torch.save({"model": {"some.weight": torch.zeros(1)}}, tmp_path / "other.pth")
    config = GrounderConfig(
        model=str(tmp_path / "other.pth"),
        model_config=str(write_dino_config(tmp_path)),
        text_encoder=str(bert_folder),
    )
    with pytest.raises(ToolUnavailable, match=r"some\.weight"):
        GroundingDinoGrounder.load(config)


def test_captions_hold_all_phrases_and_know_their_tokens(bert_folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(bert_folder)

    def tokenize(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    phrases = ["Apple", "remote control", "cats"] * 60
    found = list(captions(phrases, tokenize))
    assert [i for c in found for i in c.indices] == list(range(180))
    assert len(found) > 1
    for caption in found:
        ids = tokenizer(caption.text)["input_ids"]
        assert len(ids) == caption.length <= 256
        for index, (start, end) in zip(caption.indices, caption.spans, strict=True):
            assert ids[start:end] == tokenize(phrases[index].lower())
    with pytest.raises(ToolError, match="cannot read"):
        list(captions(["a. b"], tokenize))


def test_a_query_belongs_to_the_phrase_with_its_best_token() -> None:
    (caption,) = captions(["apple", "remote control"], lambda text: [1] * len(text.split()))
    scores = np.zeros((3, 8))
    scores[0, 1] = 0.9  # apple
    scores[1, 1], scores[1, 3], scores[1, 4] = 0.4, 0.7, 0.6  # rather the remote control
    scores[2, 3], scores[2, 4] = 0.5, 0.0  # only one of two words
    boxes = np.array([[0.5, 0.5, 0.2, 0.4]] * 3)
    apple, remote = detections(
        scores, boxes, caption, ["apple", "remote control"], (100, 50), box_threshold=0.35, text_threshold=0.25
    )
    assert [d.score for d in apple] == [pytest.approx(0.9)]
    assert apple[0].box == pytest.approx((40, 15, 60, 35))
    assert [d.score for d in remote] == [pytest.approx(0.7), pytest.approx(0.5)]


def test_thresholds_can_refuse_everything(both: tuple[GrounderConfig, GrounderConfig]) -> None:
    from dataclasses import replace

    strict = replace(both[0], box_threshold=1.0)
    request = GroundingRequest(picture=Picture(picture_id="a", image=Image.new("RGB", (96, 64))), phrase="dog")
    assert GroundingDinoGrounder.load(strict).ground([request]) == [[]]
