"""The losses of SmartEdit (paper, Eq. 2 and 4) and of the alignment stage, with the dropping of conditions."""

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from torch import Tensor
from torch.nn.functional import cross_entropy, max_pool2d, mse_loss

from smartedit.model.sequences import IGNORED, Sequences
from smartedit.model.smartedit import Needed, SmartEdit


class Pictures(Protocol):
    """Pictures before and after, as in `EditBatch`."""

    @property
    def source(self) -> Tensor:
        """Before."""
        ...

    @property
    def target(self) -> Tensor:
        """After."""
        ...


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

    def to(self, device: torch.device | str) -> "EditBatch":
        """The same on another device."""
        return EditBatch(
            sequences=self.sequences.to(device),
            pixel_values=self.pixel_values.to(device),
            source=self.source.to(device),
            target=self.target.to(device),
            is_edit=self.is_edit.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the frozen encoders made of a batch's pictures.

    Attributes:
        source_moments: Mean and log-variance of the autoencoder for the source, [B, 8, h, w].
        target_moments: The same for the edited picture.
        image_features: v, [B, P, C]; None to let the image encoder see `EditBatch.pixel_values`.
    """

    source_moments: Tensor
    target_moments: Tensor
    image_features: Tensor | None = None


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

    def to(self, device: torch.device | str) -> "Draws":
        """The same on another device."""
        return Draws(
            condition=self.condition.to(device),
            latent_noise=self.latent_noise.to(device),
            noise=self.noise.to(device),
            timesteps=self.timesteps.to(device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """The parts of the loss; `total` is what is minimized, with weight 1 on each (released code)."""

    language: Tensor
    diffusion: Tensor

    @property
    def total(self) -> Tensor:
        """Eq. 2 plus Eq. 4."""
        return self.language + self.diffusion


@dataclass(frozen=True, kw_only=True, slots=True)
class Timesteps:
    """Which timesteps are drawn; the defaults are the released code's, all alike.

    Attributes:
        total: T, those of the noise schedule.
        power: p; they are drawn as T u^p with u uniform in [0, 1).
        last_share: Share of rows that get T - 1 instead.
    """

    total: int
    power: float = 1.0
    last_share: float = 0.0


def draw(latent_shape: tuple[int, ...], *, timesteps: Timesteps, generator: torch.Generator) -> Draws:
    """Draw what a step needs, in a fixed order.

    Args:
        latent_shape: [B, 4, h, w].
        timesteps: Which timesteps.
        generator: On the CPU, so that every device sees the same numbers.
    """
    rows, total = latent_shape[0], timesteps.total
    condition = torch.rand(rows, generator=generator)
    latent_noise = torch.randn(latent_shape, generator=generator)
    noise = torch.randn(latent_shape, generator=generator)
    drawn = torch.randint(0, total, (rows,), generator=generator)
    if timesteps.power != 1:
        drawn = (((drawn + 0.5) / total) ** timesteps.power * total).long()
    last = torch.rand(rows, generator=generator) < timesteps.last_share
    return Draws(
        condition=condition, latent_noise=latent_noise, noise=noise, timesteps=drawn.masked_fill(last, total - 1)
    )


def language_loss(logits: Tensor, targets: Tensor, num_labels: float | None = None) -> Tensor:
    """The negative log-likelihood of the answer (Eq. 2), averaged over the labelled tokens of the batch.

    Args:
        logits: [B, L, vocabulary]; position i predicts token i + 1.
        targets: [B, L]; `IGNORED` where nothing is to be predicted. With all of them ignored the loss is 0.
        num_labels: Divide by this instead of the batch's own number, where the batch is part of a larger step.
    """
    shifted = targets[:, 1:].reshape(-1)
    total = cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), shifted.to(logits.device), ignore_index=IGNORED, reduction="sum"
    )
    return _per_label(total, targets, num_labels)


def _per_label(total: Tensor, targets: Tensor, num_labels: float | None) -> Tensor:
    return total / (count_labels(targets).clamp(min=1) if num_labels is None else (num_labels or 1.0))


def count_labels(targets: Tensor) -> Tensor:
    """How many tokens of [B, L] are to be predicted."""
    return (targets[:, 1:] != IGNORED).sum()


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


def labelled(targets: Tensor) -> Tensor:
    """The positions of [B, L] whose next token is to be predicted."""
    following = targets.roll(-1, dims=1)
    following[:, -1] = IGNORED
    return following != IGNORED


def rows_to_denoise(is_edit: Tensor) -> Tensor:
    """The edits among [B] rows; where there are none the first row, so that every process runs every module."""
    rows = is_edit.nonzero().flatten()
    return rows if len(rows) else rows.new_zeros(1)


def diffusion_loss(prediction: Tensor, target: Tensor, is_edit: Tensor, emphasis: Tensor | None = None) -> Tensor:
    """|| eps - eps_delta ||^2 (Eq. 4), averaged over the whole batch; rows that are no edits count as zeros.

    Args:
        prediction: [B, 4, h, w].
        target: The same.
        is_edit: [B].
        emphasis: From `emphasis_on_changes`; None where all errors count alike.
    """
    weight = is_edit.float().view(-1, 1, 1, 1)
    if emphasis is None:
        return mse_loss(prediction.float() * weight, target.float() * weight)
    return ((prediction.float() - target.float()).square() * weight * emphasis).mean()


CHANGED = 0.35
"""Mean absolute difference of two latents (in their standard deviations) from which a place counts as changed."""


def emphasis_on_changes(source: Tensor, target: Tensor, weight: float) -> Tensor | None:
    """How much errors count: those where two pictures differ, and those beside, `weight` times the others.

    Args:
        source: Scaled latents, [B, 4, h, w].
        target: The same of the edited picture.
        weight: At least 1.

    Returns:
        [B, 1, h, w], of mean 1 in each row; None for weight 1.
    """
    if weight == 1:
        return None
    changed = ((target - source).abs().mean(dim=1, keepdim=True) > CHANGED).float()
    counted = 1 + (weight - 1) * max_pool2d(changed, 3, stride=1, padding=1)
    return counted / counted.mean(dim=(1, 2, 3), keepdim=True)


def diffusion_target(scheduler: Any, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
    """What the denoiser is to predict: eps (Eq. 4), or v = alpha eps - sigma z where the schedule says so.

    Args:
        scheduler: Of diffusers; its `prediction_type` decides.
        latents: z, [B, 4, h, w].
        noise: eps, the same.
        timesteps: t, [B].

    Raises:
        ValueError: The schedule predicts something else.
    """
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "v_prediction":
        velocity: Tensor = scheduler.get_velocity(latents, noise, timesteps)
        return velocity
    raise ValueError(f"model.scheduler.prediction_type: trained can be epsilon and v_prediction, not {kind!r}")


def alignment_loss(text_features: Tensor, clip_features: Tensor) -> Tensor:
    """The distance of f to CLIP's features of the same caption, [B, n, C] each (alignment stage, released code)."""
    return mse_loss(text_features.float(), clip_features.float())


def edit_losses(
    model: SmartEdit,
    vae: Any,
    scheduler: Any,
    batch: EditBatch,
    draws: Draws,
    *,
    seen: Seen | None = None,
    img_tokens_only: bool = False,
    dropout_rate: float = 0.05,
    num_labels: float | None = None,
    needed_only: bool = False,
    length_groups: int = 1,
    change_weight: float = 1.0,
) -> Losses:
    """The losses of the stages `joint` and `full`.

    Args:
        model: SmartEdit, or a wrapper of it with the same call.
        vae: The frozen autoencoder of diffusers.
        scheduler: A scheduler of diffusers with `add_noise`.
        batch: The examples.
        draws: The step's randomness.
        seen: What the frozen encoders made of the pictures before; None to let them see the pictures now.
        img_tokens_only: Eq. 2 as written, instead of the whole answer as in the released code.
        dropout_rate: As in `dropped_conditions`.
        num_labels: As in `language_loss`.
        needed_only: Score labelled positions and denoise edits only, which gives the same losses for less work; the
            released code scores all positions and multiplies the noise of other rows by zero.
        length_groups: With `needed_only`, as in `Needed`.
        change_weight: As in `emphasis_on_changes`.
    """
    drop_text, drop_image = dropped_conditions(draws.condition, dropout_rate)
    noised = noised_latents(vae, scheduler, batch, draws, seen, drop_image, change_weight)
    features = None if seen is None else seen.image_features
    assert batch.sequences.targets is not None
    targets = img_token_targets(batch.sequences) if img_tokens_only else batch.sequences.targets
    needed = None
    if needed_only:
        needed = Needed(scored=labelled(targets), denoised=rows_to_denoise(batch.is_edit), length_groups=length_groups)
    output = model(
        sequences=batch.sequences,
        pixel_values=batch.pixel_values if features is None else None,
        noisy_latents=noised.noisy,
        image_latents=noised.condition,
        timesteps=draws.timesteps,
        drop_text=drop_text,
        image_features=features,
        needed=needed,
    )
    if needed is None:
        return Losses(
            language=language_loss(output.logits, targets, num_labels),
            diffusion=diffusion_loss(output.noise, noised.target, batch.is_edit, noised.emphasis),
        )
    rows, expected = needed.denoised, targets.roll(-1, dims=1)[needed.scored]
    likelihood = cross_entropy(output.logits.float(), expected.to(output.logits.device), reduction="sum")
    emphasis = None if noised.emphasis is None else noised.emphasis[rows]
    denoised = diffusion_loss(output.noise, noised.target[rows], batch.is_edit[rows], emphasis)
    return Losses(
        language=_per_label(likelihood, targets, num_labels),
        diffusion=denoised * (len(rows) / len(batch.is_edit)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class NoisedLatents:
    """Latents of a diffusion step, [B, 4, h, w] each.

    Attributes:
        noisy: z_t.
        condition: E(x), unscaled, zero where the picture is dropped.
        target: What the denoiser is to predict.
        emphasis: From `emphasis_on_changes`, [B, 1, h, w].
    """

    noisy: Tensor
    condition: Tensor
    target: Tensor
    emphasis: Tensor | None = None


@torch.no_grad()
def noised_latents(
    vae: Any,
    scheduler: Any,
    batch: Pictures,
    draws: Draws,
    seen: Seen | None,
    drop_image: Tensor,
    change_weight: float = 1.0,
) -> NoisedLatents:
    """The latents of a step: the edited picture's with noise, and the source's as condition.

    Args:
        vae: The frozen autoencoder.
        scheduler: The schedule of the noise.
        batch: The pictures; not read where `seen` is given.
        draws: The step's randomness.
        seen: What the autoencoder made of the pictures before.
        drop_image: [B], where the condition is dropped.
        change_weight: As in `emphasis_on_changes`.
    """
    if seen is None:
        # In the autoencoder's own precision, as the cache keeps it.
        with torch.autocast(batch.target.device.type, enabled=False):
            target, source = vae.encode(batch.target).latent_dist, vae.encode(batch.source).latent_dist
    else:
        target = DiagonalGaussianDistribution(seen.target_moments)
        source = DiagonalGaussianDistribution(seen.source_moments)
    # The mode of the source and a sample of the target with given noise, as in the released code.
    latents = (target.mean + target.std * draws.latent_noise) * vae.config.scaling_factor
    condition = source.mode()
    return NoisedLatents(
        noisy=scheduler.add_noise(latents, draws.noise, draws.timesteps),
        condition=condition.masked_fill(drop_image.view(-1, 1, 1, 1), 0),
        target=diffusion_target(scheduler, latents, draws.noise, draws.timesteps),
        emphasis=emphasis_on_changes(condition * vae.config.scaling_factor, latents, change_weight),
    )
