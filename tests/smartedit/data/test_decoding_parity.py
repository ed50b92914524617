"""Pictures, token ids, labels and masks of training rows against what the authors' eight loaders make of one set.

Their phrasings are read from the reference set as a user's file of phrasings; none is stored here.
"""

import itertools
import json
import pickle
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from smartedit.config.loading import load_tree
from smartedit.config.mixture import MixtureConfig
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
from smartedit.data.decoding import Decoder, DecodingRules, Visit
from smartedit.data.examples import Task, TrainingExample
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture
from smartedit.data.segmentation import COLORS, Painting
from smartedit.model.prompts import read_prompts
from smartedit.model.tokenizer import add_img_tokens, load_tokenizer
from smartedit.training.dataset import ManifestDataset, RowFormat
from tests.smartedit.model.recipe import tokenizer_of

SIDE = 64
pytestmark = pytest.mark.parity

SOURCES = """
[sources.synthetic]
root = "reasonedit"
file = "info.json"
images = "."

[sources.instructpix2pix]
root = "ip2p-folders"

[sources.magicbrush]
root = "MagicBrush"
split = "dev"

[sources.llava]
root = "llava"
file = "llava.json"
images = "llava"

[sources.reasonseg]
root = "reasonseg/train_new_231114"
images = "reasonseg/img"
masks = "reasonseg/mask"
mask_threshold = 255

[sources.refcoco]
root = "refcoco"
images = "coco/train2014"
overlap = "smartedit"

[sources.grefcoco]
root = "grefcoco"
images = "coco/train2014"

[sources.cocostuff]
root = "."
images = "coco/train2017"
"""
SAMPLES = {
    "synthetic": ["reasonedit_0", "reasonedit_1"],
    "instructpix2pix": ["ip2p_0", "ip2p_1_overflow"],
    "magicbrush": ["magicbrush_0"],
    "llava": ["llava_0_two_rounds", "llava_1_image_last"],
    "reasonseg": ["reasonseg_0"],
    "refcoco": ["refcoco_0_overlap"],
    "grefcoco": ["grefcoco_0_two", "grefcoco_1_empty"],
    "cocostuff": ["cocostuff_0_wide", "cocostuff_1_tall"],
}


@pytest.fixture(scope="module")
def reference(golden: Path) -> Path:
    folder = golden / "dev"
    if not (folder / "data.json").is_file():
        pytest.skip("dev/data.json is not among the reference sets that SMARTEDIT_GOLDEN names")
    return folder


@pytest.fixture(scope="module")
def samples(reference: Path) -> Mapping[str, Any]:
    read: Mapping[str, Any] = json.loads((reference / "data.json").read_text(encoding="utf-8"))["samples"]
    return read


@pytest.fixture(scope="module")
def manifest(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """The reference set's files in the public layouts, and the manifest built of them."""
    folder = tmp_path_factory.mktemp("reference")
    root = folder / "data"
    shutil.copytree(reference / "data_src", root)
    references = root / "refcoco/refcoco/refs(unc).json"
    references.with_suffix(".p").write_bytes(pickle.dumps(json.loads(references.read_text()), protocol=2))
    references.unlink()
    (root / "refcoco/refcoco").rename(root / "moved")
    (root / "refcoco").rmdir()
    (root / "moved").rename(root / "refcoco")
    for number, prompt in enumerate(json.loads((root / "ip2p/prompts.json").read_text())):
        pair = root / f"ip2p-folders/{number:07d}"
        pair.mkdir(parents=True)
        (pair / "prompt.json").write_text(json.dumps({"edit": prompt}))
        for index, kind in enumerate(("original", "edited")):
            with Image.open(root / f"ip2p/{number}_{kind}.png") as picture:
                picture.save(pair / f"1_{index}.jpg", "PNG")  # lossless, under the layout's name
    session = root / "MagicBrush/dev/images/1"
    session.mkdir(parents=True)
    for kind, name in (("source", "1-input.png"), ("target", "1-output1.png"), ("source", "1-mask1.png")):
        shutil.copy(root / f"magicbrush/0_{kind}.png", session / name)
    (prompt,) = json.loads((root / "magicbrush/prompts.json").read_text())
    turn = {"input": "1-input.png", "mask": "1-mask1.png", "output": "1-output1.png", "instruction": prompt}
    (root / "MagicBrush/dev/edit_sessions.json").write_text(json.dumps({"1": [turn]}))
    (folder / "sources.toml").write_text(SOURCES)
    config = load_tree(ManifestConfig, source=folder / "sources.toml")
    return Manifest(build_manifest(config, folder / "out", data_root=root).manifest)


@pytest.fixture(scope="module")
def dataset(manifest: Manifest, samples: Mapping[str, Any], golden: Path, tmp_path_factory: Any) -> ManifestDataset:
    path = tmp_path_factory.mktemp("phrasings") / "phrasings.toml"
    texts = {name: spoken(sample["conversation"]) for name, sample in samples.items() if sample["conversation"]}
    system = next(iter(texts.values())).partition(" USER: ")[0]
    lines = [f"system = {json.dumps(system)}"]
    for text in texts.values():
        request, answer = phrasing_of(text)
        lines.append(f"[[phrasings]]\nrequest = {json.dumps(request)}\nanswer = {json.dumps(answer)}")
    path.write_text("\n".join(lines), encoding="utf-8")
    tokenizer = load_tokenizer(tokenizer_of(golden))
    layout = add_img_tokens(tokenizer, 32)
    mixture = Mixture.over(manifest.sizes, MixtureConfig(weights=dict.fromkeys(SAMPLES, 1.0)))
    return ManifestDataset(
        manifest,
        mixture,
        tokenizer=tokenizer,
        layout=layout,
        length=100,
        rows=RowFormat(prompts=read_prompts(path)),
        rules=DecodingRules(side=SIDE, view="full"),
    )


def spoken(conversation: Any) -> str:
    """The text; of an over-long row the one that came last, whose instruction is empty."""
    return str(conversation[-1] if isinstance(conversation, list) else conversation)


def phrasing_of(text: str) -> tuple[str, str]:
    human, _, answer = text.partition(" USER: ")[2].partition(" ASSISTANT: ")
    before, _, rest = human.partition('"<im_start>')
    after = rest.partition("<im_end>")[2].partition('"')[2]
    return f"{before}[cap]{after}", f"{answer.partition(' <img_0>')[0]} [img]."


def instruction_of(conversation: Any) -> str:
    first = conversation[0] if isinstance(conversation, list) else conversation
    return str(first.partition("<im_end>")[2].partition('"')[0])


def visit_of(
    decoder: Decoder, example: TrainingExample, name: str, samples: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> Visit:
    """What the authors' loader drew for a sample, read from its request and its picture."""
    if example.task is Task.ANSWER:
        return Visit()
    request = instruction_of(samples[name]["conversation"])
    if example.task is Task.EDIT:
        return Visit(instruction=request)
    sides = decoder.store.open(example.image).size if example.image and example.mask_image else (1, 1)
    corners = [(x, y) for x in range(sides[0] - min(sides) + 1) for y in range(sides[1] - min(sides) + 1)]
    wanted = [tensors[f"{name}.{kind}_u8"].transpose(1, 2, 0) for kind in ("original_img_for_vae", "edited_img")]
    for corner, label, color in itertools.product(corners, example.label_ids or [None], COLORS):
        painting = Painting(instruction=request, color=color, phrase=None, label_id=label)
        visit = Visit(painting=painting, corner=corner if example.mask_image else None)
        decoded = decoder.decode(example, visit)
        assert decoded.source is not None and decoded.target is not None
        if not np.array_equal(decoded.source, wanted[0]):
            continue
        is_asked_for = label is None or example.phrases[example.label_ids.index(label)].lower() in request.lower()
        if re.search(rf"\b{color}\b", request) and is_asked_for and np.array_equal(decoded.target, wanted[1]):
            return visit
    raise AssertionError(f"{name}: nothing that the request can mean gives the reference's pictures")


def cases() -> Iterator[Any]:
    for source, names in SAMPLES.items():
        for number, name in enumerate(names):
            yield pytest.param(source, number, name, id=name)


@pytest.mark.parametrize(("source", "number", "name"), cases())
def test_row_is_the_authors(
    source: str, number: int, name: str, dataset: ManifestDataset, samples: Mapping[str, Any], reference: Path
) -> None:
    tensors, sample = load_file(reference / "data.safetensors"), samples[name]
    example = list(dataset.manifest.examples(source))[number]
    decoder = Decoder.of(dataset.manifest, dataset.rules)
    decoded = decoder.decode(example, visit_of(decoder, example, name, samples, tensors))
    phrasings = [(p.request, p.answer) for p in dataset.rows.prompts.phrasings]
    text = spoken(sample["conversation"]) if sample["conversation"] else None
    row = dataset.assemble(example, decoded, phrasings.index(phrasing_of(text)) if text else 0)

    assert row.input_ids == sample["input_ids_without_padding"]
    assert row.targets == sample["targets"]
    img_tokens = [i for i, token in enumerate(row.input_ids) if token in dataset.layout.img_tokens]
    assert img_tokens == sample["qformer_mask_positions"]
    assert len(row.input_ids) == sample["attention_mask_sum"]
    assert row.is_edit == bool(sample["is_editing_task"])
    seen = row.pixel_values[:, ::8, ::8].numpy()
    assert np.abs(seen - tensors[f"{name}.original_img_strided8"]).max() < 1e-5
    if example.task is Task.ANSWER:
        assert not row.source.any() and not row.target.any()
        return
    for tensor, kind in ((row.source, "original_img_for_vae"), (row.target, "edited_img")):
        expected = 2 * (tensors[f"{name}.{kind}_u8"].astype(np.float32) / 255) - 1
        assert np.abs(tensor.numpy() - expected).max() < 1e-6
    batch = dataset.collate([row])
    assert batch.sequences.attention_mask.all() and batch.sequences.img_mask.sum() == len(img_tokens) - 1
