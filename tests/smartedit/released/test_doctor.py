"""`doctor` finds nothing wrong in a good checkpoint, and says what is wrong with broken ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from reason_edit.files import file_sha256
from smartedit.inference.doctor import Examination, examine
from smartedit.inference.findings import Diagnosis, Grade
from tests.smartedit.released.conftest import Small

FAST = Examination(hashes=False, run=False)


def change(folder: Path, name: str, edit: Callable[[Tensor], Tensor]) -> None:
    """Change one weight of a part, in whichever shard it is."""
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if name in tensors:
            save_file({**tensors, name: edit(tensors[name]).contiguous()}, file)
            return
    raise AssertionError(name)


@pytest.fixture
def checkpoint(small: Small, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small.converted.folder, tmp_path / "model"))


def faults(diagnosis: Diagnosis) -> str:
    return "\n".join(f.text for f in diagnosis.faults)


def test_a_good_checkpoint(small: Small) -> None:
    diagnosis = examine(small.converted.folder)
    assert not diagnosis.faults
    words = "\n".join(f.text for f in diagnosis.findings)
    for expected in (
        "<img> 700, <im_start> 701, <im_end> 702, <img_0> to <img_7> 703 to 710",
        "embedding: 711 rows for 711 tokens",
        "unet: all",
        "torch ",
        "8-bit: weights of",
        "one edit of 64 x 64",
    ):
        assert expected in words
    file = next((small.converted.folder / "qformer").glob("*.safetensors"))
    assert f"qformer/{file.name}: sha256 {file_sha256(file)}" in words


EMBEDDING = "model.model.language_model.embed_tokens.weight"
OUTPUT = "model.lm_head.weight"


def fewer_tokens(folder: Path) -> None:
    """The tokenizer of another model, with fewer added tokens (32003 against 32035)."""
    from smartedit.model.tokenizer import add_img_tokens, load_tokenizer

    shutil.rmtree(folder / "tokenizer")
    tokenizer = load_tokenizer(Path(__file__).parents[2] / "golden" / "tokenizer")
    add_img_tokens(tokenizer, 1)
    tokenizer.save_pretrained(folder / "tokenizer")


def fewer_rows(folder: Path) -> None:
    """Weights with LLaVA's rows only, and a configuration that says so."""
    for name in (EMBEDDING, OUTPUT):
        change(folder / "mllm", name, lambda weight: weight[:703])
    path = folder / "mllm" / "config.json"
    config = json.loads(path.read_text())
    config["architecture"]["text_config"]["vocab_size"] = 703
    path.write_text(json.dumps(config))


def split_tokens(folder: Path) -> None:
    """Added as plain tokens, which today's tokenizers split in another way."""
    from smartedit.model.tokenizer import load_tokenizer

    shutil.rmtree(folder / "tokenizer")
    tokenizer = load_tokenizer(Path(__file__).parents[2] / "golden" / "tokenizer")
    tokenizer.add_tokens(["<img>", "<im_start>", "<im_end>", *(f"<img_{i}>" for i in range(8))])
    tokenizer.save_pretrained(folder / "tokenizer")


def missing_shard(folder: Path) -> None:
    sorted((folder / "mllm").glob("*.safetensors"))[2].unlink()


def other_size(folder: Path) -> None:
    """The QFormer of a wider model, whole and with its own configuration."""
    from smartedit.model.qformer import QFormer

    config = json.loads((folder / "qformer" / "config.json").read_text())
    shutil.rmtree(folder / "qformer")
    QFormer.from_config({**config, "encoder_size": 80}).save_pretrained(folder / "qformer")


def other_weights(folder: Path) -> None:
    """The 13B model's shapes under the 7B model's configuration."""
    change(folder / "mllm", "model.model.multi_modal_projector.weight", lambda w: torch.zeros(5120, w.shape[1]))


def nan_weight(folder: Path) -> None:
    change(folder / "unet", "mid_block.resnets.0.conv1.weight", lambda w: w.index_fill(0, torch.tensor(0), torch.nan))


def truncated(folder: Path) -> None:
    file = next((folder / "bim").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])


def untouched_bim(folder: Path) -> None:
    for head in ("qformer_out", "zeroconv"):
        change(folder / "bim", f"dimension_reduction_head_{head}.weight", torch.zeros_like)


def missing_config(folder: Path) -> None:
    (folder / "unet" / "config.json").unlink()


def float16_overflow(folder: Path) -> None:
    for file in (folder / "qformer").glob("*.safetensors"):
        halves = {name: value.half() for name, value in load_file(file).items()}
        if "query_tokens" in halves:
            halves["query_tokens"] = (halves["query_tokens"].float() * 1e7).half()
        save_file(halves, file)


def untouched_rows(folder: Path) -> None:
    change(folder / "mllm", EMBEDDING, lambda w: torch.cat([w[:700], w[:700].mean(dim=0, keepdim=True).expand(11, -1)]))


def random_unet(folder: Path) -> None:
    from smartedit.model.unet import SmartEditUNet

    config = json.loads((folder / "unet" / "config.json").read_text())
    shutil.rmtree(folder / "unet")
    SmartEditUNet.from_config(config).save_pretrained(folder / "unet")


def no_picture_channels(folder: Path) -> None:
    change(folder / "unet", "conv_in.weight", lambda w: torch.cat([w[:, :4], torch.zeros_like(w[:, 4:])], dim=1))


def not_converted(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    (folder / "LLM-15000").mkdir()


BROKEN: dict[Callable[[Path], None], str] = {
    fewer_tokens: "the tokenizer lacks <img_1>",
    fewer_rows: "embedding: 703 rows for 711 tokens",
    split_tokens: "Today's tokenizers split text round added tokens in another way",
    missing_shard: "1 of 3 shards missing: diffusion_pytorch_model-00003-of-00003",
    other_size: "belong to models of different sizes",
    other_weights: "is [5120, 64], config.json asks for [64, 64]",
    nan_weight: "unet: 1 weights hold NaN or infinity: mid_block.resnets.0.conv1.weight",
    truncated: "truncated",
    untouched_bim: "dimension_reduction_head_qformer_out.weight, dimension_reduction_head_zeroconv.weight still zero",
    missing_config: "config.json: missing; copy it anew",
    float16_overflow: "qformer: 1 weights hold NaN or infinity: query_tokens; saved in float16",
    untouched_rows: "8 of 8 [IMG] rows are still the mean",
    random_unet: "norms are those of a new module: it is random",
    no_picture_channels: "its channels for the source picture are zero",
    not_converted: "`smartedit convert` makes a checkpoint of them",
}


@pytest.mark.parametrize("spoil", BROKEN, ids=lambda f: f.__name__)
def test_what_is_wrong_is_said(checkpoint: Path, spoil: Callable[[Path], None]) -> None:
    spoil(checkpoint)
    diagnosis = examine(checkpoint, FAST)
    assert BROKEN[spoil] in faults(diagnosis)


def test_rows_behind_the_tokens_are_padding(checkpoint: Path) -> None:
    for name in (EMBEDDING, OUTPUT):
        change(checkpoint / "mllm", name, lambda weight: torch.cat([weight, torch.zeros(17, weight.shape[1])]))
    path = checkpoint / "mllm" / "config.json"
    config = json.loads(path.read_text())
    config["architecture"]["text_config"]["vocab_size"] = 728
    path.write_text(json.dumps(config))
    diagnosis = examine(checkpoint, FAST)
    words = "\n".join(f.text for f in diagnosis.findings)
    assert not diagnosis.faults, faults(diagnosis)
    assert "embedding: 728 rows for 711 tokens, 17 of them padding" in words
    assert "output layer: the 8 [IMG] rows have values of their own" in words


def test_an_edit_that_fails_is_a_fault(checkpoint: Path) -> None:
    nan_weight(checkpoint)
    diagnosis = examine(checkpoint, Examination(hashes=False, values=False))
    assert "an edit fails" in faults(diagnosis)


def test_weights_that_float16_cannot_hold_are_noted(checkpoint: Path) -> None:
    change(checkpoint / "qformer", "query_tokens", lambda w: w.index_fill(2, torch.tensor(0), 1e5))
    found = [f for f in examine(checkpoint, FAST).findings if "overflow float16" in f.text]
    assert [f.grade for f in found] == [Grade.NOTE]
    assert "query_tokens (1e+05)" in found[0].text


def test_sizes_by_name() -> None:
    from smartedit.inference.doctor_files import _which_size

    assert _which_size((5120, 1024), (4096, 1024)) == ": a 13B weight under a 7B configuration"
    assert _which_size((64,), (4096,)) == ""
