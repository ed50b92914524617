"""The losses of SmartEdit (paper, Eq. 2 and 4) and of the alignment stage, with the dropping of conditions."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from smartedit.model.sequences import IGNORED, Sequences
from smartedit.model.smartedit import SmartEdit


@dataclass(frozen=True, kw_only=True, slots=True)
class EditBatch:
    """What a training step reads.

    Attributes:
        sequences: Request and answer with the picture spliced in, and targets.
        pixel_values: The source for the image encoder, [B, 3, H, W].
        source: The source for the autoencoder, [B, 3, 8h, 8w] in [-1, 1].
        target: The edited picture, the same.
        is_edit: [B], 1 for edits and painted segmentations, 0 for rows that only teach language.
    """

    sequences: Sequences
    pixel_values: Tensor
    source: Tensor
    target: Tensor
    is_edit: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """All randomness of a training step, drawn outside so that a step can be repeated.

    Attributes:
        condition: [B], uniform in [0, 1): decides which conditions are dropped.
        latent_noise: Of the autoencoder's sample, [B, 4, h, w].
        noise: eps, [B, 4, h, w].
        timesteps: t, [B], long.
    """

    condition: Tensor
    latent_noise: Tensor
    noise: Tensor
    timesteps: Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """The parts of the loss; `total` is what is minimized, with weight 1 on each (released code)."""

    language: Tensor
    diffusion: Tensor

    @property
    def total(self) -> Tensor:
        """Eq. 2 plus Eq. 4."""
        return self.language + self.diffusion


def draw(latent_shape: tuple[int, ...], *, num_timesteps: int, generator: torch.Generator) -> Draws:
    """Draw what a step needs, in a fixed order.

    Args:
        latent_shape: [B, 4, h, w].
        num_timesteps: Timesteps of the noise schedule.
        generator: On the CPU, so that every device sees the same numbers.
    """
    return Draws(
        condition=torch.rand(latent_shape[0], generator=generator),
        latent_noise=torch.randn(latent_shape, generator=generator),
        noise=torch.randn(latent_shape, generator=generator),
        timesteps=torch.randint(0, num_timesteps, (latent_shape[0],), generator=generator),
    )


def language_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The negative log-likelihood of the answer (Eq. 2), averaged over the labelled tokens of the batch.

    Args:
        logits: [B, L, vocabulary]; position i predicts token i + 1.
        targets: [B, L]; `IGNORED` where nothing is to be predicted. With all of them ignored the loss is 0.
    """
    shifted = targets[:, 1:].reshape(-1)
    total = cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), shifted.to(logits.device), ignore_index=IGNORED, reduction="sum"
    )
    return total / (shifted != IGNORED).sum().clamp(min=1)


def img_token_targets(sequences: Sequences) -> Tensor:
    """Targets that count the r [IMG] tokens only, as Eq. 2 is written; the released code counts the whole answer."""
    assert sequences.targets is not None
    return sequences.targets.masked_fill(~sequences.img_mask, IGNORED)


def dropped_conditions(condition: Tensor, rate: float = 0.05) -> tuple[Tensor, Tensor]:
    """Which conditions a step drops, so that guidance works: text only, both, or picture only, each at `rate`.

    Args:
        condition: [B], uniform in [0, 1).
        rate: Share of each case; 0.05 in the released code.

    Returns:
        Where the text is dropped and where the picture is dropped, [B] each.
    """
    return condition < 2 * rate, (condition >= rate) & (condition < 3 * rate)


def diffusion_loss(prediction: Tensor, noise: Tensor, is_edit: Tensor) -> Tensor:
    """|| eps - eps_delta ||^2 (Eq. 4), averaged over the whole batch; rows that are no edits count as zeros."""
    weight = is_edit.to(prediction.dtype).view(-1, 1, 1, 1)
    return mse_loss(prediction * weight, noise * weight)


def alignment_loss(text_features: Tensor, clip_features: Tensor) -> Tensor:
    """The distance of f to CLIP's features of the same caption, [B, n, C] each (alignment stage, released code)."""
    return mse_loss(text_features, clip_features)


def edit_losses(
    model: SmartEdit, vae: Any, scheduler: Any, batch: EditBatch, draws: Draws, *, img_tokens_only: bool = False
) -> Losses:
    """The losses of the stages `joint` and `full`.

    Args:
        model: SmartEdit, or a wrapper of it with the same call.
        vae: The frozen autoencoder of diffusers.
        scheduler: A scheduler of diffusers with `add_noise`.
        batch: The examples.
        draws: The step's randomness.
        img_tokens_only: Eq. 2 as written, instead of the whole answer as in the released code.
    """
    drop_text, drop_image = dropped_conditions(draws.condition)
    with torch.no_grad():
        latents = _sample(vae, batch.target, draws.latent_noise) * vae.config.scaling_factor
        image_latents = vae.encode(batch.source).latent_dist.mode()
    image_latents = image_latents.masked_fill(drop_image.view(-1, 1, 1, 1), 0)
    output = model(
        sequences=batch.sequences,
        pixel_values=batch.pixel_values,
        noisy_latents=scheduler.add_noise(latents, draws.noise, draws.timesteps),
        image_latents=image_latents,
        timesteps=draws.timesteps,
        drop_text=drop_text,
    )
    assert batch.sequences.targets is not None
    targets = img_token_targets(batch.sequences) if img_tokens_only else batch.sequences.targets
    return Losses(
        language=language_loss(output.logits, targets),
        diffusion=diffusion_loss(output.noise, draws.noise, batch.is_edit),
    )


def _sample(vae: Any, pixels: Tensor, noise: Tensor) -> Tensor:
    """A sample of the autoencoder's distribution with given noise."""
    distribution = vae.encode(pixels).latent_dist
    sample: Tensor = distribution.mean + distribution.std * noise
    return sample
