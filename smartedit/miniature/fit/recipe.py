"""How much of everything `smartedit miniature fit` takes: scenes, steps, rates, seeds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from reason_edit.files import write_text
from smartedit.config.training import StageName, load_training_config
from smartedit.miniature.fit.schedule import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All amounts; weights/README.md says where what ships had others.

    Attributes:
        amount: Which part of the defaults these are; `scaled` sets it.
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
        denoiser_last: Of the UNet alone, at last, on many more such pairs and what a looking-glass shows of them.
        more_scenes: Their scenes, those of `shrunk_scenes` among them; the alignment behind pictures reads them too.
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

    amount: float = 1.0
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
    denoiser_last: Plan = Plan(steps=12_000, batch_size=80, learning_rate=1e-3, warmup=200, seed=11)
    more_scenes: int = 62_000
    plain_share: float = 0.5
    color_times: int = 4
    text_steps: int = 3500
    text_more_steps: int = 1200
    perceptual: Plan = Plan(steps=700, batch_size=48, learning_rate=6e-4, save_every=200)
    picture_alignment: Plan = Plan(steps=4000, batch_size=32, learning_rate=1e-3, warmup=50, seed=7, save_every=250)
    stages: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"full": ("training.steps=480", "training.ema_decay=0.99")}
    )
    full_again: tuple[tuple[str, ...], ...] = (
        ("training.steps=160", "training.ema_decay=0.99", "training.learning_rate=5e-5", "training.seed=1"),
        ("training.steps=180", "training.ema_decay=0.99", "training.seed=2"),
    )


PRESET = "miniature"
FILE = "recipe.json"
LEAST, MOST = 0.01, 100.0
_LONG = 2000
_COUNTS = (
    "pair_scenes",
    "looks",
    "crawl",
    "corpora_scenes",
    "edit_prompts",
    "early_steps",
    "shrunk_from",
    "shrunk_scenes",
    "more_scenes",
    "text_steps",
    "text_more_steps",
)
"""What `scaled` takes less of, besides the steps of all plans and stages; the synthetic set has its size."""

_IN_BF16 = (
    "autoencoder",
    "autoencoder_on",
    "decoder",
    "language",
    "denoiser",
    "denoiser_on",
    "denoiser_last",
    "picture_alignment",
)
"""What `in_bf16` changes: the rest is short, or trained by the product's own loop with its own precision."""


def scaled(recipe: Recipe, amount: float) -> Recipe:
    """The same recipe with less, or more, of every drawing and every training.

    Args:
        recipe: A recipe.
        amount: By what scenes, texts and steps are multiplied; trainings of under 2,000 steps by its square root, for
            everything sees through the small networks of the first parts.

    Raises:
        ValueError: There would be fewer rows than one batch takes, or more than can be drawn.
    """
    if not LEAST <= amount <= MOST:
        raise ValueError(f"--amount {amount:g}: must be {LEAST:g} to {MOST:g}; 1 is the whole recipe")

    def some(count: int) -> int:
        return max(1, round(count * amount))

    def some_steps(steps: int) -> int:
        return some(steps) if steps >= _LONG else max(1, round(steps * amount**0.5))

    def shorter(value: Any) -> Any:
        if isinstance(value, Plan):
            steps = some_steps(value.steps)
            return replace(value, steps=steps, warmup=min(value.warmup, steps // 4))
        return tuple(map(shorter, value)) if isinstance(value, tuple) else value

    def stage(name: StageName, overrides: tuple[str, ...]) -> tuple[str, ...]:
        training = load_training_config(name, PRESET, overrides)
        steps = some_steps(training.steps)
        warmup = min(training.warmup_steps, steps // 4)
        return (*overrides, f"training.steps={steps}", f"training.warmup_steps={warmup}")

    plans = {f.name: shorter(getattr(recipe, f.name)) for f in fields(recipe) if f.name not in ("stages", "full_again")}
    return replace(
        recipe,
        **plans | {"amount": recipe.amount * amount} | {name: some(getattr(recipe, name)) for name in _COUNTS},
        stages={name.value: stage(name, tuple(recipe.stages.get(name.value, ()))) for name in StageName},
        full_again=tuple(stage(StageName.FULL, overrides) for overrides in recipe.full_again),
    )


def in_bf16(recipe: Recipe) -> Recipe:
    """The same recipe with the trainings that take long under bfloat16 autocast."""

    def half(value: Any) -> Any:
        return tuple(map(half, value)) if isinstance(value, tuple) else replace(value, bf16=True)

    return replace(recipe, **{name: half(getattr(recipe, name)) for name in _IN_BF16})


def keep_recipe(recipe: Recipe, work: Path) -> None:
    """Write the recipe into a folder of finished parts, or make sure that those were made by it.

    Raises:
        ValueError: They were made by another, or nobody knows by which; names the remedy.
    """
    path, asked = work / FILE, json.loads(json.dumps(asdict(recipe)))
    if path.is_file():
        try:
            before = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: cannot be read ({error}); name another folder") from error
        if before.get("amount") != recipe.amount:
            raise ValueError(f"{path}: was begun with --amount {before.get('amount')}; give it, or name another folder")
        changed = [name for name, value in asked.items() if before.get(name) != value]
        if changed:
            raise ValueError(
                f"{path}: was begun otherwise, with other values of {', '.join(changed)}; "
                "give the options that it was begun with, or name another folder"
            )
    elif recipe.amount != 1.0 and any(work.glob("*/")):
        raise ValueError(f"{work}: holds something, and no {FILE} tells of which amount; name an empty folder")
    write_text(path, json.dumps(asked, indent=1) + "\n")
