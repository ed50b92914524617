"""Trains the miniature's autoencoder: diffusers' AutoencoderKL on drawn pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from smartedit.config.model import VaeConfig
from smartedit.miniature.fit.pairs import batches
from smartedit.miniature.fit.precision import precision
from smartedit.miniature.fit.schedule import Journal, Plan, cosine, is_finished, resume, save_finished, save_state
from smartedit.model.build import build_vae

KL_WEIGHT = 1e-5
L1_WEIGHT = 0.25
EDGE_WEIGHT = 2.0
START_LOG_VARIANCE = -7.0
FINAL_LOG_VARIANCE = -12.0
DECODED_NOISE = 0.08


def signed(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [B, side, side, 3] as float32 [B, 3, side, side] in [-1, 1]."""
    # torch takes no view in a looking-glass; a batch is copied for it, and nothing that lies in order already.
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def fit_autoencoder(
    pictures: NDArray[np.uint8], config: VaeConfig, plan: Plan, out: Path, *, start: Path | None = None
) -> AutoencoderKL:
    """Train with errors of pixels and of their differences, and a small KL term.

    Args:
        pictures: uint8 [N, side, side, 3].
        config: Sizes.
        plan: Steps, batch, learning rate and seed.
        out: Where the finished autoencoder is written.
        start: An autoencoder to train on; None for random weights.

    Returns:
        The autoencoder, frozen; its scaling factor makes latents of unit variance.
    """
    if is_finished(out):
        return AutoencoderKL.from_pretrained(out).requires_grad_(False).eval()
    torch.manual_seed(plan.seed)
    vae = build_vae(config if start is None else replace(config, checkpoint=str(start))).requires_grad_(True).train()
    if start is None:
        _start_certain(vae)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=plan.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    step, journal = resume(out, vae, optimizer), Journal(out, plan)
    for rows in batches(len(pictures), size=plan.batch_size, steps=plan.steps, start=step, seed=plan.seed):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, plan)
        pixels = signed(pictures[np.sort(rows)])
        with precision(bf16=plan.bf16):
            posterior = vae.encode(pixels).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=torch.Generator().manual_seed(plan.seed * 10**6 + step))
            decoded = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        error, edges = mse_loss(decoded, pixels), _edge_loss(decoded, pixels)
        loss = error + L1_WEIGHT * l1_loss(decoded, pixels) + EDGE_WEIGHT * edges + KL_WEIGHT * posterior.kl().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        journal.note(step, mse=error.item(), edges=edges.item())
        if step % plan.save_every == 0:
            save_state(out, vae, optimizer, step)
    vae.requires_grad_(False).eval()
    end_certain(vae)
    vae.register_to_config(scaling_factor=_scaling_factor(vae, pictures[:512]))
    save_finished(vae, out)
    return vae


@torch.no_grad()
def _start_certain(vae: Any) -> None:
    """Begin with a small spread of the latents: at the usual start noise of deviation 1 hides every picture."""
    vae.quant_conv.bias[vae.config.latent_channels :] = START_LOG_VARIANCE


@torch.no_grad()
def end_certain(vae: Any) -> None:
    """Take the spread away: it taught the decoder to bear errors, and in a denoiser's targets it would be noise."""
    channels = vae.config.latent_channels
    vae.quant_conv.weight[channels:] = 0
    vae.quant_conv.bias[channels:] = FINAL_LOG_VARIANCE


def sharpen_decoder(pictures: NDArray[np.uint8], start: Path, plan: Plan, out: Path) -> AutoencoderKL:
    """Train the decoder alone on nearly exact latents; the latents themselves, and so a denoiser, stay as they are.

    Args:
        pictures: uint8 [N, side, side, 3].
        start: The finished autoencoder.
        plan: Steps, batch, learning rate and seed.
        out: Where the autoencoder with the new decoder is written.
    """
    if is_finished(out):
        return AutoencoderKL.from_pretrained(out).requires_grad_(False).eval()
    vae = AutoencoderKL.from_pretrained(start).requires_grad_(False).eval()
    trained = nn.ModuleList([vae.post_quant_conv, vae.decoder]).requires_grad_(True).train()
    optimizer = torch.optim.AdamW(trained.parameters(), lr=plan.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    step, journal = resume(out, trained, optimizer), Journal(out, plan)
    for rows in batches(len(pictures), size=plan.batch_size, steps=plan.steps, start=step, seed=plan.seed):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, plan)
        pixels = signed(pictures[np.sort(rows)])
        with torch.no_grad(), precision(bf16=plan.bf16):
            latents = vae.encode(pixels).latent_dist.mean.float()
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(plan.seed * 10**6 + step))
        with precision(bf16=plan.bf16):
            decoded = vae.decode(latents + DECODED_NOISE * noise).sample.float()
        error, edges = mse_loss(decoded, pixels), _edge_loss(decoded, pixels)
        loss = error + L1_WEIGHT * l1_loss(decoded, pixels) + EDGE_WEIGHT * edges
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        step += 1
        journal.note(step, mse=error.item(), edges=edges.item())
        if step % plan.save_every == 0:
            save_state(out, trained, optimizer, step)
    save_finished(vae.requires_grad_(False).eval(), out)
    return vae


def _edge_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Squared error of the differences between neighbours: absolute error would be content with flat pictures."""
    horizontal = mse_loss(decoded.diff(dim=-1), pixels.diff(dim=-1))
    return horizontal + mse_loss(decoded.diff(dim=-2), pixels.diff(dim=-2))


@torch.no_grad()
def _scaling_factor(vae: Any, pictures: NDArray[np.uint8]) -> float:
    return round(1 / float(vae.encode(signed(pictures)).latent_dist.mean.std()), 5)


@torch.no_grad()
def moments(vae: Any, pictures: NDArray[np.uint8], *, batch_size: int = 64, bf16: bool = False) -> Tensor:
    """Mean of the latents of all pictures, float32 [N, C, h, w]; the autoencoder's spread is small."""
    with precision(bf16=bf16):
        parts = [
            vae.encode(signed(pictures[k : k + batch_size])).latent_dist.mean.float()
            for k in range(0, len(pictures), batch_size)
        ]
    return torch.cat(parts)
