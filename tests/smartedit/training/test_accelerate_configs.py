"""The configuration files for accelerate: it reads them as `accelerate launch` does, and they name layers there are."""

from types import SimpleNamespace

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DistributedType
from accelerate.utils.dataclasses import get_module_class_from_name

from smartedit.config.model import load_model_config
from smartedit.model.build import build_model
from smartedit.training.sharding import ShardingError, chosen_sharding
from tests.smartedit.training.launching import FOLDER, launched

KINDS = {
    "single": DistributedType.NO,
    "multi-gpu": DistributedType.MULTI_GPU,
    "fsdp-7b": DistributedType.FSDP,
    "fsdp-13b": DistributedType.FSDP,
    "zero2-7b": DistributedType.FSDP,
    "zero2-13b": DistributedType.FSDP,
    "deepspeed-zero2": DistributedType.DEEPSPEED,
}


def test_all_that_ship_are_known() -> None:
    assert {p.name for p in FOLDER.iterdir()} == {f"{name}.yaml" for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_it(name: str) -> None:
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert config.distributed_type == KINDS[name]
    assert config.num_processes == (1 if name == "single" else 8)


@pytest.mark.parametrize("name", ["fsdp-7b", "fsdp-13b", "zero2-7b", "zero2-13b"])
def test_sharded_layers_are_those_of_the_model(name: str) -> None:
    arguments = launched(name)
    assert arguments.use_fsdp and arguments.fsdp_version == 2 and arguments.mixed_precision == "bf16"
    assert arguments.fsdp_reshard_after_forward is name.startswith("fsdp")
    with torch.device("meta"):
        model = build_model(load_model_config(f"smartedit-{name.partition('-')[2]}"))
    layers = arguments.fsdp_transformer_layer_cls_to_wrap.split(",")
    assert [layer for layer in layers if get_module_class_from_name(model, layer) is None] == []
    wrapped = tuple(get_module_class_from_name(model, layer) for layer in layers)
    inside = sum(p.numel() for m in model.modules() if isinstance(m, wrapped) for p in m.parameters())
    assert inside > 0.9 * sum(p.numel() for p in model.parameters())


def test_the_first_fsdp_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(ShardingError, match="fsdp_version: 2"):
        chosen_sharding(SimpleNamespace(distributed_type=DistributedType.MULTI_CPU))  # type: ignore[arg-type]
