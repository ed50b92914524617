"""Real classes at tiny sizes with random weights, saved as their own files, for the adapters to load."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

WORDS = ["apple", "orange", "cat", "dog", "mirror", "clock", "left", "the", "remote", "control", "cup", "banana", "##s"]


def save_bert(folder: Path) -> Path:
    """A two-layer BERT with a WordPiece vocabulary; special tokens have the numbers of bert-base-uncased."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = [f"[unused{i}]" for i in range(1040)]
    special = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    for number, word in special.items():
        words[number] = word
    words[200 : 200 + len(WORDS)] = WORDS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=256,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    return folder


# Two layers instead of six; the text position encoding of the authors' code needs a hidden size of 256.
DINO_CHANGES = {
    "enc_layers": 2,
    "dec_layers": 2,
    "dim_feedforward": 48,
    "nheads": 4,
    "num_queries": 12,
    "enc_n_points": 2,
    "dec_n_points": 2,
    "use_checkpoint": False,
    "use_transformer_ckpt": False,
}


def write_dino_config(folder: Path) -> Path:
    """The package's Swin-T configuration with smaller numbers."""
    import groundingdino

    text = (Path(groundingdino.__file__).parent / "config/GroundingDINO_SwinT_OGC.py").read_text()
    path = folder / "tiny_dino.py"
    path.write_text(text + "\n" + "\n".join(f"{k} = {v!r}" for k, v in DINO_CHANGES.items()) + "\n")
    return path


@pytest.fixture
def tiny_swin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The authors' Swin class with five narrow blocks where their table of names knows none so small."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from groundingdino.models.GroundingDINO.backbone import backbone, swin_transformer

    def build(name: str, pretrain_img_size: int, **options: Any) -> Any:
        sizes = {"embed_dim": 16, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4], "window_size": 7}
        return swin_transformer.SwinTransformer(pretrain_img_size=pretrain_img_size, **sizes, **options)

    monkeypatch.setattr(backbone, "build_swin_transformer", build)


def dino_hf_config() -> Any:
    """The same sizes for transformers."""
    from transformers import GroundingDinoConfig

    swin = {
        "model_type": "swin",
        "window_size": 7,
        "image_size": 224,
        "embed_dim": 16,
        "depths": [1, 1, 2, 1],
        "num_heads": [1, 2, 2, 4],
        "out_indices": [2, 3, 4],
    }
    bert = {
        "model_type": "bert",
        "vocab_size": 1040,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": 256,
    }
    return GroundingDinoConfig(
        backbone_config=swin,
        text_config=bert,
        num_queries=12,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_n_points=2,
        decoder_n_points=2,
    )


def shapes(width: int = 96, height: int = 72) -> Image.Image:
    """A picture with something in it."""
    from PIL import ImageDraw

    image = Image.new("RGB", (width, height), (200, 190, 170))
    pen = ImageDraw.Draw(image)
    pen.ellipse((10, 20, 40, 50), fill=(200, 40, 40))
    pen.rectangle((55, 25, 85, 60), fill=(40, 80, 200))
    return image


def save_clip(folder: Path) -> Path:
    """A two-layer CLIP with a byte-pair vocabulary of single letters."""
    import json

    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(c) for c in range(97, 123)]
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=32)
    text = {"vocab_size": len(vocabulary), "eos_token_id": 1, "bos_token_id": 0, "pad_token_id": 1}
    layers = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=text | layers | {"max_position_embeddings": 32},
        vision_config=layers | {"image_size": 32, "patch_size": 8},
        projection_dim=24,
    )
    torch.manual_seed(3)
    CLIPModel(config).save_pretrained(folder)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=processor, tokenizer=tokenizer).save_pretrained(folder)
    return folder
