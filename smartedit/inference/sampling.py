"""Denoising with three-way guidance, all branches and all pictures in one UNet call (paper, Eq. 4; released code)."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from smartedit.inference.fixed_text import text_projected_once
from smartedit.model.smartedit import Conditions, predict_noise
from smartedit.model.unet import SmartEditUNet

OnStep = Callable[[int, Any, Tensor], Tensor]
"""Gets step, timestep and latents, and gives the latents to go on with."""


class SamplingError(ValueError):
    """Sampling gave no picture; the message says what overflowed and what helps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guidance:
    """How strongly a picture follows its conditions.

    Attributes:
        scale: s_T, instruction against none.
        image_scale: s_I, source picture against none.
    """

    scale: float = 7.5
    image_scale: float = 1.5

    def __post_init__(self) -> None:
        """See that the scales are numbers.

        Raises:
            ValueError: One is NaN or infinite.
        """
        for name, value in (("guidance_scale", self.scale), ("image_guidance_scale", self.image_scale)):
            if not math.isfinite(value):
                raise ValueError(f"{name}={value}: it must be a finite number")

    @property
    def needed(self) -> bool:
        """Whether the unconditional branches count; with both scales 1 they cancel out."""
        return self.scale != 1 or self.image_scale != 1

    def combine(self, text_image: Tensor, image: Tensor, none: Tensor) -> Tensor:
        """e(0, 0) + s_I (e(x, 0) - e(0, 0)) + s_T (e(x, c) - e(x, 0)), InstructPix2Pix's guidance."""
        return none + self.scale * (text_image - image) + self.image_scale * (image - none)


@torch.no_grad()
def denoise(
    unet: SmartEditUNet,
    scheduler: Any,
    *,
    latents: Tensor,
    image_latents: Tensor,
    conditions: Conditions,
    empty_text: Tensor,
    guidance: Guidance,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    on_step: OnStep | None = None,
    **step_settings: Any,
) -> Tensor:
    """Turn noise into latents of edited pictures.

    The branches are: instruction and picture; picture; nothing. v' is the same in all three, as the released weights
    were trained, so that even the last one has seen the instruction.

    Args:
        unet: The denoiser.
        scheduler: Of diffusers, its timesteps set.
        latents: Noise times `scheduler.init_noise_sigma`, [B, 4, h, w].
        image_latents: E(x), unscaled, [B, 4, h, w].
        conditions: f' and v'.
        empty_text: Features of the empty text, [1, n, C].
        guidance: s_T and s_I.
        generator: Draws the sampler's noise; one for each picture makes a picture independent of its batch.
        on_step: Called after each step.
        step_settings: More arguments for the scheduler's step, for example `eta`.

    Returns:
        Latents [B, 4, h, w], still scaled.

    Raises:
        SamplingError: The latents are not finite.
    """
    branches = 3 if guidance.needed else 1
    empty = empty_text.to(conditions.text_features).expand_as(conditions.text_features)
    text = torch.cat([conditions.text_features, empty, empty][:branches])
    images = torch.cat([image_latents, image_latents, torch.zeros_like(image_latents)][:branches])
    feature = conditions.image_feature
    if feature is not None:
        feature = feature.repeat(branches, 1, 1, 1)
    accepted = inspect.signature(scheduler.step).parameters
    settings = {"generator": generator, **step_settings}
    settings = {name: value for name, value in settings.items() if name in accepted and value is not None}
    with text_projected_once(unet):
        for step, timestep in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(latents, timestep).repeat(branches, 1, 1, 1)
            noise = predict_noise(unet, scaled, images, timestep, text, feature).to(latents.dtype)
            if branches == 3:
                noise = guidance.combine(*noise.chunk(3))
            latents = scheduler.step(noise, timestep, latents, return_dict=False, **settings)[0]
            if on_step is not None:
                latents = on_step(step, timestep, latents)
    if not bool(latents.isfinite().all()):
        raise SamplingError(_not_finite(unet, conditions))
    return latents


def _not_finite(unet: SmartEditUNet, conditions: Conditions) -> str:
    given = {"f'": conditions.text_features, "v'": conditions.image_feature}
    wrong = [name for name, tensor in given.items() if tensor is not None and not bool(tensor.isfinite().all())]
    where = f"the conditions {' and '.join(wrong)} are" if wrong else "the denoiser's latents are"
    if any(not bool(p.isfinite().all()) for p in unet.parameters()):
        return f"{where} not finite: the UNet's weights hold NaN or infinity; load the checkpoint anew"
    if unet.dtype == torch.float16:
        return f"{where} not finite: float16 overflowed; use bfloat16 or float32"
    return f"{where} not finite: look for NaN in the weights with `smartedit doctor`"
