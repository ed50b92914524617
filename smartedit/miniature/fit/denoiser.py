"""Trains the miniature's editing UNet with its text encoder, as InstructPix2Pix is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import EMAModel
from numpy.typing import NDArray
from torch import Tensor, nn

from smartedit.config.model import ModelConfig
from smartedit.miniature.fit.muon import MuonWithAdamW
from smartedit.miniature.fit.pairs import batches
from smartedit.miniature.fit.precision import precision
from smartedit.miniature.fit.schedule import Journal, Plan, cosine, read_state, save_state
from smartedit.model.build import build_text_encoder, build_training_scheduler, build_unet
from smartedit.model.text import empty_text_ids
from smartedit.training.losses import (
    Timesteps,
    diffusion_loss,
    diffusion_target,
    draw,
    dropped_conditions,
    emphasis_on_changes,
)

TEXT = "text."
"""Begin of the names of the text encoder's weights."""
EMA_DECAY = 0.999
CHANGE_WEIGHT = 4.0
"""How much more an error counts where the pair differs: there is little of it, and all that is to be learned."""
TIME_POWER = 0.6
"""Timesteps are drawn as T u^0.6: what is edited is decided while there is much noise."""
LAST_SHARE = 0.5
"""Share of rows that are noised to the end, so that nothing but the order and the source can say what is edited. Where
a little of the finished picture shines through, as without zero terminal SNR, a denoiser learns to look there first,
and takes the noise that sampling begins with for such a glimpse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditLatents:
    """Pairs as latents and token ids.

    Attributes:
        latents: Unscaled means of all pictures, [N, C, h, w].
        before: Indices into the latents.
        after: Indices into the latents.
        ids: Token ids of the instructions, [M, text length].
    """

    latents: Tensor
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    ids: Tensor


def both(one: EditLatents, other: EditLatents) -> EditLatents:
    """The pairs of two sets."""
    offset = len(one.latents)
    return EditLatents(
        latents=torch.cat([one.latents, other.latents]),
        before=np.concatenate([one.before, offset + other.before]),
        after=np.concatenate([one.after, offset + other.after]),
        ids=torch.cat([one.ids, other.ids]),
    )


class TextToEdit(nn.Module):
    """Text encoder and UNet, trained together."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, length = config.qformer.hidden_size, config.qformer.num_queries
        self.text = build_text_encoder(config.text, hidden_size=width, num_tokens=length).requires_grad_(True).train()
        self.unet = build_unet(config.unet, text_size=width)
        self.num_tokens = length

    def forward(self, noisy: Tensor, image: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """Predict what the schedule's prediction type says."""
        features = self.text(ids).last_hidden_state
        predicted: Tensor = self.unet(torch.cat([noisy, image], dim=1), timesteps, features).sample
        return predicted


def fit_denoiser(
    rows: EditLatents,
    config: ModelConfig,
    scaling: float,
    plan: Plan,
    out: Path,
    *,
    text_steps: int,
    until: int,
    on_step: Callable[[], None] = lambda: None,
) -> TextToEdit:
    """Train text encoder and UNet together; conditions are dropped as SmartEdit's training drops them.

    The text encoder is trained for the first steps only: what SmartEdit is aligned to must not move any more.

    Args:
        rows: The pairs.
        config: Sizes and noise schedule.
        scaling: The autoencoder's scaling factor, for the noisy latents only.
        plan: Steps, batch, learning rate and seed.
        out: Where states and the journal lie.
        text_steps: Steps after which the averaged text encoder is frozen.
        until: Step to stop at; the plan's last one, or an earlier one to go on from with other latents.
        on_step: Called before each step.

    Returns:
        The averaged model, frozen.
    """
    torch.manual_seed(plan.seed)
    model = TextToEdit(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=0.01, betas=(0.9, 0.98))
    return _train(
        model, optimizer, rows, config, scaling, plan, out, text_steps=text_steps, until=until, on_step=on_step
    )


def fit_denoiser_on(
    rows: EditLatents,
    config: ModelConfig,
    scaling: float,
    plan: Plan,
    out: Path,
    *,
    start: Path,
    until: int,
    text_steps: int = 0,
    on_step: Callable[[], None] = lambda: None,
) -> TextToEdit:
    """Train the UNet on, by Muon, from the averaged model of a finished training.

    Args:
        rows: The pairs.
        config: Sizes and noise schedule.
        scaling: The autoencoder's scaling factor.
        plan: Steps, batch, learning rate and seed.
        out: Where states and the journal lie.
        start: `out` of `fit_denoiser`.
        until: As there.
        text_steps: As there; the text encoder is trained by AdamW, and without any stays as it is.
        on_step: As there.

    Returns:
        The averaged model, frozen.
    """
    model = averaged_denoiser(start, config).train()
    model.unet.requires_grad_(True)
    model.text.requires_grad_(text_steps > 0)
    optimizer = MuonWithAdamW(model, learning_rate=plan.learning_rate, ends=("conv_in", "conv_out", TEXT))
    return _train(
        model, optimizer, rows, config, scaling, plan, out, text_steps=text_steps, until=until, on_step=on_step
    )


def averaged_denoiser(folder: Path, config: ModelConfig) -> TextToEdit:
    """The averaged model of a saved state, frozen."""
    state = read_state(folder)
    assert state is not None
    model = TextToEdit(config)
    average = EMAModel(model.parameters())
    average.load_state_dict(state["average"])
    average.copy_to(model.parameters())
    return model.requires_grad_(False).eval()


def _train(
    model: TextToEdit,
    optimizer: Any,
    rows: EditLatents,
    config: ModelConfig,
    scaling: float,
    plan: Plan,
    out: Path,
    *,
    text_steps: int,
    until: int,
    on_step: Callable[[], None],
) -> TextToEdit:
    scheduler = build_training_scheduler(config.scheduler)
    average = EMAModel(model.parameters(), decay=EMA_DECAY, use_ema_warmup=True, power=0.75)
    step, state = 0, read_state(out)
    if state is not None:
        model.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        step = state["step"]
    journal, empty = Journal(out, plan), empty_text_ids(model.text, model.num_tokens)
    for chosen in batches(len(rows.ids), size=plan.batch_size, steps=until, start=step, seed=plan.seed):
        on_step()
        if step >= text_steps and next(model.text.parameters()).requires_grad:
            _freeze_text(model, average)
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, plan)
        with precision(bf16=plan.bf16):
            seed = plan.seed * 10**7 + step
            loss = _step_loss(model, scheduler, rows, torch.from_numpy(chosen), scaling, empty, seed)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.step(model.parameters())
        step += 1
        journal.note(step, loss=loss.item())
        if step % plan.save_every == 0 or step == until:
            save_state(out, model, optimizer, step, average=average.state_dict())
    average.copy_to(model.parameters())
    return model.requires_grad_(False).eval()


def _freeze_text(model: TextToEdit, average: EMAModel) -> None:
    """Put the average in the place of the text encoder's weights and keep it there."""
    shadows = dict(zip((name for name, _ in model.named_parameters()), average.shadow_params, strict=True))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith(TEXT):
                parameter.copy_(shadows[name])
                parameter.requires_grad_(False)
                parameter.grad = None


def _step_loss(
    model: TextToEdit,
    scheduler: DDPMScheduler,
    rows: EditLatents,
    chosen: Tensor,
    scaling: float,
    empty: Tensor,
    seed: int,
) -> Tensor:
    source = rows.latents[rows.before[chosen]].float()
    target = rows.latents[rows.after[chosen]].float() * scaling
    chosen_from = Timesteps(total=scheduler.config.num_train_timesteps, power=TIME_POWER, last_share=LAST_SHARE)
    draws = draw(tuple(target.shape), timesteps=chosen_from, generator=torch.Generator().manual_seed(seed))
    drop_text, drop_image = dropped_conditions(draws.condition)
    ids = torch.where(drop_text[:, None], empty, rows.ids[chosen])
    noisy = scheduler.add_noise(target, draws.noise, draws.timesteps)
    predicted = model(noisy, source.masked_fill(drop_image.view(-1, 1, 1, 1), 0), draws.timesteps, ids)
    expected = diffusion_target(scheduler, target, draws.noise, draws.timesteps)
    emphasis = emphasis_on_changes(source * scaling, target, CHANGE_WEIGHT)
    return diffusion_loss(predicted, expected, torch.ones(len(chosen)), emphasis)
