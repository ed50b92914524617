"""Three-way guidance and sampling against the authors' pipeline."""

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, EulerAncestralDiscreteScheduler
from diffusers.schedulers import scheduling_euler_ancestral_discrete as euler
from PIL import Image
from torch import Tensor

from smartedit.config.model import SchedulerConfig, TextConfig
from smartedit.inference.fixed_text import text_projected_once
from smartedit.inference.sampling import Guidance, SamplingError, denoise
from smartedit.model.build import build_sampling_scheduler, build_text_encoder
from smartedit.model.images import autoencoder_pixels
from smartedit.model.smartedit import Conditions
from smartedit.model.text import EmptyText, empty_text_ids
from smartedit.model.unet import SmartEditUNet
from tests.smartedit.model.recipe import Reference, assert_close


@dataclass
class Sampled:
    reference: Reference
    vae: AutoencoderKL
    calls: list[dict[str, Tensor]]
    noise: list[Tensor]
    latents: list[Tensor]
    empty: EmptyText


@pytest.fixture(scope="module")
def reference(golden: Path) -> Reference:
    return Reference(golden, "pipeline")


@pytest.fixture(scope="module")
@torch.no_grad()
def sampled(reference: Reference) -> Iterator[Sampled]:
    meta = reference.meta
    unet = SmartEditUNet(**{**meta["unet_config"], "in_channels": 8}).eval()
    unet.load_state_dict(reference.state("sd.unet."))
    levels = len(meta["vae_config"]["block_out_channels"])
    vae = AutoencoderKL(
        **meta["vae_config"],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    ).eval()
    vae.load_state_dict(reference.state("sd.vae."))
    text = meta["text_config"]
    encoder = build_text_encoder(
        TextConfig(
            vocab_size=text["vocab_size"],
            intermediate_size=text["intermediate_size"],
            num_layers=text["num_hidden_layers"],
            num_heads=text["num_attention_heads"],
        ),
        hidden_size=text["hidden_size"],
        num_tokens=reference["out.negative_prompt_embeds"].shape[1],
    )
    state = reference.state("sd.text_encoder.")
    encoder.load_state_dict(
        {k.removeprefix("text_model."): v for k, v in state.items() if not k.endswith("position_ids")}
    )
    assert empty_text_ids(encoder)[0, :4].tolist() == meta["null_prompt_input_ids"][:4]
    empty = EmptyText.of(encoder)
    scheduler = build_sampling_scheduler(SchedulerConfig(**meta["scheduler"]))
    scheduler.set_timesteps(meta["num_inference_steps"])
    image = Image.fromarray(reference["in.image_u8_hwc"].numpy())
    recorded = iter(reference["rand.step_noise"])
    calls, noise, latents = [], [], []
    hook = unet.register_forward_hook(
        lambda _, args, output: (
            (
                calls.append({"sample": args[0], "text": args[2], "feature": args[3]}),
                noise.append(output.sample),
            )[-1]
            and None
        )
    )
    original, euler.randn_tensor = euler.randn_tensor, lambda *_, **__: next(recorded)

    def keep(_step: int, _timestep: Tensor, now: Tensor) -> Tensor:
        latents.append(now)
        return now

    denoise(
        unet,
        scheduler,
        latents=reference["rand.initial_noise"] * scheduler.init_noise_sigma,
        image_latents=vae.encode(autoencoder_pixels([image], image.size)).latent_dist.mode(),
        conditions=Conditions(
            text_features=reference["in.prompt_embeds"], image_feature=reference["in.modulated_image_feature"]
        ),
        empty_text=empty(1),
        guidance=Guidance(scale=meta["guidance_scale"], image_scale=meta["image_guidance_scale"]),
        on_step=keep,
    )
    euler.randn_tensor = original
    hook.remove()
    yield Sampled(reference=reference, vae=vae, calls=calls, noise=noise, latents=latents, empty=empty)


@pytest.mark.parity
def test_what_the_denoiser_is_given(sampled: Sampled) -> None:
    reference = sampled.reference
    assert_close(sampled.empty(1), reference["out.negative_prompt_embeds"])
    assert_close(sampled.calls[0]["sample"], reference["out.unet_sample_in_step0"])
    assert_close(sampled.calls[0]["text"], reference["out.encoder_hidden_states"])
    assert_close(sampled.calls[0]["feature"], reference["out.feature_in_step0"])


@pytest.mark.parity
def test_every_step(sampled: Sampled) -> None:
    for step, expected in enumerate(sampled.reference["out.unet_raw_per_step"]):
        assert_close(sampled.noise[step], expected)
        assert_close(sampled.latents[step], sampled.reference["out.latents_per_step"][step])


@pytest.mark.parity
@torch.no_grad()
def test_the_picture(sampled: Sampled) -> None:
    pixels = sampled.vae.decode(sampled.latents[-1] / sampled.vae.config.scaling_factor).sample
    picture = (pixels / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0)
    assert_close(picture, sampled.reference["out.image_float_hwc"])


@pytest.mark.parity
def test_schedules(reference: Reference) -> None:
    for steps, prefix in ((reference.meta["num_inference_steps"], "out."), (100, "sched100.")):
        scheduler = build_sampling_scheduler(SchedulerConfig(**reference.meta["scheduler"]))
        scheduler.set_timesteps(steps)
        assert torch.equal(scheduler.timesteps, reference[f"{prefix}timesteps"])
        assert_close(scheduler.sigmas, reference[f"{prefix}sigmas"])
        assert float(scheduler.init_noise_sigma) == pytest.approx(reference.meta["init_noise_sigma"], rel=1e-6)


@pytest.mark.parity
def test_guiding_the_noise_is_guiding_the_picture(reference: Reference) -> None:
    """The authors guide x0 = z - sigma e; the guidance is linear, so e can be guided itself."""
    raw = reference["out.unet_raw_per_step"][1]
    latents, sigma = reference["out.latents_per_step"][0], reference["out.sigmas"][1]
    guidance = Guidance(scale=reference.meta["guidance_scale"], image_scale=reference.meta["image_guidance_scale"])
    noise = guidance.combine(*raw.chunk(3))
    assert_close(noise, reference["arith.eps_guided_directly_step1"])
    assert_close(noise, reference["arith.eps_equiv_step1"])
    assert_close(latents - sigma * noise, reference["arith.x0_guided_step1"])


def tiny_unet() -> SmartEditUNet:
    torch.manual_seed(0)
    return SmartEditUNet(
        sample_size=8, in_channels=8, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
        norm_num_groups=4, cross_attention_dim=12, attention_head_dim=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).eval()  # fmt: skip


def sample(unet: SmartEditUNet, seeds: list[int], guidance: Guidance) -> Tensor:
    scheduler = EulerAncestralDiscreteScheduler()
    scheduler.set_timesteps(3)
    drawn = [torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds]
    conditions = [torch.randn(1, 5, 12, generator=torch.Generator().manual_seed(s + 100)) for s in seeds]
    return denoise(
        unet,
        scheduler,
        latents=torch.cat(drawn) * scheduler.init_noise_sigma,
        image_latents=torch.cat(drawn) / 2,
        conditions=Conditions(text_features=torch.cat(conditions), image_feature=None),
        empty_text=torch.zeros(1, 5, 12),
        guidance=guidance,
        generator=[torch.Generator().manual_seed(s + 200) for s in seeds],
    )


def test_a_picture_does_not_depend_on_its_batch() -> None:
    unet = tiny_unet()
    together = sample(unet, [1, 2, 3], Guidance())
    for i, seed in enumerate((1, 2, 3)):
        assert_close(together[i : i + 1], sample(unet, [seed], Guidance()), 1e-4)


def test_without_guidance_the_denoiser_runs_one_branch() -> None:
    unet, sizes = tiny_unet(), []
    hook = unet.register_forward_hook(lambda _, args, output: sizes.append(len(args[0])))
    sample(unet, [1, 2], Guidance(scale=1, image_scale=1))
    sample(unet, [1, 2], Guidance(scale=1, image_scale=1.5))
    hook.remove()
    assert sizes == [2, 2, 2, 6, 6, 6]


def test_the_text_is_projected_once_and_the_numbers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps, one call of each projection; afterwards the denoiser is as it was, hooks of others included."""
    unet, calls = tiny_unet(), Counter[str]()
    projections = {n: m for n, m in unet.named_modules() if n.endswith(("attn2.to_k", "attn2.to_v"))}
    assert len(projections) == 8
    for name, projection in projections.items():

        def counted(text: Tensor, name: str = name, forward: Any = projection.forward) -> Tensor:
            calls[name] += 1
            return forward(text)

        projection.forward = counted
    put = {name: projection.forward for name, projection in projections.items()}
    once = sample(unet, [1, 2], Guidance())
    assert calls == dict.fromkeys(projections, 1)
    assert {name: projection.forward for name, projection in projections.items()} == put
    other = sample(unet, [3, 2], Guidance())
    monkeypatch.setattr("smartedit.inference.sampling.text_projected_once", lambda unet: nullcontext())
    assert torch.equal(once, sample(unet, [1, 2], Guidance())) and torch.equal(other, sample(unet, [3, 2], Guidance()))
    assert set(calls.values()) == {1 + 1 + 3 + 3}


def test_a_denoiser_that_fails_is_left_as_it_was() -> None:
    unet = tiny_unet()
    with pytest.raises(KeyError), text_projected_once(unet):
        raise KeyError
    assert not any("forward" in vars(module) for module in unet.modules())


def test_broken_weights_are_named() -> None:
    unet = tiny_unet()
    with torch.no_grad():
        unet.conv_out.bias[0] = float("nan")
    with pytest.raises(SamplingError, match="UNet's weights hold NaN"):
        sample(unet, [1], Guidance())


def test_half_precision_overflow_is_named() -> None:
    unet = tiny_unet()
    with torch.no_grad():
        unet.conv_out.weight.fill_(60000)
    with pytest.raises(SamplingError, match="float16 overflowed; use bfloat16"):
        sample(unet.half(), [1], Guidance())


def test_pixels_are_the_authors(reference: Reference) -> None:
    image = Image.fromarray(reference["in.image_u8_hwc"].numpy())
    pixels = autoencoder_pixels([image], image.size)
    np.testing.assert_allclose(pixels[0].permute(1, 2, 0), reference["in.image_u8_hwc"] / 255 * 2 - 1, atol=1e-6)
