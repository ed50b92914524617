"""A released checkpoint converts and gives what the authors' modules give."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL

from smartedit.config.model import LanguageConfig, ModelConfig, TextConfig, UNetConfig, VisionConfig, as_released
from smartedit.inference.conversion import ConversionSettings, convert_released
from smartedit.model.bim import Bim
from smartedit.model.decoding import decode_answer, gather_img_states, read_answer
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.qformer import QFormer
from smartedit.model.sequences import splice
from smartedit.model.smartedit import connect
from tests.smartedit.model.recipe import HALF_TOLERANCE, TOLERANCE, Reference, assert_close
from tests.smartedit.released.ingredients import write_ingredients

pytestmark = pytest.mark.parity


@dataclass
class Converted:
    folder: Path
    merged: Path
    reference: Reference


def golden_config(reference: Reference) -> ModelConfig:
    llama, vit, unet = (reference.meta[name] for name in ("llama", "vit", "unet"))
    released = as_released(ModelConfig())
    language = LanguageConfig(
        vocab_size=llama["vocab_size"],
        hidden_size=llama["hidden_size"],
        intermediate_size=llama["intermediate_size"],
        num_layers=llama["num_hidden_layers"],
        num_heads=llama["num_attention_heads"],
    )
    vision = VisionConfig(
        intermediate_size=vit["intermediate_size"],
        num_layers=vit["num_hidden_layers"],
    )
    return replace(
        released,
        mllm=replace(released.mllm, language=language, vision=vision),
        unet=UNetConfig(
            block_channels=tuple(unet["block_out_channels"]), attention_levels=(True, False), layers_per_block=1
        ),
        text=TextConfig(vocab_size=99, num_layers=1, intermediate_size=64),
    )


@pytest.fixture(scope="module")
def converted(golden: Path, tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Converted:
    reference = Reference(golden, "train_step")
    values = reference.recipe_state()
    vae = AutoencoderKL(**reference.meta["vae"])
    vae.load_state_dict({n.removeprefix("vae."): v for n, v in values.items() if n.startswith("vae.")})
    root = tmp_path_factory.mktemp("golden-released")
    folders = write_ingredients(root / "in", golden_config(reference), values, tokenizer_folder, vae=vae)
    del values
    convert_released(folders, root / "out")
    convert_released(folders, root / "merged", ConversionSettings(merge_lora=True))
    return Converted(folder=root / "out", merged=root / "merged", reference=reference)


@torch.no_grad()
def test_golden_decode(golden: Path, converted: Converted) -> None:
    reference = Reference(golden, "decode")
    mllm = ImageTextMllm.from_pretrained(converted.folder / "mllm").eval()
    qformer = QFormer.from_pretrained(converted.folder / "qformer").eval()
    bim = Bim.from_pretrained(converted.folder / "bim").eval()
    prompt, answer = reference.meta["prompt_input_ids_before_removing_placeholder"], reference.meta["scripted_tokens"]
    pixels = reference.recipe("in.decode_img", **reference.meta["recipe_inputs"]["in.decode_img"])
    img_tokens = range(703, 735)

    asked = splice(torch.tensor([prompt]), img_tokens=img_tokens, pad_id=0, num_patches=256)
    script = iter(answer)
    said = decode_answer(mllm, asked, pixels, img_tokens=img_tokens, eos=2, choose=lambda _: next(script))
    assert_close(said.img_states[None], reference["out.img_token_states"])

    whole = splice(torch.tensor([[*prompt, *answer]]), img_tokens=img_tokens, pad_id=0, num_patches=256)
    read = read_answer(mllm, whole, pixels)
    states = gather_img_states(read.hidden_states, whole.img_mask)
    assert_close(states, reference["out.img_token_states"])
    assert_close(qformer(states), reference["out.qformer_out"])
    conditions = connect(qformer, bim, states, read.image_features, latent_size=(32, 32))
    assert_close(conditions.text_features, reference["out.both_condition_embeddings_fp16"], HALF_TOLERANCE)
    assert conditions.image_feature is not None
    feature = conditions.image_feature[:, ::10, ::4, ::4]
    assert_close(feature, reference["out.modulated_image_feature_strided"], HALF_TOLERANCE)

    merged = ImageTextMllm.from_pretrained(converted.merged / "mllm").eval()
    assert not any("lora" in name for name in merged.state_dict())
    states = gather_img_states(read_answer(merged, whole, pixels).hidden_states, whole.img_mask)
    assert_close(states, reference["out.img_token_states"], 2 * TOLERANCE)


@torch.no_grad()
def test_golden_training_pass(converted: Converted) -> None:
    """Tokens and pictures of the authors' training step through the converted model to the predicted noise."""
    from smartedit.model.checkpoints import load_model

    reference, model = converted.reference, load_model(converted.folder).eval()
    sequences = splice(
        reference["in.input_ids"], img_tokens=range(703, 735), pad_id=0, num_patches=256, released_length=True
    )
    shape = reference.meta["recipe_inputs"]["in.original_img.{i}"]
    pixels = torch.stack([reference.recipe(f"in.original_img.{i}", shape["shape"], shape["a"]) for i in range(4)])
    sample = reference["out.unet_in_sample"]
    # The authors drop the text of a row where its draw is below .1 and put the features of the empty text there.
    model.empty_text.features.copy_(
        reference.recipe("in.null_text_embeddings", **reference.meta["recipe_inputs"]["in.null_text_embeddings"])
    )
    output = model(
        sequences=sequences,
        pixel_values=pixels,
        noisy_latents=sample[:, :4],
        image_latents=sample[:, 4:],
        timesteps=reference["in.timesteps"],
        drop_text=reference["in.random_p"] < 0.1,
    )
    assert_close(output.noise, reference["out.unet_out"])
