"""A tiny model of the real classes, with weights that make every part matter."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from smartedit.config.model import ModelConfig, load_model_config
from smartedit.inference.build import build_pipeline
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.tokenizer import add_img_tokens, load_tokenizer
from tests.smartedit.model.recipe import tokenizer_of
from tests.tiny import TINY

OVERRIDES = (
    "model.mllm.num_img_tokens=4",
    "model.mllm.max_text_tokens=160",
    "model.mllm.language.vocab_size=700",
    "model.mllm.language.hidden_size=32",
    "model.mllm.language.intermediate_size=48",
    "model.mllm.language.num_layers=2",
    "model.mllm.vision.hidden_size=32",
    "model.mllm.vision.image_size=32",
    "model.bim.hidden_size=32",
    "model.bim.mlp_size=32",
    "model.qformer.num_queries=8",
    "model.unet.block_channels=[8, 16]",
    "model.unet.norm_groups=4",
    "model.vae.block_channels=[8, 16]",
    "model.vae.norm_groups=4",
    "model.sampling.image_size=32",
    "model.sampling.num_inference_steps=2",
)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    return load_model_config(TINY, OVERRIDES)


@pytest.fixture(scope="session")
def tiny_tokenizer(golden: Path) -> Any:
    tokenizer = load_tokenizer(tokenizer_of(golden))
    add_img_tokens(tokenizer, 4)
    return tokenizer


@pytest.fixture(scope="session")
def pipeline(tiny_config: ModelConfig, tiny_tokenizer: Any) -> SmartEditPipeline:
    torch.manual_seed(7)
    pipeline = build_pipeline(tiny_config, tiny_tokenizer)
    with torch.no_grad():
        for parameter in (*pipeline.bim.parameters(), *pipeline.empty_text.parameters()):
            parameter.normal_(std=0.2)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def picture() -> Image.Image:
    return noise_picture(48, 32, seed=1)


def noise_picture(width: int, height: int, *, seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
