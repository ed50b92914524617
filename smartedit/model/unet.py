"""The denoiser: diffusers' own UNet, whose first convolution also takes v' (paper, Eq. 4)."""

from functools import wraps
from typing import Any

import torch
from diffusers import ModelMixin, UNet2DConditionModel  # noqa: F401  (pipelines look for ModelMixin beside the class)
from torch import Tensor, nn


class FeatureConv2d(nn.Conv2d):
    """A convolution that adds the channels beyond its input to its output: conv(concat[z_t, E(x)]) + v' (Eq. 4)."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve [B, in, H, W], or [B, in + out, H, W] whose last channels are added to the result."""
        convolved = super().forward(input[:, : self.in_channels])
        feature = input[:, self.in_channels :]
        return convolved + feature if feature.shape[1] else convolved


class SmartEditUNet(UNet2DConditionModel):
    """`UNet2DConditionModel` with v' added right after its first convolution, first skip connection included.

    v' travels as extra input channels, so that nothing of diffusers is copied and no state is kept between calls.
    """

    # diffusers reads the accepted settings off the constructor's signature, so it must be the parent's.
    @wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        conv: Any = self.conv_in  # type: ignore[has-type]
        self.conv_in = FeatureConv2d(conv.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float | int,
        encoder_hidden_states: Tensor,
        image_feature: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Predict the noise.

        Args:
            sample: concat[z_t, E(x)], [B, 8, h, w].
            timestep: One for all, or [B].
            encoder_hidden_states: f', [B, n, C].
            image_feature: v', [B, first width, h, w]; None adds nothing (Table 2's plain model).
            kwargs: As in `UNet2DConditionModel.forward`.

        Returns:
            diffusers' output, with `sample` [B, 4, h, w].
        """
        if image_feature is not None:
            sample = torch.cat([sample, image_feature.to(sample.dtype)], dim=1)
        return super().forward(sample, timestep, encoder_hidden_states, **kwargs)


def widen_input(unet: UNet2DConditionModel, in_channels: int = 8) -> None:
    """Give a text-to-image UNet room for the image latent, in place.

    The old channels and the bias are kept, the new ones start at zero, so that it predicts as before. (The released
    code draws the bias anew, which has no effect there because a checkpoint is loaded afterwards.)

    Args:
        unet: The UNet of 4 input channels.
        in_channels: Channels afterwards.
    """
    old = unet.conv_in
    new = type(old)(in_channels, old.out_channels, old.kernel_size, padding=old.padding)
    new = new.to(device=old.weight.device, dtype=old.weight.dtype)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
        new.bias.copy_(old.bias)
    unet.conv_in = new
    unet.register_to_config(in_channels=in_channels)
