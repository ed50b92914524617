"""Readers, masks and painted targets against what the authors' loaders make of the same files."""

import json
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from smartedit.data.examples import TrainingExample
from smartedit.data.masks import decode_mask
from smartedit.data.segmentation import COLORS, paint
from smartedit.data.sources import cocostuff, grefcoco, llava, reasonseg, refer, synthetic
from tests.smartedit.data.trees import split_rows

SIDE = 64
pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def source(golden: Path) -> Path:
    folder = golden / "dev" / "data_src"
    if not folder.is_dir():
        pytest.skip("dev/data_src is not among the reference sets that SMARTEDIT_GOLDEN names")
    return folder


@pytest.fixture(scope="module")
def expected(golden: Path, source: Path) -> Mapping[str, np.ndarray]:
    return load_file(golden / "dev" / "data.safetensors")


@pytest.fixture(scope="module")
def texts(golden: Path, source: Path) -> Mapping[str, Any]:
    samples = json.loads((golden / "dev" / "data.json").read_text())["samples"]
    return {name: sample["conversation"] for name, sample in samples.items()}


def picture(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.transpose(1, 2, 0))


def resized(values: np.ndarray, filter: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(values).resize((SIDE, SIDE), filter))


def assert_painted(name: str, mask: np.ndarray, expected: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> None:
    original, target = (picture(expected[f"{name}.{kind}_u8"]) for kind in ("original_img_for_vae", "edited_img"))
    request = texts[name].partition("<im_end>")[2].partition('"')[0]
    (color,) = [c for c in COLORS if re.search(rf"\b{c}\b", request)]
    small = resized(mask.astype(np.uint8), Image.Resampling.NEAREST) == 1
    assert np.array_equal(paint(original, small, color), target)


def rgb(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB"))


def mask_of(row: TrainingExample) -> np.ndarray:
    assert row.mask_rle is not None
    return decode_mask(row.mask_rle)


def test_refcoco(source: Path, tmp_path: Path, expected: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> None:
    folder = tmp_path / "refcoco"
    shutil.copytree(source / "refcoco" / "refcoco", folder)
    records = json.loads((folder / "refs(unc).json").read_text())
    (folder / "refs(unc).p").write_bytes(pickle.dumps(records, protocol=2))
    images = source / "coco/train2014"
    (lossy,), _ = split_rows(refer.read(folder, image_root=images, overlap="smartedit"))
    (whole,), _ = split_rows(refer.read(folder, image_root=images))
    assert_painted("refcoco_0_overlap", mask_of(lossy), expected, texts)
    with pytest.raises(AssertionError):
        assert_painted("refcoco_0_overlap", mask_of(whole), expected, texts)
    assert lossy.phrases[0].lower() in texts["refcoco_0_overlap"]
    original = resized(rgb(images / "r.jpg"), Image.Resampling.BICUBIC)
    assert np.array_equal(original, picture(expected["refcoco_0_overlap.original_img_for_vae_u8"]))


def test_grefcoco(source: Path, expected: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> None:
    rows, reasons = split_rows(grefcoco.read(source / "grefcoco", image_root=source / "coco/train2014"))
    assert reasons == {} and len(rows) == 2
    for row, name in zip(rows, ("grefcoco_0_two", "grefcoco_1_empty"), strict=True):
        assert_painted(name, mask_of(row), expected, texts)
        assert row.phrases[0].lower() in texts[name]
    assert not mask_of(rows[1]).any()


def test_reasonseg(source: Path, expected: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> None:
    root = source / "reasonseg"
    folder = root / "train_new_231114"
    options: dict[str, Any] = {"image_root": root / "img", "mask_root": root / "mask"}
    (row,), _ = split_rows(reasonseg.read(folder, mask_threshold=255, **options))
    assert_painted("reasonseg_0", mask_of(row), expected, texts)
    (ours,), _ = split_rows(reasonseg.read(folder, **options))
    assert mask_of(ours).sum() > mask_of(row).sum()
    assert row.instructions[0] in texts["reasonseg_0"] and row.phrases[0].lower() in texts["reasonseg_0"]


def test_cocostuff(source: Path, expected: Mapping[str, np.ndarray], texts: Mapping[str, Any]) -> None:
    rows, reasons = split_rows(cocostuff.read(source, image_root=source / "coco/train2017"))
    assert reasons == {}
    for row, name in zip(rows, ("cocostuff_0_wide", "cocostuff_1_tall"), strict=True):
        assert row.image is not None and row.mask_image is not None
        pixels, labels = rgb(source / row.image.path), cocostuff.read_label_map(source / row.mask_image.path)
        original = picture(expected[f"{name}.original_img_for_vae_u8"])
        side = min(labels.shape)
        corners = [(y, x) for y in range(labels.shape[0] - side + 1) for x in range(labels.shape[1] - side + 1)]
        crops = [
            (y, x)
            for y, x in corners
            if np.array_equal(resized(pixels[y : y + side, x : x + side], Image.Resampling.LANCZOS), original)
        ]
        assert len(crops) == 1
        y, x = crops[0]
        request = texts[name].partition("<im_end>")[2].partition('"')[0].lower()
        (label,) = [
            i for i, p in zip(row.label_ids, row.phrases, strict=True) if re.search(rf"\b{p.lower()}\b", request)
        ]
        assert_painted(name, labels[y : y + side, x : x + side] == label, expected, texts)


def test_synthetic_and_llava(source: Path, texts: Mapping[str, Any]) -> None:
    rows, reasons = split_rows(synthetic.read(source / "reasonedit", file="info.json", image_root=source))
    assert reasons == {}
    for row, name in zip(rows, ("reasonedit_0", "reasonedit_1"), strict=True):
        assert any(instruction in texts[name] for instruction in row.instructions)
    rows, reasons = split_rows(llava.read(source / "llava", file="llava.json", image_root=source / "llava"))
    assert reasons == {}
    assert [row.conversation[0].text.partition("\n")[0] for row in rows] == ["<image>", "<image>"]
    assert rows[1].conversation[0].text == "<image>\nIs the knife red?"
