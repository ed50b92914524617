"""SAM in both implementations, SAM 2, and ground truth: masks of the picture's size, from their own files."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from smartedit.config.synthesis import SegmenterConfig
from smartedit.tools.annotations import AnnotatedPicture, AnnotatedThing, CocoAnnotations, decode_mask
from smartedit.tools.build import build_segmenter
from smartedit.tools.protocols import GroundingRequest, Picture, SegmentationRequest, ToolError, ToolUnavailable
from smartedit.tools.sam import SamSegmenter
from smartedit.tools.sam_hf import SamHFSegmenter
from tests.smartedit.tools.tiny_models import shapes


def tiny_sam(checkpoint: str | None = None) -> Any:
    """The authors' classes with one narrow block and a 64-pixel input."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(5)
    encoder = ImageEncoderViT(
        depth=1,
        embed_dim=16,
        img_size=64,
        mlp_ratio=2,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=2,
        patch_size=16,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=(0,),
        window_size=2,
        out_chans=32,
    )
    prompts = PromptEncoder(embed_dim=32, image_embedding_size=(4, 4), input_image_size=(64, 64), mask_in_chans=4)
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=1, embedding_dim=32, mlp_dim=32, num_heads=2),
        transformer_dim=32,
        iou_head_depth=2,
        iou_head_hidden_dim=16,
    )
    sam = Sam(image_encoder=encoder, prompt_encoder=prompts, mask_decoder=decoder)
    if checkpoint is not None:
        sam.load_state_dict(torch.load(checkpoint, weights_only=True))
    return sam


def requests() -> list[SegmentationRequest]:
    first, second = Picture(picture_id="a", image=shapes()), Picture(picture_id="b", image=shapes(130))
    boxes = [(first, (10, 20, 40, 50)), (second, (55, 25, 85, 60)), (first, (55, 25, 85, 60))]
    return [SegmentationRequest(picture=p, box=tuple(float(v) for v in b)) for p, b in boxes]  # type: ignore[arg-type]


def check(masks: list[Any]) -> None:
    assert [m.shape for m in masks] == [(72, 96), (72, 130), (72, 96)]
    assert all(m.dtype == bool for m in masks)
    assert 0 < sum(m.sum() for m in masks) < sum(m.size for m in masks)


def test_sam_of_the_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import segment_anything

    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    monkeypatch.setitem(segment_anything.sam_model_registry, "tiny", tiny_sam)
    segmenter = SamSegmenter.load(SegmenterConfig(name="sam", model=str(tmp_path / "sam.pth"), model_type="tiny"))
    together = segmenter.segment(requests())
    check(together)
    alone = [segmenter.segment([r])[0] for r in requests()]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))


def test_sam_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import segment_anything

    monkeypatch.setitem(segment_anything.sam_model_registry, "tiny", tiny_sam)
    with pytest.raises(ToolUnavailable, match="no checkpoint"):
        SamSegmenter.load(SegmenterConfig(model=str(tmp_path / "none.pth")))
    with pytest.raises(ToolUnavailable, match="no model type 'vit_x'"):
        SamSegmenter.load(SegmenterConfig(model_type="vit_x"))
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ToolUnavailable, match="not a tiny checkpoint"):
        SamSegmenter.load(SegmenterConfig(model=str(tmp_path / "other.pth"), model_type="tiny"))


def test_broken_weights_and_missing_devices_are_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import segment_anything

    monkeypatch.setitem(segment_anything.sam_model_registry, "tiny", tiny_sam)
    config = SegmenterConfig(name="sam", model=str(tmp_path / "sam.pth"), model_type="tiny")
    (tmp_path / "sam.pth").write_text("no checkpoint")
    with pytest.raises(ToolUnavailable, match=r"sam\.pth' cannot be loaded on 'cpu': Weights only load failed$"):
        build_segmenter(config, None)
    (tmp_path / "sam.pth").write_bytes(b"")
    with pytest.raises(ToolUnavailable, match=r"sam\.pth' cannot be loaded"):
        build_segmenter(config, None)
    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    with pytest.raises(ToolUnavailable, match="cannot be loaded on 'nowhere'"):
        build_segmenter(replace(config, device="nowhere"), None)


def test_sam_of_transformers(tmp_path: Path) -> None:
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64, "mlp_dim": 32}
    config = SamConfig(
        vision_config=vision
        | {"output_channels": 32, "global_attn_indexes": [0], "window_size": 2, "num_pos_feats": 16},
        prompt_encoder_config={"hidden_size": 32, "image_size": 64, "mask_input_channels": 4},
        mask_decoder_config={
            "hidden_size": 32,
            "mlp_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_depth": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    torch.manual_seed(6)
    SamModel(config).save_pretrained(tmp_path)
    sizes = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    SamProcessor(SamImageProcessor(**sizes)).save_pretrained(tmp_path)
    check(SamHFSegmenter.load(SegmenterConfig(name="sam-hf", model=str(tmp_path))).segment(requests()))
    with pytest.raises(ToolUnavailable, match="no model"):
        SamHFSegmenter.load(SegmenterConfig(model=str(tmp_path / "none")))
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ToolUnavailable, match="cannot be loaded on 'cpu'"):
        build_segmenter(SegmenterConfig(name="sam-hf", model=str(tmp_path)), None)


def picture_with_truth() -> CocoAnnotations:
    square = {"size": [36, 48], "counts": [0, 36 * 48 // 2, 36 * 48 // 2]}
    things = (
        AnnotatedThing(kind="cat", box=(0, 0, 24, 36), segmentation=square, crowd=False, score=1.0),
        AnnotatedThing(kind="dog", box=(30, 5, 40, 25), segmentation=[[30, 5, 40, 5, 40, 25]], crowd=False, score=1.0),
        AnnotatedThing(kind="sheep", box=(0, 0, 9, 9), segmentation=square, crowd=True, score=1.0),
    )
    annotated = AnnotatedPicture(file_name="a.png", width=48, height=36, license=None, url=None, things=things)
    return CocoAnnotations({"a": annotated})


def test_ground_truth_follows_the_scale_of_the_picture() -> None:
    truth = picture_with_truth()
    picture = Picture(picture_id="a", image=shapes(96, 72))
    (found,) = truth.ground([GroundingRequest(picture=picture, phrase="cat")])
    assert found[0].box == (0, 0, 48, 72)
    (mask,) = truth.segment([SegmentationRequest(picture=picture, box=found[0].box)])
    assert mask.shape == (72, 96)
    assert mask[:, :48].all()
    assert not mask[:, 49:].any()


def test_ground_truth_refuses_what_it_does_not_know() -> None:
    truth = picture_with_truth()
    picture = Picture(picture_id="a", image=shapes(48, 36))
    with pytest.raises(ToolError, match="crowd"):
        truth.ground([GroundingRequest(picture=picture, phrase="sheep")])
    with pytest.raises(ToolError, match="no annotation at"):
        truth.segment([SegmentationRequest(picture=picture, box=(30, 20, 48, 36))])
    edited = Picture(picture_id=None, image=shapes())
    with pytest.raises(ToolError, match="no annotations for picture None"):
        truth.ground([GroundingRequest(picture=edited, phrase="cat")])


def test_masks_of_several_polygons_are_their_union() -> None:
    overlapping = [[0, 0, 6, 0, 6, 6, 0, 6], [3, 3, 9, 3, 9, 9, 3, 9]]
    assert decode_mask(overlapping, 10, 10).sum() == 36 + 36 - 9
    with pytest.raises(ToolError, match="no segmentation"):
        decode_mask([[1, 2, 3, 4]], 10, 10)
