"""How much of everything goes into the shipped weights: scenes, steps, rates, seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from smartedit.miniature.fit.schedule import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All amounts; the defaults are those of the shipped weights.

    Attributes:
        seed: Of all drawn scenes.
        pair_scenes: Scenes of the denoiser's pairs.
        looks: Scenes with captions and questions.
        crawl: Texts of the alignment stage.
        corpora_scenes: Scenes of the miniature corpora.
        corpora_side: Pixels of their pictures' side.
        edit_prompts: InstructPix2Pix prompts of the stages' manifest.
        synthetic: Pairs of the synthetic set.
        tokenizer_texts: Scenes whose texts the tokenizers are trained on.
        autoencoder: Of the autoencoder's first part, on a seventh of the pictures; the denoiser begins with it.
        autoencoder_on: Of its second part, on three sevenths of them.
        decoder: Of the decoder alone, once the latents are fixed.
        early_steps: Denoiser steps on latents of the first part.
        clip: Of CLIP.
        language: Of words alone, of words and pictures, and of orders that are said back.
        denoiser: Of text encoder and UNet.
        denoiser_on: Of the UNet alone, afterwards, by Muon.
        shrunk_from: Of these steps, after how many the pairs are drawn at the corpora's side and shrunk.
        shrunk_scenes: Scenes of those pairs.
        denoiser_more: Of the UNet alone, once more, on many more such pairs, so that hardly one comes twice.
        more_scenes: Their scenes, those of `shrunk_scenes` among them; the alignment behind pictures reads them too.
        denoiser_last: Of the UNet alone, at last, on those pairs and what a looking-glass shows of them.
        plain_share: Of those pairs whose orders name a thing by kind alone, how many it is trained on.
        color_times: How often it takes each of them whose order names another color than the new thing has by itself.
        text_steps: Steps after which the text encoder is frozen.
        text_more_steps: First steps of `denoiser_last`, in which the text encoder is trained on: it has kept too little
            of the color that a new thing is to have.
        perceptual: Of LPIPS' backbone.
        picture_alignment: Of [IMG] tokens, LoRA and QFormer between `joint` and `full`.
        stages: Overrides of the preset's `[training.STAGE]`, by stage.
        full_again: Overrides of further trainings of `full`, each from the first one's model; the mean of all ships.
    """

    seed: int = 0
    pair_scenes: int = 14_000
    looks: int = 10_000
    crawl: int = 64_000
    corpora_scenes: int = 1500
    corpora_side: int = 128
    edit_prompts: int = 6000
    synthetic: int = 476
    tokenizer_texts: int = 1500
    autoencoder: Plan = Plan(steps=1100, batch_size=12, learning_rate=2e-3, warmup=50, save_every=250)
    autoencoder_on: Plan = Plan(steps=1250, batch_size=12, learning_rate=2e-3, warmup=50, seed=1, save_every=250)
    decoder: Plan = Plan(steps=900, batch_size=12, learning_rate=1.5e-3, warmup=50, seed=2, save_every=100)
    early_steps: int = 4500
    clip: Plan = Plan(steps=1600, batch_size=64, learning_rate=1e-3, save_every=400)
    language: tuple[Plan, Plan, Plan] = (
        Plan(steps=800, batch_size=64, learning_rate=2e-3, save_every=300),
        Plan(steps=550, batch_size=48, learning_rate=1e-3, seed=1, save_every=300),
        Plan(steps=900, batch_size=64, learning_rate=1.2e-3, warmup=50, seed=2, save_every=250),
    )
    denoiser: Plan = Plan(steps=10_500, batch_size=32, learning_rate=1.2e-3, warmup=200, save_every=250)
    denoiser_on: Plan = Plan(steps=12_000, batch_size=32, learning_rate=1e-3, seed=1, save_every=250)
    shrunk_from: int = 4500
    shrunk_scenes: int = 8000
    denoiser_more: Plan = Plan(steps=9000, batch_size=32, learning_rate=8e-4, seed=6, save_every=250)
    more_scenes: int = 62_000
    denoiser_last: Plan = Plan(steps=17_800, batch_size=80, learning_rate=1e-3, warmup=200, seed=11)
    plain_share: float = 0.5
    color_times: int = 4
    text_steps: int = 3500
    text_more_steps: int = 1200
    perceptual: Plan = Plan(steps=700, batch_size=48, learning_rate=6e-4, save_every=200)
    picture_alignment: Plan = Plan(steps=7400, batch_size=32, learning_rate=1e-3, warmup=50, seed=7, save_every=250)
    stages: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"full": ("training.steps=480", "training.ema_decay=0.99")}
    )
    full_again: tuple[tuple[str, ...], ...] = (
        ("training.steps=320", "training.ema_decay=0.99", "training.learning_rate=5e-5", "training.seed=1"),
        ("training.steps=360", "training.ema_decay=0.99", "training.seed=2"),
    )
