"""A tiny pipeline, a tiny manifest, and stages trained on them for a few steps."""

import json
from pathlib import Path

import pytest
import torch

from smartedit.config.loading import load_tree
from smartedit.config.model import ModelConfig, load_model_config
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
from smartedit.inference.build import build_pipeline
from smartedit.model.build import build_text_encoder
from smartedit.model.tokenizer import load_tokenizer
from tests.benchmark.tiny_pipeline import tiny_tokenizer, write_tiny_pipeline
from tests.smartedit.data.trees import box, said, save_json, save_picture, write_reasonseg
from tests.smartedit.model.recipe import tokenizer_of
from tests.smartedit.training.tiny_stages import MODEL, TinyStages
from tests.tiny import TINY

SOURCES = """
[sources.synthetic]
root = "synthetic"

[sources.llava]
root = "."

[sources.reasonseg]
root = "."

[sources.cc12m]
root = "."
"""
MIXTURE = "[weights]\nsynthetic = 3\nreasonseg = 1\nllava = 1\n"


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve edits, three segmentations, four conversations and ten captions; not to be changed."""
    return write_manifest(tmp_path_factory.mktemp("data"))


def write_manifest(folder: Path, edits: int = 12) -> Path:
    pairs = {}
    for i in range(edits):
        for name, seed in (("before", i), ("after", i + 50)):
            save_picture(folder / f"synthetic/{name}{i}.png", (32, 32), seed)
        paths = {"origin_img_path": f"before{i}.png", "target_img_path": f"after{i}.png"}
        pairs[f"{i:04}"] = {**paths, "instruction": [f"edit number {i}"], "category": "mirror"}
    save_json(folder / "synthetic/SyntheticData_info_new.json", pairs)
    for stem in ("a", "b", "c"):
        write_reasonseg(folder / "ReasonSeg/train", stem, [box("target", 2, 2, 20, 20)])
    turns = []
    for i in range(4):
        save_picture(folder / f"coco/train2017/{i:012d}.jpg", (32, 32), i)
        talk = said("What?\n<image>", f"This is {i}.")
        turns.append({"id": str(i), "image": f"{i:012d}.jpg", "conversations": talk})
    save_json(folder / "LLaVA/llava_instruct_150k.json", turns)
    (folder / "cc12m.tsv").write_text("".join(f"https://x/{i}\tcaption number {i}\n" for i in range(10)))
    (folder / "sources.toml").write_text(SOURCES)
    config = load_tree(ManifestConfig, source=folder / "sources.toml")
    build_manifest(config, folder / "manifest", data_root=folder)
    (folder / "mixture.toml").write_text(MIXTURE)
    return folder / "manifest"


@pytest.fixture(scope="session")
def model_config() -> ModelConfig:
    return load_model_config(TINY, MODEL)


@pytest.fixture(scope="session")
def start(model_config: ModelConfig, golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random pipeline."""
    torch.manual_seed(7)
    folder = tmp_path_factory.mktemp("start")
    build_pipeline(model_config, load_tokenizer(tokenizer_of(golden))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text_encoder(model_config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CLIP's text model with its tokenizer."""
    torch.manual_seed(8)
    folder = tmp_path_factory.mktemp("text")
    size = model_config.qformer
    build_text_encoder(model_config.text, hidden_size=size.hidden_size, num_tokens=size.num_queries).save_pretrained(
        folder
    )
    tiny_tokenizer(folder / "words").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random InstructPix2Pix pipeline."""
    return write_tiny_pipeline(tmp_path_factory.mktemp("editor"))


@pytest.fixture(scope="session")
def run_stage(manifest: Path, start: Path, text_encoder: Path, editor: Path, model_config: ModelConfig) -> TinyStages:
    return TinyStages(manifest=manifest, start=start, text_encoder=text_encoder, editor=editor, model=model_config)


def same_states(run: Path, other: Path) -> None:
    """The optimizer's states in the last checkpoints of two runs, weight by weight, each against its own size."""
    found, expected = (
        torch.load(max((r / "checkpoints").iterdir()), weights_only=True)["optimizer"] for r in (run, other)
    )
    assert [g["params"] for g in found["param_groups"]] == [g["params"] for g in expected["param_groups"]]
    assert found["state"].keys() == expected["state"].keys()
    for number, state in expected["state"].items():
        assert found["state"][number].keys() == state.keys()
        for name, values in state.items():
            size = values.norm()
            assert (found["state"][number][name] - values).norm() <= 0.02 * size + 1e-9, (number, name, size)


def metrics(run: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without what depends on the clock."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    clock = {"seconds", "waited", "samples_per_second"}
    return [{name: value for name, value in line.items() if name not in clock} for line in lines]
