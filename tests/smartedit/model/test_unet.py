"""The UNet with v' against the authors' copy of diffusers' UNet."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from smartedit.model.unet import SmartEditUNet, widen_input
from tests.smartedit.model.recipe import Reference, assert_close

TINY = {
    "sample_size": 8, "in_channels": 8, "out_channels": 4, "layers_per_block": 1, "block_out_channels": (8, 16),
    "norm_num_groups": 4, "cross_attention_dim": 12, "attention_head_dim": 2,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip


@pytest.mark.parity
@torch.no_grad()
def test_computes_what_the_authors_compute(golden: Path) -> None:
    reference = Reference(golden, "unet")
    unet = SmartEditUNet(**{**reference.meta["config"], "in_channels": 8}).eval()
    unet.load_state_dict(reference.state())
    sample, t, context = (reference[f"in.{n}"] for n in ("sample", "timesteps", "encoder_hidden_states"))
    feature = reference["in.two_way_image_features_zero_conv"]
    assert_close(unet(sample, t, context, feature).sample, reference["out.sample"])
    assert_close(
        unet(sample, reference.meta["scalar_timestep"], context, feature).sample, reference["out.sample_scalar_t"]
    )
    assert_close(unet(sample, t, context, feature * 0).sample, reference["out.sample_zero_feature"])
    assert_close(unet(sample, t, context).sample, reference["out.sample_zero_feature"])
    large = unet(reference["in.sample48"], reference.meta["sample48_timestep"], context[:1], reference["in.feature48"])
    assert_close(large.sample, reference["out.sample48"])


@torch.no_grad()
def test_the_sum_is_also_the_first_skip_connection() -> None:
    unet = SmartEditUNet(**TINY).eval()
    seen = []
    hook = unet.up_blocks[-1].register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["res_hidden_states_tuple"][0]), with_kwargs=True
    )
    sample, feature = torch.randn(1, 8, 8, 8), torch.randn(1, 8, 8, 8)
    unet(sample, 3, torch.randn(1, 5, 12), feature)
    hook.remove()
    expected = torch.nn.functional.conv2d(sample, unet.conv_in.weight, unet.conv_in.bias, padding=1) + feature
    torch.testing.assert_close(seen[0], expected)


@torch.no_grad()
def test_save_and_load_keep_class_and_numbers(tmp_path: Path) -> None:
    unet = SmartEditUNet(**TINY).eval()
    unet.save_pretrained(tmp_path)
    loaded = SmartEditUNet.from_pretrained(tmp_path).eval()
    inputs = torch.randn(1, 8, 8, 8), 3, torch.randn(1, 5, 12), torch.randn(1, 8, 8, 8)
    torch.testing.assert_close(loaded(*inputs).sample, unet(*inputs).sample)
    assert unet.config.in_channels == 8


@torch.no_grad()
def test_widened_text_to_image_unet_predicts_as_before() -> None:
    unet = UNet2DConditionModel(**{**TINY, "in_channels": 4}).eval()
    latents, context = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 12)
    before = unet(latents, 3, context).sample
    widen_input(unet)
    after = unet(torch.cat([latents, torch.randn(1, 4, 8, 8)], dim=1), 3, context).sample
    torch.testing.assert_close(after, before)
