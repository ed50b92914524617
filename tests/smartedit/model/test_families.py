"""Image-text models of transformers take their places as they are: LLaVA 1.5, and other families."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from smartedit.config.model import BimConfig, LoraConfig, MllmConfig, QFormerConfig, VisionConfig
from smartedit.model.build import build_bim, build_mllm, build_qformer
from smartedit.model.decoding import decode_answer, gather_img_states, read_answer
from smartedit.model.mllm import ImageTextMllm, MllmError, extend_vocabulary
from smartedit.model.sequences import splice
from smartedit.model.smartedit import connect

LLAMA = {
    "model_type": "llama", "vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": False, "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "patch_size": 8,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llava": {
        "text_config": LLAMA,
        "vision_config": {**VISION, "model_type": "clip_vision_model", "image_size": 32},
        "image_token_id": 59,
    },
    "internvl": {
        "text_config": {**LLAMA, "model_type": "qwen2"},
        "vision_config": {**VISION, "model_type": "internvl_vision", "image_size": [32, 32], "patch_size": [8, 8]},
        "downsample_ratio": 0.5,
        "image_token_id": 59,
    },
}
R = 4
FIRST = 63  # behind 60 rows and <img>, <im_start>, <im_end>


@pytest.fixture(params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    config = AutoConfig.for_model(request.param, **FAMILIES[request.param])
    AutoModelForImageTextToText.from_config(config).save_pretrained(tmp_path / request.param)
    return tmp_path / request.param


def built(checkpoint: Path, rank: int = 2) -> ImageTextMllm:
    config = MllmConfig(
        checkpoint=str(checkpoint),
        vision=VisionConfig(feature_layer=-2),
        lora=LoraConfig(rank=rank, alpha=rank) if rank else None,
    )
    return build_mllm(config).eval()


@torch.no_grad()
def test_a_checkpoint_takes_its_place_as_it_is(checkpoint: Path) -> None:
    mllm = built(checkpoint)
    rows = mllm.vocab_size
    extend_vocabulary(mllm, FIRST + R)
    assert mllm.vocab_size == FIRST + R
    head = mllm.model.get_output_embeddings().weight
    torch.testing.assert_close(head[rows:], head[:rows].mean(dim=0).expand(FIRST + R - rows, -1))
    request = [1, 5, 6, FIRST, 7, 8]
    pixels = torch.randn(1, 3, 32, 32)
    whole = splice(
        torch.tensor([[*request, *range(FIRST, FIRST + R)]]),
        img_tokens=range(FIRST, FIRST + R), pad_id=0, num_patches=mllm.num_patches,
    )  # fmt: skip
    read = read_answer(mllm, whole, pixels)
    h = gather_img_states(read.hidden_states, whole.img_mask)
    assert h.shape == (1, R, 32)
    conditions = connect(
        build_qformer(QFormerConfig(num_queries=5, hidden_size=16, num_layers=2, num_heads=2), encoder_size=32).eval(),
        build_bim(BimConfig(hidden_size=32, num_heads=4), text_size=16, output_size=8),
        h,
        read.image_features,
        latent_size=(8, 8),
    )
    assert conditions.text_features.shape == (1, 5, 16)
    assert conditions.image_feature.shape == (1, 8, 8, 8)

    script = iter([*range(FIRST, FIRST + R), 2])
    prompt = splice(torch.tensor([request]), img_tokens=range(FIRST, FIRST + R), pad_id=0, num_patches=mllm.num_patches)
    answer = decode_answer(
        mllm, prompt, pixels, img_tokens=range(FIRST, FIRST + R), eos=2, choose=lambda _: next(script)
    )
    assert answer.complete
    torch.testing.assert_close(answer.img_states[None], h, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_our_pass_is_the_familys_own(checkpoint: Path) -> None:
    """Our splice and the model's own forward give the same scores."""
    mllm = built(checkpoint, rank=0)
    model = mllm.model
    pixels, token = torch.randn(2, 3, 32, 32), model.config.image_token_id
    ids = torch.tensor([[1, 5, 6, 61, 7, 8], [1, 9, 6, 61, 3, 4]])
    whole = splice(ids, img_tokens=range(61, 62), pad_id=0, num_patches=mllm.num_patches)
    ours = mllm.logits(mllm(whole.input_ids, attention_mask=whole.attention_mask, pixel_values=pixels).hidden_states)
    theirs = model(
        input_ids=whole.input_ids.masked_fill(whole.input_ids < 0, token),
        attention_mask=whole.attention_mask.long(),
        pixel_values=pixels,
    ).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_with_its_adapters(checkpoint: Path, tmp_path: Path) -> None:
    mllm = built(checkpoint)
    extend_vocabulary(mllm, FIRST + R)
    mllm.save_pretrained(tmp_path / "ours")
    loaded = ImageTextMllm.from_pretrained(tmp_path / "ours")
    state = mllm.state_dict()
    assert any("lora_A" in name for name in state)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, state[name]), name


@torch.no_grad()
def test_added_tokens_in_padded_rows_start_as_the_mean(checkpoint: Path) -> None:
    mllm = built(checkpoint)
    layers = (mllm.model.get_input_embeddings(), mllm.model.get_output_embeddings())
    before = [layer.weight.clone() for layer in layers]
    extend_vocabulary(mllm, 58, first=58)
    assert all(torch.equal(layer.weight, old) for layer, old in zip(layers, before, strict=True))
    extend_vocabulary(mllm, 58, first=50)
    for layer, old in zip(layers, before, strict=True):
        torch.testing.assert_close(layer.weight[50:58], old[:50].mean(dim=0).expand(8, -1))
        assert torch.equal(layer.weight[:50], old[:50]) and torch.equal(layer.weight[58:], old[58:])


def test_wrong_number_of_patches_is_named(checkpoint: Path) -> None:
    mllm = built(checkpoint)
    whole = splice(torch.tensor([[1, 50, 2]]), img_tokens=range(50, 51), pad_id=0, num_patches=mllm.num_patches + 1)
    with pytest.raises(MllmError, match=f"{mllm.num_patches + 1} places for {mllm.num_patches} projected"):
        mllm(whole.input_ids, attention_mask=whole.attention_mask, pixel_values=torch.randn(1, 3, 32, 32))


def test_family_that_would_compute_something_else_is_refused() -> None:
    with pytest.raises(MllmError, match="attends within the prompt in both directions"):
        ImageTextMllm(architecture={"model_type": "paligemma"})
