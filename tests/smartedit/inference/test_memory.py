"""Where a model's parts fit, how it is loaded there, and in how many bits."""

import json
from pathlib import Path
from typing import Any

import pytest

from smartedit.inference.loading import LoadingError, LoadSettings, find_model, load_pipeline
from smartedit.inference.memory import Machine, PartSize, Placement, Precision, part_sizes, place_parts, usual_precision
from tests.smartedit.released.conftest import Small, small, tokenizer_folder  # noqa: F401

GIB = 2**30


@pytest.fixture
def sizes_7b(golden: Path) -> dict[str, PartSize]:
    """SmartEdit-7B's parts, from the released files' layout."""
    layout = json.loads((golden / "dev" / "checkpoint_layout.json").read_text(encoding="utf-8"))["7b"]
    counts = {group: sum(kinds.values()) for group, kinds in layout["param_count_by_group"].items()}
    language = sum(counts[g] for g in ("model", "llm_embed_tokens", "lm_head", "lora", "vision_tower", "mm_projector"))
    return {
        "mllm": PartSize(weights=language, quantizable=counts["model"]),
        "unet": PartSize(weights=counts["unet"], quantizable=0),
        "vae": PartSize(weights=counts["vae"], quantizable=0),
    }


@pytest.mark.parametrize(
    ("free", "precision", "placement"),
    [
        (40, Precision.FLOAT32, Placement.WHOLE),
        (24, Precision.FLOAT32, Placement.TOO_LARGE),
        (24, Precision.BFLOAT16, Placement.WHOLE),
        (16, Precision.BFLOAT16, Placement.OFFLOADED),
        (12, Precision.BFLOAT16, Placement.TOO_LARGE),
        (12, Precision.INT8, Placement.WHOLE),
        (8, Precision.INT4, Placement.WHOLE),
        (4, Precision.INT4, Placement.TOO_LARGE),
    ],
)
def test_smartedit_7b_on_cards(
    sizes_7b: dict[str, PartSize], free: int, precision: Precision, placement: Placement
) -> None:
    card = Machine(device="cuda", free=free * GIB, main_free=64 * GIB, name="a card")
    assert place_parts(sizes_7b, precision, card) is placement


def test_parts_do_not_wait_where_there_is_no_room(sizes_7b: dict[str, PartSize]) -> None:
    card = Machine(device="cuda", free=16 * GIB, main_free=8 * GIB, name="a card")
    assert place_parts(sizes_7b, Precision.BFLOAT16, card) is Placement.TOO_LARGE
    main = Machine(device="cpu", free=16 * GIB, main_free=16 * GIB, name="main memory")
    assert place_parts(sizes_7b, Precision.BFLOAT16, main) is Placement.TOO_LARGE, "on the CPU nothing is gained"
    assert usual_precision(card) is Precision.BFLOAT16
    assert usual_precision(main) is Precision.FLOAT32


def test_sizes_are_counted_from_the_files(small: Small) -> None:  # noqa: F811
    sizes = part_sizes(small.converted.folder)
    language = small.config.mllm.language
    of_layer = 4 * language.hidden_size**2 + 3 * language.hidden_size * language.intermediate_size
    assert sizes["mllm"].quantizable == language.num_layers * of_layer
    assert set(sizes) == {"mllm", "qformer", "bim", "unet", "vae", "empty_text"}
    assert sizes["unet"].bytes_at(Precision.FLOAT32) == 2 * sizes["unet"].bytes_at(Precision.INT8)


def test_what_does_not_fit_is_refused(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The machine is a small one here; the files are real."""
    sizes = part_sizes(small.converted.folder)
    needed = sum(size.bytes_at(Precision.FLOAT32) for size in sizes.values())
    machine = Machine(device="cpu", free=needed, main_free=needed, name="main memory")
    monkeypatch.setattr("smartedit.inference.loading.this_machine", lambda device: machine)
    with pytest.raises(LoadingError, match=r"--precision bfloat16 would fit"):
        load_pipeline(small.converted.folder)
    assert load_pipeline(small.converted.folder, LoadSettings(offload=False)).device.type == "cpu"


def test_a_model_that_is_not_there(small: Small, tmp_path: Path) -> None:  # noqa: F811
    assert find_model(small.converted.folder) == small.converted.folder
    with pytest.raises(LoadingError, match="owner/name on the hub, or a preset"):
        find_model(tmp_path / "nowhere")
    with pytest.raises(LoadingError, match="hf download nobody/nothing"):
        find_model("nobody/nothing")
    with pytest.raises(LoadingError, match="names no checkpoints"):
        load_pipeline("smartedit-13b")


def test_bits_without_bitsandbytes_say_what_to_install(small: Small) -> None:  # noqa: F811
    from smartedit.inference.quantization import QuantizationError

    if _has_bitsandbytes():
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(QuantizationError, match=r"smartedit\[quantized\]"):
        load_pipeline(small.converted.folder, LoadSettings(device="cpu", precision=Precision.INT8))


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_the_decoder_in_fewer_bits(small: Small, precision: Precision) -> None:  # noqa: F811
    """Needs the extra `quantized`; runs on the CPU."""
    pytest.importorskip("bitsandbytes", reason="the extra `quantized` is not installed")
    from PIL import Image

    picture, instruction = Image.new("RGB", (64, 64), "teal"), "make it blue"
    whole = load_pipeline(small.converted.folder, LoadSettings(device="cpu", precision=Precision.BFLOAT16))
    fewer = load_pipeline(small.converted.folder, LoadSettings(device="cpu", precision=precision))
    kinds = {type(module).__name__ for module in fewer.mllm.decoder.layers.modules()}
    assert ("Linear8bitLt" if precision is Precision.INT8 else "Linear4bit") in kinds
    weight = fewer.mllm.decoder.layers[0].mlp.up_proj.weight
    full = whole.mllm.decoder.layers[0].mlp.up_proj.weight
    held = weight.numel() * weight.element_size()
    assert held == full.numel() * full.element_size() / (2 if precision is Precision.INT8 else 4)
    h, exact = (p.read([picture], [instruction])[0].hidden_states.float() for p in (fewer, whole))
    assert (h - exact).norm() / exact.norm() < (0.1 if precision is Precision.INT8 else 0.6)
    assert fewer(picture, instruction, num_inference_steps=1).images[0].size == (64, 64)


def test_no_weight_is_read_twice(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Neither by the check of names and shapes, which headers are enough for, nor by the library that loads."""
    import safetensors.torch

    read: list[str] = []
    load_file = safetensors.torch.load_file

    def counted(path: str, *arguments: Any, **settings: Any) -> dict[str, Any]:
        read.append(str(path))
        return load_file(path, *arguments, **settings)

    monkeypatch.setattr(safetensors.torch, "load_file", counted)
    load_pipeline(small.converted.folder, LoadSettings(device="cpu"))
    assert sorted(read) == sorted(str(file) for file in small.converted.folder.rglob("*.safetensors"))


def _has_bitsandbytes() -> bool:
    import importlib.util

    return importlib.util.find_spec("bitsandbytes") is not None
