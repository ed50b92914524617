"""The first training stage of the authors becomes the start of the second."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from smartedit.inference.conversion import Conversion, convert_stage1
from smartedit.inference.doctor import Examination, examine
from smartedit.model.layout import Place
from smartedit.model.released_check import LayoutError
from smartedit.model.released_sources import ReleasedError, ReleasedFolders
from tests.smartedit.released.conftest import Small, small_config, small_settings
from tests.smartedit.released.ingredients import LANGUAGE, random_values, write_ingredients
from tests.smartedit.released.test_conversion import tensors


@pytest.fixture(scope="module")
def values() -> dict[str, Tensor]:
    return random_values(small_config(), seed=5)


@pytest.fixture
def folders(tmp_path: Path, values: dict[str, Tensor], tokenizer_folder: Path) -> ReleasedFolders:
    """As for a released checkpoint, with the whole of LLaVA and the UNet's weights."""
    made = write_ingredients(tmp_path, small_config(), values, tokenizer_folder)
    llava = {
        n.replace(LANGUAGE, "model."): v.half() for n, v in values.items() if n.startswith(LANGUAGE) and "lora" not in n
    }
    llava |= {f"model.{n}": v for n, v in values.items() if n.startswith("mm_projector")}
    for name, added in (
        ("model.embed_tokens.weight", values[f"{LANGUAGE}embed_tokens.weight"]),
        ("lm_head.weight", values["lm_head.weight"]),
    ):
        llava[name] = added[:703]
    llava["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    for file in made.llava.glob("pytorch_model*"):
        file.unlink()
    torch.save(llava, made.llava / "pytorch_model.bin")
    unet = {n.removeprefix("unet."): v for n, v in values.items() if n.startswith("unet.")}
    save_file(unet, made.instruct_diffusion / "unet" / "diffusion_pytorch_model.safetensors")
    return made


@pytest.fixture
def stage1(tmp_path: Path, values: dict[str, Tensor]) -> Path:
    """QFormer by its names of stage 1, and 700 + 33 (here 9) rows whose values tell their numbers."""
    content = {n.removeprefix("sd_"): v for n, v in values.items() if n.startswith("sd_")}
    content["model.embed_tokens.weight"] = torch.arange(709.0)[:, None].expand(709, 64).clone()
    content["lm_head.weight"] = -content["model.embed_tokens.weight"]
    torch.save(content, tmp_path / "pytorch_model.bin")
    return tmp_path / "pytorch_model.bin"


def convert(stage1: Path, folders: ReleasedFolders, out: Path) -> Conversion:
    return convert_stage1(stage1, folders, out, small_settings())


def test_rows_move_to_their_new_ids(
    stage1: Path, folders: ReleasedFolders, values: dict[str, Tensor], tmp_path: Path
) -> None:
    mllm = tensors(convert(stage1, folders, tmp_path / "out").folder / "mllm")
    embedding, old = mllm["model.model.language_model.embed_tokens.weight"], values[f"{LANGUAGE}embed_tokens.weight"]
    assert embedding.shape == (711, 64)
    assert torch.equal(embedding[:700], old[:700]), "LLaVA's"
    assert embedding[700, 0] == 700, "<img> of stage 1"
    assert torch.equal(embedding[701:703], old[701:703]), "<im_start> and <im_end> of LLaVA"
    assert embedding[703:, 0].tolist() == list(range(701, 709)), "the [IMG] tokens of stage 1"
    assert mllm["model.lm_head.weight"][703:, 0].tolist() == [-row for row in range(701, 709)]


def test_the_result_is_ready_to_train_on(
    stage1: Path, folders: ReleasedFolders, values: dict[str, Tensor], tmp_path: Path
) -> None:
    from smartedit.model.checkpoints import load_model

    converted = convert(stage1, folders, tmp_path / "out")
    model = load_model(converted.folder)
    assert model.bim is None
    assert torch.equal(model.qformer.query_tokens, values["sd_query_tokens"])
    assert torch.equal(model.unet.conv_in.weight, values["unet.conv_in.weight"])
    attention = model.mllm.decoder.layers[1].self_attn.q_proj
    assert torch.equal(
        attention.base_layer.weight, values[f"{LANGUAGE}layers.1.self_attn.q_proj.weight"].half().bfloat16()
    )
    assert not attention.lora_B["default"].weight.any()
    assert attention.lora_A["default"].weight.float().std() > 0.01
    diagnosis = examine(converted.folder, Examination(hashes=False))
    assert [f.text for f in diagnosis.faults] == []
    assert any("LoRA is untouched" in f.text for f in diagnosis.findings)
    again = convert(stage1, folders, tmp_path / "again")
    name = Place(part="mllm", name="model.model.language_model.layers.0.self_attn.v_proj.lora_A.default.weight").name
    assert torch.equal(tensors(again.folder / "mllm")[name], tensors(converted.folder / "mllm")[name])


def test_what_does_not_fit_is_named(stage1: Path, folders: ReleasedFolders, tmp_path: Path) -> None:
    content = torch.load(stage1, weights_only=True)
    torch.save({n: v for n, v in content.items() if n != "query_tokens"}, tmp_path / "lacking.bin")
    with pytest.raises(LayoutError, match="query_tokens: missing"):
        convert(tmp_path / "lacking.bin", folders, tmp_path / "out")
    content["lm_head.weight"] = content["lm_head.weight"][:700]
    torch.save(content, tmp_path / "short.bin")
    with pytest.raises(ReleasedError, match=r"lm_head.weight has 700 rows; the first stage has 700 \+ 1 \+ 8"):
        convert(tmp_path / "short.bin", folders, tmp_path / "out")


def test_a_released_file_is_no_first_stage(small: Small, folders: ReleasedFolders, tmp_path: Path) -> None:
    qformer = next(small.folders.released.glob("embeddings_qformer/*.bin"))
    with pytest.raises(ReleasedError, match="--released"):
        convert(qformer, replace(folders), tmp_path / "out")
