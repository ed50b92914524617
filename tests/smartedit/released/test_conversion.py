"""The converter keeps every value, resumes to the same bytes, and refuses what does not fit in plain words."""

import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from torch import Tensor

from reason_edit.files import file_sha256
from smartedit.inference.conversion import ConversionSettings, convert_released
from smartedit.model.released_check import LayoutError
from smartedit.model.released_files import WeightFileError, read_weight_files
from smartedit.model.released_shards import Fp16OverflowError
from smartedit.model.released_sources import ReleasedError, ReleasedFolders
from tests.smartedit.released.conftest import Small, small_config, small_settings
from tests.smartedit.released.ingredients import LANGUAGE, STEP, random_values, released_name

LLM = f"LLM-{STEP}/adapter_model.bin"
QFORMER = f"embeddings_qformer/checkpoint-{STEP}_embeddings_qformer.bin"


def tensors(folder: Path) -> dict[str, Tensor]:
    return {name: value for file in folder.glob("*.safetensors") for name, value in load_file(file).items()}


def hashes(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def folders(small: Small, tmp_path: Path) -> ReleasedFolders:
    """The ingredients to spoil: the released files are copies, the other folders are shared."""
    shutil.copytree(small.folders.released, tmp_path / "released")
    return replace(small.folders, released=tmp_path / "released")


def change(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    content = torch.load(path, weights_only=True)
    edit(content)
    torch.save(content, path)


def refusal(folders: ReleasedFolders, out: Path, settings: ConversionSettings | None = None) -> str:
    with pytest.raises(ValueError) as caught:
        convert_released(folders, out, settings or small_settings())
    assert isinstance(caught.value, ReleasedError | WeightFileError | Fp16OverflowError), caught.value
    return str(caught.value)


def test_every_value_arrives(small: Small) -> None:
    from smartedit.model.layout import place

    written = {part: tensors(small.converted.folder / part) for part in ("mllm", "qformer", "bim", "unet")}
    values = random_values(small.config)
    for name, value in values.items():
        where = place(name)
        assert where is not None
        assert torch.equal(written[where.part].pop(where.name), value), name
    assert not any(written.values())


def test_a_missing_adapter_config_is_assumed_and_said(small: Small, folders: ReleasedFolders, tmp_path: Path) -> None:
    assert any("adapter_config.json" in note for note in small.converted.notes)
    assert small.converted.config.mllm.lora.alpha == 16
    (folders.released / "adapter_config.json").write_text(
        '{"r": 8, "lora_alpha": 27, "target_modules": ["v_proj", "q_proj"]}'
    )
    converted = convert_released(folders, tmp_path / "out", small_settings())
    assert not any("adapter_config" in note for note in converted.notes)
    assert (converted.config.mllm.lora.rank, converted.config.mllm.lora.alpha) == (8, 27)
    (folders.released / "adapter_config.json").write_text('{"r": 4}')
    assert "r is 4, the weights have rank 8" in refusal(folders, tmp_path / "other")


def test_merging_multiplies_the_adapters_in(small: Small, tmp_path: Path) -> None:
    settings = replace(small_settings(), merge_lora=True)
    converted = convert_released(small.folders, tmp_path / "out", settings)
    values, merged = random_values(small.config), tensors(converted.folder / "mllm")
    assert converted.config.mllm.lora is None
    assert not any("lora" in name or "base_layer" in name for name in merged)
    for projection in ("q_proj", "v_proj"):
        stem = f"{LANGUAGE}layers.1.self_attn.{projection}"
        a, b = (values[f"{stem}.lora_{x}.default.weight"].double() for x in "AB")
        expected = values[f"{stem}.weight"].double() + 2.0 * (b @ a)
        actual = merged[f"model.model.language_model.layers.1.self_attn.{projection}.weight"]
        torch.testing.assert_close(actual.double(), expected, rtol=0, atol=1e-6)


def test_published_differences_need_llama(small: Small, tmp_path: Path) -> None:
    llama, llava = tmp_path / "llama", tmp_path / "llava"
    whole = {n: v.half() for n, v in _all(small.folders.llava).items()}
    base = {n: torch.randn(v[:700].shape).half() if v.dim() == 2 else v * 0.99 for n, v in whole.items()}
    for folder in (llama, llava):
        folder.mkdir()
    difference = {n: v.clone() for n, v in whole.items()}
    for n, v in base.items():
        difference[n][: len(v)] -= v
    torch.save(base, llama / "pytorch_model.bin")
    torch.save(difference, llava / "pytorch_model.bin")
    folders = replace(small.folders, llava=llava)
    assert "--llama" in refusal(folders, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()

    converted = convert_released(replace(folders, llama=llama), tmp_path / "out", small_settings())
    name = "model.model.language_model.embed_tokens.weight"
    embedding = tensors(converted.folder / "mllm")[name]
    expected = (difference["model.embed_tokens.weight"][:700] + base["model.embed_tokens.weight"]).float()
    assert torch.equal(embedding[:700], expected)
    assert torch.equal(embedding[700:], tensors(small.converted.folder / "mllm")[name][700:])


def _all(folder: Path) -> dict[str, Tensor]:
    files = read_weight_files(folder)
    with files.open(files.entries) as read:
        return {name: value.clone() for name, value in read.items()}


def test_everything_that_does_not_fit_is_listed(folders: ReleasedFolders, tmp_path: Path) -> None:
    norm = f"{LANGUAGE}layers.0.input_layernorm.weight"
    change(folders.released / LLM, lambda c: (c.pop(norm), c.update({f"{LANGUAGE}layers.9.x": torch.ones(2)})))
    change(
        folders.released / QFORMER,
        lambda c: c.update({"mm_projector.bias": torch.ones(5), "what.is.this": torch.ones(1)}),
    )
    with pytest.raises(LayoutError) as caught:
        convert_released(folders, tmp_path / "out", small_settings())
    found = {(fault.name, fault.fault) for fault in caught.value.faults}
    assert found == {
        (f"{LANGUAGE}layers.9.x", "unexpected"),
        ("what.is.this", "unexpected"),
        ("mm_projector.bias", "has shape [5], the model wants [64]"),
        ("mllm.model.model.language_model.layers.0.input_layernorm.weight", "missing"),
    }
    assert all(fault.name in str(caught.value) for fault in caught.value.faults)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "words"), [(703, "703 rows of vocabulary"), (32003, "LLaVA's own"), (32033, "first training stage")]
)
def test_another_vocabulary_is_recognised(folders: ReleasedFolders, tmp_path: Path, rows: int, words: str) -> None:
    change(folders.released / LLM, lambda c: c.update({f"{LANGUAGE}embed_tokens.weight": torch.zeros(rows, 64)}))
    message = refusal(folders, tmp_path / "out")
    assert words in message
    assert "the model has 711" in message


def test_parts_of_two_sizes_are_recognised(small: Small, folders: ReleasedFolders, tmp_path: Path) -> None:
    config = small_config()
    config = replace(config, mllm=replace(config.mllm, language=replace(config.mllm.language, hidden_size=96)))
    wide = {n: v for n, v in random_values(config).items() if n.startswith(LANGUAGE)}
    torch.save(wide, folders.released / LLM)
    message = refusal(folders, tmp_path / "out")
    assert "width 96 model, --vicuna of a width 64 model" in message


def test_a_vicuna_tokenizer_with_more_tokens_is_refused(small: Small, tmp_path: Path) -> None:
    vicuna = tmp_path / "vicuna"
    shutil.copytree(small.converted.folder / "tokenizer", vicuna)
    shutil.copy(small.folders.vicuna / "config.json", vicuna)
    from smartedit.model.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(vicuna)
    tokenizer.add_tokens(["<another>"])
    tokenizer.save_pretrained(vicuna)
    message = refusal(replace(small.folders, vicuna=vicuna), tmp_path / "out")
    assert "has 712 tokens, the weights have 711" in message


def test_a_missing_file_is_named_and_a_whole_step_preferred(folders: ReleasedFolders, tmp_path: Path) -> None:
    (folders.released / "unet-20000").mkdir()
    assert convert_released(folders, tmp_path / "out", small_settings()).step == STEP
    shutil.rmtree(folders.released / f"modulate-{STEP}")
    message = refusal(folders, tmp_path / "other")
    assert f"modulate-{STEP}/adapter_model.bin" in message
    assert "there is no such folder" in refusal(replace(folders, released=tmp_path / "nowhere"), tmp_path / "other")


def test_unreadable_files_say_what_they_are(folders: ReleasedFolders, tmp_path: Path) -> None:
    path = folders.released / LLM
    whole = path.read_bytes()
    for content, words in [
        (whole[: len(whole) // 2], "truncated"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "web page"),
    ]:
        path.write_bytes(content)
        message = refusal(folders, tmp_path / "out")
        assert words in message
        assert str(path) in message


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("ran"),)


def test_no_host_is_asked(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where weights are missing beside their configuration, which the libraries could look for elsewhere."""
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: asked.append(arguments) or [])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    convert_released(small.folders, tmp_path / "whole", small_settings())
    for part, message in (("vae", "no autoencoder"), ("text_encoder", "no CLIP text encoder")):
        shutil.copytree(small.folders.instruct_diffusion, tmp_path / part)
        for file in [*(tmp_path / part / part).glob("*.safetensors"), *(tmp_path / part / part).glob("*.bin")]:
            file.unlink()
        folders = replace(small.folders, instruct_diffusion=tmp_path / part)
        assert message in refusal(folders, tmp_path / f"without-{part}")
    assert asked == []


def test_pickled_code_is_never_run(folders: ReleasedFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(1), "b": Code()}, folders.released / LLM)
    assert "it is not run" in refusal(folders, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def test_a_killed_conversion_goes_on_to_the_same_bytes(small: Small, tmp_path: Path) -> None:
    out, seen = tmp_path / "out", []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if done > total // 2:
            raise Killed

    with pytest.raises(Killed):
        convert_released(small.folders, out, small_settings(), stop)
    begun = {p: p.stat().st_mtime_ns for p in out.rglob("*.safetensors")}
    (out / "unet" / ".diffusion_pytorch_model.tmp-abc.safetensors").write_bytes(b"half")
    assert len(begun) == len(seen)
    totals: list[tuple[int, int]] = []
    convert_released(small.folders, out, small_settings(), lambda d, t: totals.append((d, t)))
    assert {p: p.stat().st_mtime_ns for p in begun} == begun, "finished shards are kept"
    assert totals[-1][0] == totals[-1][1]
    assert hashes(out) == hashes(small.converted.folder)


def test_a_folder_with_something_else_is_refused(small: Small, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "not empty" in refusal(small.folders, tmp_path / "full")
    convert_released(small.folders, tmp_path / "out", small_settings())
    other = replace(small_settings(), merge_lora=True)
    assert "other files or settings" in refusal(small.folders, tmp_path / "out", other)


def test_float16_that_overflows_is_refused(folders: ReleasedFolders, tmp_path: Path) -> None:
    half = replace(small_settings(), dtype="float16")
    converted = convert_released(folders, tmp_path / "half", half)
    assert {v.dtype for v in tensors(converted.folder / "unet").values()} == {torch.float16}
    change(folders.released / QFORMER, lambda c: c["mm_projector.bias"].fill_(1e5))
    message = refusal(folders, tmp_path / "out", half)
    assert "multi_modal_projector.bias" in message
    assert "65504" in message


def test_an_image_encoder_of_another_size_is_refused(small: Small, tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    shutil.copytree(small.folders.clip, clip)
    config = (clip / "config.json").read_text().replace('"num_hidden_layers": 3', '"num_hidden_layers": 4')
    (clip / "config.json").write_text(config)
    assert "encoder.layers.3.layer_norm1.bias is missing" in refusal(
        replace(small.folders, clip=clip), tmp_path / "out"
    )
    message = refusal(replace(small.folders, clip=None), tmp_path / "out")
    assert "openai/clip-vit-large-patch14" in message
    assert "--clip" in message


def test_names_of_the_test_layout_are_the_authors(golden: Path) -> None:
    import json

    from smartedit.config.model import as_released, load_model_config
    from smartedit.model.released_check import shapes_of

    layout = json.loads((golden / "dev" / "checkpoint_layout.json").read_text(encoding="utf-8"))["7b"]["files"]
    published = {n for names in layout.values() for n in names if "inv_freq" not in n and "position_ids" not in n}
    config = as_released(load_model_config("smartedit-7b"))
    ours = {released_name(where) for where in shapes_of(config) if where.part != "empty_text"}
    assert {name for name in ours if not name.startswith("vision_tower.")} == published
