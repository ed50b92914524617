"""Rows of the alignment stage: the authors' tokens and labels, the same on any worker, too long captions."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from smartedit.config.loading import load_tree
from smartedit.config.mixture import MixtureConfig
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
from smartedit.data.decoding import DecodingError
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture
from smartedit.model.prompts import Phrasing, PromptError, Prompts, read_prompts
from smartedit.model.tokenizer import add_img_tokens, load_tokenizer
from smartedit.training.captions import CaptionDataset, caption_sources
from tests.benchmark.tiny_pipeline import tiny_tokenizer
from tests.smartedit.model.recipe import Reference, tokenizer_of

SOURCES = """
[sources.cc12m]
root = "."

[sources.other]
kind = "cc12m"
root = "."
file = "other.tsv"

[sources.synthetic]
root = "."
file = "info.json"
images = "."
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Captions of two sources, and an edit beside them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("captions")
    for name, count in (("cc12m", 30), ("other", 10)):
        lines = [f"https://x/{i}\t{name} caption number {i}\n" for i in range(count)]
        (folder / f"{name}.tsv").write_text("".join(lines))
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
    row = {"origin_img_path": "a.png", "target_img_path": "b.png", "instruction": ["make it night"]}
    (folder / "info.json").write_text(json.dumps({"0000": row}))
    (folder / "sources.toml").write_text(SOURCES)
    config = load_tree(ManifestConfig, source=folder / "sources.toml")
    return Manifest(build_manifest(config, folder / "out", data_root=folder).manifest)


@pytest.fixture(scope="module")
def tokens(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both tokenizers, as the data set wants them."""
    tokenizer = load_tokenizer(tokenizer_of(golden))
    layout = add_img_tokens(tokenizer, 32)
    clip = tiny_tokenizer(tmp_path_factory.mktemp("clip"))
    return {"tokenizer": tokenizer, "layout": layout, "text_tokenizer": clip, "num_queries": 77}


@pytest.fixture(scope="module")
def dataset(manifest: Manifest, tokens: dict[str, Any]) -> CaptionDataset:
    return CaptionDataset(manifest, ["cc12m", "other"], length=24, **tokens)


def test_rows_are_captions_with_an_answer_to_learn(dataset: CaptionDataset) -> None:
    rows = [dataset[i] for i in range(len(dataset))]
    assert {row.example_id.partition("/")[0] for row in rows} == {"cc12m", "other"}
    assert len({tuple(row.input_ids[:60]) for row in rows}) > 3, "phrasings differ"
    layout = dataset.layout
    for row in rows:
        name, number = row.example_id.split("/")
        request = dataset.tokenizer.decode(row.input_ids[: row.targets.count(-100)])
        assert f'"{name} caption number {int(number)}"' in request and request.endswith("ASSISTANT:")
        answer = row.targets[row.targets.count(-100) :]
        assert answer == row.input_ids[-len(answer) :] and answer[-33:] == [*layout.img_tokens, layout.eos]
        end = dataset.text_tokenizer.eos_token_id
        assert len(row.clip_ids) == 77 and row.clip_ids[-1] == end and row.clip_ids[0] == end - 1
    assert rows[5] == dataset[5]
    with pytest.raises(IndexError, match="position 24"):
        dataset[24]


def test_batches_are_padded_and_the_same_on_every_worker(dataset: CaptionDataset) -> None:
    alone, forked = (list(DataLoader(dataset, batch_size=6, collate_fn=dataset.collate, num_workers=n)) for n in (0, 2))
    for a, b in zip(alone, forked, strict=True):
        assert torch.equal(a.sequences.input_ids, b.sequences.input_ids) and torch.equal(a.clip_ids, b.clip_ids)
    batch = alone[0].to("cpu")
    rows = [dataset[i] for i in range(6)]
    assert batch.clip_ids.shape == (6, 77) and batch.clip_ids.dtype == torch.long
    assert batch.sequences.attention_mask.sum(dim=1).tolist() == [len(row.input_ids) for row in rows]
    assert batch.sequences.img_mask.sum(dim=1).tolist() == [32] * 6
    assert not (batch.sequences.targets[~batch.sequences.attention_mask] != -100).any()
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[3] == rows[3]


def test_unknown_words_are_read_though_their_token_also_pads(dataset: CaptionDataset) -> None:
    row = dataset.assemble("x/0", "a <unk> and a <unk>", 0)
    assert dataset.layout.pad in row.input_ids
    assert dataset.collate([row]).sequences.attention_mask.all()


def test_too_long_a_caption_is_halved_for_both_encoders(dataset: CaptionDataset, tokens: dict[str, Any]) -> None:
    caption = "seven red apples on a table " * 40
    row = dataset.assemble("x/0", caption, 0)
    assert 150 < len(row.input_ids) <= 256
    left = caption.strip()
    while left not in dataset.tokenizer.decode(row.input_ids):
        left = left[: len(left) // 2].rstrip()
    assert f'"{left}"' in dataset.tokenizer.decode(row.input_ids) and len(left) < len(caption) / 2
    expected = dataset.text_tokenizer(left, truncation=True, max_length=77, padding="max_length").input_ids
    assert row.clip_ids == expected
    none = CaptionDataset(dataset.manifest, dataset.mixture, length=1, max_tokens=60, **tokens)
    with pytest.raises(PromptError, match="without a caption, over 60"):
        none[0]


def test_an_answer_that_names_the_caption_gets_it(dataset: CaptionDataset, tokens: dict[str, Any]) -> None:
    prompts = Prompts(system="S", phrasings=(Phrasing(request="Draw [cap].", answer="Here is [cap] [img]."),))
    named = CaptionDataset(dataset.manifest, ["cc12m"], length=1, prompts=prompts, **tokens)
    row = named.assemble("x/0", "a red apple", 0)
    text = dataset.tokenizer.decode(row.input_ids)
    assert text.count('"a red apple"') == 2 and "[cap]" not in text


def test_a_mixture_can_weigh_the_sources(manifest: Manifest, tokens: dict[str, Any]) -> None:
    mixture = Mixture.over(manifest.sizes, MixtureConfig(weights={"cc12m": 1, "other": 9}, seed=5))
    weighed = CaptionDataset(manifest, mixture, length=200, **tokens)
    others = sum(weighed[i].example_id.startswith("other/") for i in range(200))
    alike = CaptionDataset(manifest, ["cc12m", "other"], length=200, **tokens)
    assert others > 160 > 80 > sum(alike[i].example_id.startswith("other/") for i in range(200)) > 20


def test_sources_without_captions_are_refused(manifest: Manifest, tokens: dict[str, Any]) -> None:
    assert caption_sources(manifest) == ["cc12m", "other"]
    for names, reason in (
        (["synthetic"], "holds 1 x edit.*with captions: cc12m, other"),
        (["cc"], "'cc' holds no rows"),
    ):
        with pytest.raises(DecodingError, match=reason):
            CaptionDataset(manifest, names, length=1, **tokens)


@pytest.mark.parity
def test_tokens_are_the_authors(dataset: CaptionDataset, tokens: dict[str, Any], golden: Path, tmp_path: Path) -> None:
    """Their phrasings are read from the reference set's token ids; none is stored here.

    The authors' alignment stage lacks `<im_start>` and `<im_end>`, so that its [IMG] tokens stand two places lower.
    """
    reference = Reference(golden, "stage1")
    captions, lines, read = reference.meta["captions"], list[str](), []
    for ids, attended in zip(reference["in.input_ids"], reference["in.attention_mask"], strict=True):
        read.append([token + 2 * (token > 700) for token in ids[attended.bool()].tolist()])
    for caption, ids in zip(captions, read, strict=True):
        text = dataset.tokenizer.decode(ids).removeprefix("<s>").removesuffix("</s>").strip()
        system, _, rest = text.partition(" USER: ")
        request, _, answer = rest.partition(" ASSISTANT: ")
        lines = lines or [f"system = {json.dumps(system)}"]
        request, answer = request.replace(f'"{caption}"', "[cap]"), answer.partition("<img_0>")[0].strip() + " [img]."
        lines.append(f"[[phrasings]]\nrequest = {json.dumps(request)}\nanswer = {json.dumps(answer)}")
    (tmp_path / "phrasings.toml").write_text("\n".join(lines))
    prompts = read_prompts(tmp_path / "phrasings.toml")
    theirs = CaptionDataset(dataset.manifest, ["cc12m"], length=1, prompts=prompts, **tokens)
    rows = [theirs.assemble("x/0", caption, number) for number, caption in enumerate(captions)]
    for number, row in enumerate(rows):
        labels = reference["in.labels"][number]
        assert row.input_ids == read[number]
        assert row.targets == [t + 2 * (t > 700) for t in labels[: len(row.targets)].tolist()]
        assert row.clip_ids == reference["in.input_ids_clip_format"][number].tolist()
    batch = theirs.collate(rows).sequences
    assert torch.equal(batch.img_mask, reference["in.encoder_attention_mask"].bool()[:, : batch.img_mask.shape[1]])
