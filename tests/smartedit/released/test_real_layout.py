"""The authors' 7B and 13B files by their real names, shapes and dtypes, without their values."""

import json
from pathlib import Path

import pytest

from smartedit.config.model import ModelConfig, as_released, load_model_config
from smartedit.model.layout import Place
from smartedit.model.released_check import LayoutError, check_parts, shapes_of
from smartedit.model.released_files import TensorEntry, WeightFiles
from smartedit.model.released_sources import ReleasedParts
from smartedit.model.released_weights import EMBEDDING

pytestmark = pytest.mark.parity
STEP = 15000


def published(golden: Path, size: str) -> ReleasedParts:
    layout = json.loads((golden / "dev" / "checkpoint_layout.json").read_text(encoding="utf-8"))[size]["files"]
    files = {}
    for name, tensors in layout.items():
        entries = {n: TensorEntry(shape=tuple(s), dtype=d, file=Path(name)) for n, (s, d) in tensors.items()}
        files[name.partition("/")[0].partition("-")[0]] = WeightFiles(place=Path(name), entries=entries)
    lora = as_released(ModelConfig()).mllm.lora
    assert lora is not None
    return ReleasedParts(
        step=STEP,
        language=files["LLM"],
        qformer=files["embeddings_qformer"],
        unet=files["unet"],
        bim=files["modulate"],
        lora=lora,
        notes=(),
    )


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return as_released(load_model_config("smartedit-7b"))


@pytest.fixture(scope="module")
def shapes(config: ModelConfig) -> dict[Place, tuple[int, ...]]:
    return shapes_of(config)


def test_the_7b_files_fit(golden: Path, config: ModelConfig, shapes: dict[Place, tuple[int, ...]]) -> None:
    check_parts(published(golden, "7b"), shapes, config)
    assert shapes[EMBEDDING] == (32035, 4096)


def test_the_13b_files_do_not_fit_the_7b_model(
    golden: Path, config: ModelConfig, shapes: dict[Place, tuple[int, ...]]
) -> None:
    with pytest.raises(LayoutError) as caught:
        check_parts(published(golden, "13b"), shapes, config)
    assert "is of a 13B model, --vicuna of a 7B model: take both of one size" in caught.value.hints[0]
    kinds = {fault.fault.partition(" ")[0] for fault in caught.value.faults}
    assert kinds == {"has", "unexpected"}, "wrong widths, and eight layers too many"
    assert sum(fault.fault == "unexpected" for fault in caught.value.faults) == 8 * 13


def test_one_part_of_another_size_is_found(
    golden: Path, config: ModelConfig, shapes: dict[Place, tuple[int, ...]]
) -> None:
    from dataclasses import replace

    mixed = replace(published(golden, "7b"), qformer=published(golden, "13b").qformer)
    with pytest.raises(LayoutError) as caught:
        check_parts(mixed, shapes, config)
    assert {f.file.parent.name for f in caught.value.faults} == {"embeddings_qformer"}
    assert "has shape [32035, 5120], the model wants [32035, 4096]" in str(caught.value)
