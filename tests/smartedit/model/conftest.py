"""The authors' small training set-up with our modules: weights by recipe, shared by the tests of a session."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler

from smartedit.config.model import LanguageConfig, ModelConfig, VisionConfig, as_released
from smartedit.model.bim import Bim
from smartedit.model.build import build_bim, build_qformer, llava_architecture
from smartedit.model.layout import place
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.smartedit import SmartEdit
from smartedit.model.text import EmptyText
from smartedit.model.unet import SmartEditUNet
from tests.smartedit.model.recipe import Reference

NUM_IMG_TOKENS = 32


@dataclass(frozen=True)
class TrainingSetup:
    reference: Reference
    model: SmartEdit
    vae: AutoencoderKL
    scheduler: DDPMScheduler
    img_tokens: range


@pytest.fixture(scope="session")
def training_setup(golden: Path) -> TrainingSetup:
    reference = Reference(golden, "train_step")
    meta = reference.meta
    released = as_released(ModelConfig())
    llama, vit = meta["llama"], meta["vit"]
    language = LanguageConfig(
        vocab_size=llama["vocab_size"],
        hidden_size=llama["hidden_size"],
        intermediate_size=llama["intermediate_size"],
        num_layers=llama["num_hidden_layers"],
        num_heads=llama["num_attention_heads"],
        rms_norm_eps=llama["rms_norm_eps"],
    )
    vision = VisionConfig(
        hidden_size=vit["hidden_size"],
        intermediate_size=vit["intermediate_size"],
        num_layers=vit["num_hidden_layers"],
        num_heads=vit["num_attention_heads"],
        feature_layer=vit["select_layer"],
    )
    mllm = ImageTextMllm(
        architecture=llava_architecture(language, vision, NUM_IMG_TOKENS),
        linear_projector=True,
        lora_rank=released.mllm.lora.rank,
        lora_alpha=released.mllm.lora.alpha,
    )
    unet = {k: v for k, v in meta["unet"].items() if k != "in_channels"}
    model = SmartEdit(
        mllm=mllm,
        qformer=build_qformer(released.qformer, encoder_size=language.hidden_size),
        bim=build_bim(released.bim, text_size=768, output_size=meta["unet"]["block_out_channels"][0]),
        unet=SmartEditUNet(in_channels=8, **unet),
        empty_text=EmptyText(),
    ).eval()
    vae = AutoencoderKL(**meta["vae"]).eval()
    assert isinstance(model.bim, Bim)
    state, vae_state = model.state_dict(), {}
    missing = set(state) - {"empty_text.features"}
    for name, value in reference.recipe_state().items():
        if name.startswith("vae."):
            vae_state[name.removeprefix("vae.")] = value
            continue
        where = place(name)
        if where is not None:
            assert state[f"{where.part}.{where.name}"].shape == value.shape, name
            state[f"{where.part}.{where.name}"] = value
            missing.discard(f"{where.part}.{where.name}")
    assert not missing
    null = meta["recipe_inputs"]["in.null_text_embeddings"]
    state["empty_text.features"] = reference.recipe("in.null_text_embeddings", **null)
    model.load_state_dict(state)
    vae.load_state_dict(vae_state)
    model.requires_grad_(False)
    first = llama["vocab_size"] + 3
    return TrainingSetup(
        reference=reference,
        model=model,
        vae=vae.requires_grad_(False),
        scheduler=DDPMScheduler(**meta["scheduler"]),
        img_tokens=range(first, first + NUM_IMG_TOKENS),
    )


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
