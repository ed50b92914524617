"""Trains the miniature's CLIP on drawn pictures and cut-outs with their words."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from smartedit.config.model import TextConfig, VisionConfig
from smartedit.miniature.fit.looks import Looks
from smartedit.miniature.fit.pairs import batches
from smartedit.miniature.fit.schedule import Journal, Plan, cosine, is_finished, resume, save_finished, save_state
from smartedit.miniature.fit.tokenizers import clip_ids
from smartedit.model.images import CLIP_MEAN, CLIP_STD


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipSizes:
    """Sizes of the two towers.

    Attributes:
        vision: The picture's.
        text: The text's.
        text_width: Width of the text tower.
        length: Text length in tokens.
        projection: Width of the common space.
    """

    vision: VisionConfig
    text: TextConfig
    text_width: int
    length: int
    projection: int = 96


def normalized(pictures: Any) -> Tensor:
    """uint8 [B, side, side, 3] as CLIP's input, float32 [B, 3, side, side]."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)


def fit_clip(looks: Looks, tokenizer: Any, sizes: ClipSizes, plan: Plan, out: Path) -> Any:
    """Train by the usual contrast within a batch; half of a batch are whole pictures, half cut-outs.

    Texts that occur twice in a batch count as right for both.

    Args:
        looks: Pictures, cut-outs and texts.
        tokenizer: CLIP's.
        sizes: Of the towers.
        plan: Steps, batch, learning rate and seed.
        out: Where the finished model is written.
    """
    from transformers import CLIPConfig, CLIPModel

    if is_finished(out):
        return CLIPModel.from_pretrained(out).requires_grad_(False).eval()
    torch.manual_seed(plan.seed)
    model = CLIPModel(_config(CLIPConfig, sizes)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=0.05, betas=(0.9, 0.98))
    step, journal = resume(out, model, optimizer), Journal(out, plan)
    captions = clip_ids(tokenizer, looks.captions, sizes.length)
    labels = clip_ids(tokenizer, looks.labels, sizes.length)
    half = plan.batch_size // 2
    for rows in batches(len(looks.captions), size=half, steps=plan.steps, start=step, seed=plan.seed):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, plan)
        pixels = normalized(np.concatenate([looks.pictures[rows], looks.cutouts[rows]]))
        ids = torch.cat([captions[rows], labels[rows]])
        output = model(input_ids=ids, pixel_values=pixels)
        same = (ids[:, None] == ids[None]).all(dim=-1).float()
        wanted = same / same.sum(dim=1, keepdim=True)
        logits = output.logits_per_image
        loss = (cross_entropy(logits, wanted) + cross_entropy(logits.T, wanted)) / 2
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        found = wanted.gather(1, logits.argmax(dim=1, keepdim=True)) > 0
        journal.note(step, loss=loss.item(), found=found.float().mean().item())
        if step % plan.save_every == 0:
            save_state(out, model, optimizer, step)
    model.requires_grad_(False).eval()
    save_finished(model, out)
    return model


def save_processor(tokenizer: Any, side: int, out: Path) -> None:
    """Write tokenizer and picture processor beside the model, so that the folder is a whole CLIP of transformers."""
    from transformers import CLIPImageProcessor

    tokenizer.save_pretrained(out)
    processor = CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor.save_pretrained(out)


def _config(config: Any, sizes: ClipSizes) -> Any:
    vision, text = sizes.vision, sizes.text
    return config(
        text_config={
            "vocab_size": text.vocab_size,
            "hidden_size": sizes.text_width,
            "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_layers,
            "num_attention_heads": text.num_heads,
            "max_position_embeddings": sizes.length,
            "hidden_act": "quick_gelu",
            "bos_token_id": text.vocab_size - 2,
            "eos_token_id": text.vocab_size - 1,
            "pad_token_id": text.vocab_size - 1,
        },
        vision_config={
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "num_hidden_layers": vision.num_layers,
            "num_attention_heads": vision.num_heads,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
            "hidden_act": "quick_gelu",
        },
        projection_dim=sizes.projection,
    )
