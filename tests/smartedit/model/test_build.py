"""The presets at real size, against the names and shapes of the released files."""

import json
from pathlib import Path

import pytest
import torch

from smartedit.config.model import Interaction, as_released, load_model_config
from smartedit.model.build import build_bim, build_model
from smartedit.model.layout import UnknownNameError, place
from smartedit.model.smartedit import SmartEdit
from tests.smartedit.model.recipe import sets_of
from tests.tiny import TINY


def on_meta(preset: str) -> SmartEdit:
    with torch.device("meta"):
        return build_model(as_released(load_model_config(preset)))


@pytest.mark.parity
@pytest.mark.parametrize("size", ["7b", "13b"])
def test_every_released_parameter_has_its_place_and_shape(golden: Path, size: str) -> None:
    layout = json.loads((sets_of(golden) / "checkpoint_layout.json").read_text(encoding="utf-8"))[size]
    ours = on_meta(f"smartedit-{size}").state_dict()
    filled = set()
    for file, parameters in layout["files"].items():
        assert len(parameters) == layout["n_keys"][file]
        for released, (shape, _) in parameters.items():
            where = place(released)
            if where is None:
                continue
            name = f"{where.part}.{where.name}"
            assert list(ours[name].shape) == shape, name
            filled.add(name)
    left = {name for name in ours if name not in filled and "vision_tower" not in name}
    assert left == {"empty_text.features"}


@pytest.mark.parity
@pytest.mark.parametrize("size", ["7b", "13b"])
def test_parameter_counts_of_the_groups(golden: Path, size: str) -> None:
    layout = json.loads((sets_of(golden) / "checkpoint_layout.json").read_text(encoding="utf-8"))[size]
    expected = {group: sum(counts.values()) for group, counts in layout["param_count_by_group"].items()}
    counts = dict.fromkeys(expected, 0)
    model = on_meta(f"smartedit-{size}")
    for name, parameter in model.named_parameters():
        group = group_of(name)
        if group:
            counts[group] += parameter.numel()
    named = {k: v for k, v in expected.items() if k not in {"vae", "pe_layer", "CLIP_text"} and counts[k]}
    assert {k: counts[k] for k in named} == named
    assert len(named) >= 12


def group_of(name: str) -> str | None:
    """The authors' group of one of our parameters."""
    if "lora_" in name:
        return "lora"
    table = {
        "qformer.query_tokens": "sd_query_tokens",
        "qformer.": "sd_qformer",
        "mllm.model.model.language_model.embed_tokens": "llm_embed_tokens",
        "mllm.model.model.language_model.": "model",
        "mllm.model.lm_head": "lm_head",
        "mllm.model.model.vision_tower.": "vision_tower",
        "mllm.model.model.multi_modal_projector": "mm_projector",
        "bim.modulate_head": "modulate_head",
        "bim.modulate_transformer": "modulate_transformer",
        "bim.dimension_reduction_head_zeroconv": "dimension_reduction_head_zeroconv",
        "bim.dimension_reduction_head_qformer_out": "dimension_reduction_head_qformer_out",
        "unet.": "unet",
    }
    return next((group for prefix, group in table.items() if name.startswith(prefix)), None)


@pytest.mark.parametrize("preset", ["smartedit-7b", "smartedit-13b"])
def test_presets_hold_the_papers_values(preset: str) -> None:
    config = load_model_config(preset)
    assert (config.mllm.lora.rank, config.mllm.lora.alpha) == (16, 27)
    assert (config.mllm.num_img_tokens, config.qformer.num_layers, config.qformer.num_queries) == (32, 6, 77)
    assert (config.bim.depth, config.bim.final_attention) == (1, False)


def test_meta_device_holds_every_weight() -> None:
    assert {p.device.type for p in on_meta("smartedit-13b").parameters()} == {"meta"}


def test_plain_model_has_no_interaction_module() -> None:
    config = load_model_config(TINY, ["model.bim.interaction=plain"])
    assert config.bim.interaction is Interaction.PLAIN
    assert build_bim(config.bim, text_size=8, output_size=8) is None


def test_foreign_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no name of a released"):
        place("model.layers.0.mlp.weight")
