"""Checkpoints that do not hold what they promise are refused with the file and the weight that are wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from smartedit.config.model import load_model_config
from smartedit.model.build import build_model
from smartedit.model.checkpoints import PARTS, WEIGHTS, CheckpointError, check_checkpoint, load_model, save_model
from smartedit.model.smartedit import SmartEdit
from tests.tiny import TINY

SMALL = ("model.mllm.language.hidden_size=32", "model.mllm.language.vocab_size=50", "model.unet.block_channels=[8, 16]")


def small(*overrides: str) -> SmartEdit:
    return build_model(load_model_config(TINY, [*SMALL, *overrides]))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    save_model(small(), folder, max_shard_size="500KB")
    return folder


@pytest.fixture
def checkpoint(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_saved_model_loads_bit_for_bit(saved: Path) -> None:
    first = load_model(saved).state_dict()
    stored = [load_file(file) for part in PARTS for file in sorted((saved / part).glob("*.safetensors"))]
    values = {name: tensor for shard in stored for name, tensor in shard.items()}
    assert len(first) == sum(len(shard) for shard in stored)
    for name, tensor in first.items():
        assert torch.equal(tensor, values[name.partition(".")[2]])


def test_model_without_interaction_module(tmp_path: Path) -> None:
    save_model(small("model.bim.interaction=plain"), tmp_path)
    assert load_model(tmp_path).bim is None


def rename_a_weight(folder: Path) -> None:
    file = folder / "bim" / WEIGHTS
    state = load_file(file)
    state["modulate_body.weight"] = state.pop("modulate_head.weight")
    save_file(state, file, metadata={"format": "pt"})


def put_nan(folder: Path) -> None:
    file = folder / "empty_text" / WEIGHTS
    save_file({"features": torch.full_like(load_file(file)["features"], float("nan"))}, file, {"format": "pt"})


def take_other_qformer(folder: Path) -> None:
    shutil.rmtree(folder / "qformer")
    small("model.mllm.language.hidden_size=64").qformer.save_pretrained(folder / "qformer")


def set_vocabulary(folder: Path) -> None:
    path = folder / "mllm" / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["architecture"]["text_config"]["vocab_size"] += 3
    path.write_text(json.dumps(settings), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: next((f / "mllm").glob("*-00002-of-*")).unlink(), "shards missing: .*-00002-of-"),
        (lambda f: next((f / "mllm").glob("*.index.json")).write_text("{"), "broken index"),
        (lambda f: (f / "bim" / WEIGHTS).write_bytes(b"cut"), "cannot be read"),
        (lambda f: (f / "qformer" / "config.json").unlink(), "qformer missing"),
        (lambda f: (f / "unet" / "config.json").write_text("{"), "describes no unet"),
        (rename_a_weight, "modulate_head.weight is missing; modulate_body.weight is unknown"),
        (set_vocabulary, r"61, 32\], the configuration asks for \[64, 32\]"),
        (take_other_qformer, "encoder_size is 64, but the hidden states of mllm are 32 wide"),
        (put_nan, "hold NaN or infinity, first features"),
    ],
)
def test_damage_is_named(checkpoint: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(checkpoint)
    with pytest.raises(CheckpointError, match=message):
        load_model(checkpoint)


def test_only_values_need_reading(checkpoint: Path) -> None:
    put_nan(checkpoint)
    check_checkpoint(checkpoint)  # headers alone cannot tell
