"""From nothing to the shipped weights: every step in order, each kept once it is done."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reason_edit.files import sole_holder
from smartedit.config.model import ModelConfig, load_model_config
from smartedit.config.training import StageName, load_training_config
from smartedit.data.build import build_from_file
from smartedit.inference.loading import LoadSettings, load_pipeline
from smartedit.inference.memory import Precision
from smartedit.miniature.corpora import SOURCES, write_corpora
from smartedit.miniature.fit.assembly import (
    save_instruct_pix2pix,
    save_mean,
    save_pipeline,
    save_start,
    save_text_encoder,
    save_with_denoiser,
)
from smartedit.miniature.fit.autoencoder import fit_autoencoder, moments, sharpen_decoder
from smartedit.miniature.fit.beside import Block, beside
from smartedit.miniature.fit.clip import ClipSizes, fit_clip, save_processor
from smartedit.miniature.fit.crawl import write_crawl
from smartedit.miniature.fit.denoiser import EditLatents, TextToEdit, both, fit_denoiser, fit_denoiser_on
from smartedit.miniature.fit.language import Talk, fit_language
from smartedit.miniature.fit.looks import Looks, draw_looks
from smartedit.miniature.fit.pairs import Pairs, draw_pairs, repeated, thinned, turned
from smartedit.miniature.fit.perceptual import fit_perceptual
from smartedit.miniature.fit.picture_alignment import fit_picture_alignment
from smartedit.miniature.fit.recipe import PRESET, Recipe, keep_recipe
from smartedit.miniature.fit.schedule import save_tensors
from smartedit.miniature.fit.shipping import ship
from smartedit.miniature.fit.texts import sample_texts
from smartedit.miniature.fit.tokenizers import clip_ids, fit_clip_tokenizer, fit_llama_tokenizer
from smartedit.miniature.stock import Stock
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.prompts import prompts_of
from smartedit.model.tokenizer import load_tokenizer, read_layout
from smartedit.training.train import train

logger = logging.getLogger(__name__)

MORE_EDITS = "../edits/InstructPix2PixCLIPFiltered_HF"
"""Beside the corpora: the same InstructPix2Pix set with more prompts."""
FULL_MEAN = "full-mean"


def fit_miniature(
    work: Path,
    weights: Path,
    recipe: Recipe | None = None,
    *,
    processes: int = 1,
    on_part: Callable[[str], None] = lambda name: None,
) -> dict[str, int]:
    """Draw, train and ship; the same call goes on where it was stopped.

    Args:
        work: Where drawings, states and finished parts lie; about 6 GB.
        weights: Where the parts that ship are written.
        recipe: Amounts.
        processes: Processes that draw. With two or more, what needs no autoencoder (CLIP, language model, corpora) is
            made beside it and the denoiser in another process, then `align` beside the denoiser's last steps, which no
            longer train its text encoder, and the baseline beside `joint` and `full`.
        on_part: Called with the name of each part that is begun here.

    Returns:
        Bytes of each shipped part.

    Raises:
        ValueError: What lies in the folder was made by another recipe.
        BusyError: The same call is at work there.
    """
    recipe, config = recipe or Recipe(), load_model_config(PRESET)
    if work.exists() and not work.is_dir():
        raise ValueError(f"{work}: is a file; name a folder")
    work.mkdir(parents=True, exist_ok=True)
    busy = f"{work}: is being written by another `miniature fit`; wait for it, or name another folder"
    with sole_holder(work / ".fit.lock", busy):
        keep_recipe(recipe, work)
        return _fit(work, weights, recipe, config, processes, on_part)


def _fit(
    work: Path, weights: Path, recipe: Recipe, config: ModelConfig, processes: int, on_part: Callable[[str], None]
) -> dict[str, int]:
    stock = Stock(seed=recipe.seed, size=config.sampling.image_size)
    on_part("tokenizers")
    texts = list(sample_texts(stock, recipe.tokenizer_texts))
    words = fit_clip_tokenizer(
        texts, work / "clip_tokenizer", vocab_size=config.text.vocab_size, length=config.qformer.num_queries
    )
    pieces = fit_llama_tokenizer(
        texts,
        work / "llama_tokenizer",
        vocab_size=config.mllm.language.vocab_size,
        num_img_tokens=config.mllm.num_img_tokens,
    )
    on_part("pairs and pictures")
    pairs = draw_pairs(
        work / "pairs", scenes=recipe.pair_scenes, size=stock.size, seed=recipe.seed, processes=processes
    )
    looks = draw_looks(work / "looks", scenes=recipe.looks, size=stock.size, seed=recipe.seed, processes=processes)
    at_once = processes > 1
    with beside(_all_beside, work, words, pieces, config, recipe, at_once=at_once, on_part=on_part) as told:
        vae, train_last = _see_and_edit(work, pairs, words, config, recipe, processes, told)
        worded = train_last(recipe.text_more_steps, told.look)
    mllm = _see_and_speak(work, pairs, looks, words, pieces, config, recipe, on_part)
    save_text_encoder(worded, words, work / "text_encoder")
    save_start(worded, mllm, vae, pieces, config, work / "start", seed=recipe.seed)
    on_part("corpora and manifests")
    manifest, crawl = _rows_of_stages(work, config, recipe)
    align = (StageName.ALIGN, work / "start", crawl, work, config, _overrides(recipe, "align"))
    with beside(_stage, *align, at_once=at_once, on_part=on_part) as told:
        told("denoiser, its last steps")
        denoiser = train_last(recipe.denoiser_last.steps, told.look)
    on_part("stage align")
    save_with_denoiser(_stage(*align), denoiser, work / "aligned")
    save_instruct_pix2pix(denoiser, vae, words, config, work / "instruct-pix2pix")
    baseline = (StageName.BASELINE, work / "instruct-pix2pix", manifest, work, config, _overrides(recipe, "baseline"))
    with beside(_stage, *baseline, at_once=at_once, on_part=on_part) as told:
        _stages(manifest, work, config, recipe, told, processes)
    on_part("stage baseline")
    _stage(*baseline)
    on_part("squeezenet")
    fit_perceptual(looks, recipe.perceptual, work / "perceptual")
    on_part("shipping")
    return ship(finished_parts(work), weights)


def _all_beside(work: Path, words: Any, pieces: Any, config: ModelConfig, recipe: Recipe) -> None:
    """In a second process, while autoencoder and denoiser are trained: all that needs neither of them."""

    def told(name: str) -> None:
        logger.info("beside: %s ...", name)

    stock = Stock(seed=recipe.seed, size=config.sampling.image_size)
    told("shrunk pictures")
    _shrunk(work, config, recipe, recipe.more_scenes, processes=1)
    pairs = draw_pairs(work / "pairs", scenes=recipe.pair_scenes, size=stock.size, seed=recipe.seed)
    looks = draw_looks(work / "looks", scenes=recipe.looks, size=stock.size, seed=recipe.seed)
    _see_and_speak(work, pairs, looks, words, pieces, config, recipe, told)
    told("squeezenet")
    fit_perceptual(looks, recipe.perceptual, work / "perceptual")
    told("corpora and manifests")
    _rows_of_stages(work, config, recipe)


def _see_and_speak(
    work: Path,
    pairs: Pairs,
    looks: Looks,
    words: Any,
    pieces: Any,
    config: ModelConfig,
    recipe: Recipe,
    on_part: Callable[[str], None],
) -> ImageTextMllm:
    """CLIP, and the language model that has its vision tower."""
    on_part("clip")
    sizes = ClipSizes(
        vision=config.mllm.vision,
        text=config.text,
        text_width=config.qformer.hidden_size,
        length=config.qformer.num_queries,
    )
    clip = fit_clip(looks, words, sizes, recipe.clip, work / "clip")
    save_processor(words, config.mllm.vision.image_size, work / "clip")
    on_part("language model")
    talk = Talk(
        tokenizer=pieces,
        layout=read_layout(pieces, config.mllm.num_img_tokens),
        prompts=prompts_of(config.prompts),
        num_patches=(config.mllm.vision.image_size // config.mllm.vision.patch_size) ** 2,
    )
    stock = Stock(seed=recipe.seed, size=config.sampling.image_size)
    return fit_language(looks, pairs, clip.vision_model, talk, config.mllm, stock, recipe.language, work / "language")


def finished_parts(work: Path) -> dict[str, Path]:
    """The parts that ship, of those that are finished."""
    parts = {
        "smartedit-miniature": work / FULL_MEAN,
        "instruct-pix2pix-miniature": work / StageName.BASELINE.value / "model",
        "clip-miniature": work / "clip",
        "squeezenet-miniature": work / "perceptual",
    }
    return {name: folder for name, folder in parts.items() if any(folder.rglob("*.safetensors"))}


def _see_and_edit(
    work: Path,
    pairs: Pairs,
    words: Any,
    config: ModelConfig,
    recipe: Recipe,
    processes: int,
    on_part: Block,
) -> tuple[Any, Callable[[int, Callable[[], None]], TextToEdit]]:
    """Autoencoder, and what trains the denoiser's last part until a step, all others being done.

    The denoiser begins on latents of the half-trained autoencoder, as on two cores.
    """

    def rows_of(pairs: Pairs, latents: Tensor) -> EditLatents:
        ids = clip_ids(words, pairs.instructions, config.qformer.num_queries)
        return EditLatents(latents=latents, before=pairs.before, after=pairs.after, ids=ids)

    latents_of = partial(_latents, bf16=recipe.autoencoder.bf16)
    seventh = len(pairs.pictures) // 7
    early = fit_autoencoder(pairs.pictures[:seventh], config.vae, recipe.autoencoder, work / "vae-early")
    scaling = early.config.scaling_factor
    on_part("denoiser, first steps")
    plan, states = recipe.denoiser, work / "denoiser"
    rows = rows_of(pairs, latents_of(early, pairs, work / "latents-early.pt"))
    begin = partial(fit_denoiser, text_steps=recipe.text_steps, on_step=on_part.look)
    begin(rows, config, scaling, plan, states, until=recipe.early_steps)
    on_part("autoencoder, second part")
    others = pairs.pictures[seventh : 4 * seventh]
    vae = fit_autoencoder(others, config.vae, recipe.autoencoder_on, work / "vae", start=work / "vae-early")
    sharp = sharpen_decoder(others, work / "vae", recipe.decoder, work / "vae-sharp")
    scaling = vae.config.scaling_factor
    on_part("denoiser")
    rows = replace(rows, latents=latents_of(vae, pairs, work / "latents.pt"))
    begin(rows, config, scaling, plan, states, until=plan.steps)
    on_part("denoiser, on")
    on = work / "denoiser-on"
    go_on = partial(fit_denoiser_on, start=states, on_step=on_part.look)
    go_on(rows, config, scaling, recipe.denoiser_on, on, until=recipe.shrunk_from)
    on_part("denoiser, on shrunk pictures")
    shrunk = _shrunk(work, config, recipe, recipe.shrunk_scenes, processes)
    rows = rows_of(shrunk, latents_of(vae, shrunk, work / f"latents-shrunk-{recipe.shrunk_scenes}.pt"))
    go_on(rows, config, scaling, recipe.denoiser_on, on, until=recipe.denoiser_on.steps)
    on_part("denoiser, more of them and in a looking-glass")
    shrunk, name = _shrunk(work, config, recipe, recipe.more_scenes, processes), f"latents-shrunk-{recipe.more_scenes}"
    latents = latents_of(vae, shrunk, work / f"{name}.pt")
    few = repeated(thinned(shrunk, recipe.plain_share, seed=recipe.seed), recipe.color_times)
    glass = turned(few)
    rows = both(rows_of(few, latents), rows_of(glass, latents_of(vae, glass, work / f"{name}-turned.pt")))
    plan = recipe.denoiser_last

    def train_last(until: int, on_step: Callable[[], None]) -> TextToEdit:
        last, words_too = work / "denoiser-last", recipe.text_more_steps
        return fit_denoiser_on(
            rows, config, scaling, plan, last, start=on, until=until, text_steps=words_too, on_step=on_step
        )

    return sharp, train_last


def _shrunk(work: Path, config: ModelConfig, recipe: Recipe, scenes: int, processes: int) -> Pairs:
    """Pairs as an editor sees the benchmark's pictures: drawn large."""
    return draw_pairs(
        work / "pairs-shrunk",
        scenes=scenes,
        size=config.sampling.image_size,
        seed=recipe.seed,
        side=recipe.corpora_side,
        processes=processes,
    )


def _latents(vae: Any, pairs: Pairs, file: Path, *, bf16: bool) -> Tensor:
    if not file.is_file():
        save_tensors(moments(vae, pairs.pictures, bf16=bf16).half().contiguous(), file)
    latents: Tensor = torch.load(file, weights_only=True)
    return latents


def _stage(
    stage: StageName,
    start: Path,
    manifest: Path,
    work: Path,
    config: ModelConfig,
    overrides: Sequence[str],
    name: str | None = None,
) -> Path:
    """Train one stage in the folder of its name."""
    return train(
        stage,
        start=start,
        manifest=manifest,
        run=work / (name or stage.value),
        model=config,
        training=load_training_config(stage, PRESET, overrides),
        text_encoder=work / "text_encoder" if stage is StageName.ALIGN else None,
    )


def _stages(
    manifest: Path, work: Path, config: ModelConfig, recipe: Recipe, on_part: Callable[[str], None], processes: int
) -> None:
    """SmartEdit's second and third stage, by the product's own training; between them our own."""
    on_part("stage joint")
    joint = _stage(StageName.JOINT, work / "aligned", manifest, work, config, _overrides(recipe, "joint"))
    on_part("alignment behind pictures")
    aligned = _align_behind_pictures(joint, work, config, recipe, processes)
    on_part("stage full")
    first = _stage(StageName.FULL, aligned, manifest, work, config, _overrides(recipe, "full"))
    _mean_of_full(first, manifest, work, config, recipe, on_part)


def _overrides(recipe: Recipe, stage: str) -> tuple[str, ...]:
    return tuple(recipe.stages.get(stage, ()))


def _rows_of_stages(work: Path, config: ModelConfig, recipe: Recipe) -> tuple[Path, Path]:
    """The manifest of the corpora and that of the alignment's texts."""
    stock = Stock(seed=recipe.seed, count=recipe.corpora_scenes, size=recipe.corpora_side, synthetic=recipe.synthetic)
    write_corpora(work / "corpora", stock)
    write_corpora(work / "edits", replace(stock, count=recipe.edit_prompts), only=["instructpix2pix-hub"])
    write_crawl(work / "crawl", replace(stock, size=config.sampling.image_size), recipe.crawl)
    manifest = _manifest(work / "corpora", work / "corpora-manifest", f"sources.instructpix2pix.root={MORE_EDITS}")
    return manifest, _manifest(work / "crawl", work / "crawl-manifest")


def _mean_of_full(
    first: Path, manifest: Path, work: Path, config: ModelConfig, recipe: Recipe, on_part: Callable[[str], None]
) -> None:
    """Some more trainings of `full` from the first one's model, and the mean of all."""
    models = [first]
    for number, overrides in enumerate(recipe.full_again, start=1):
        name = f"{StageName.FULL.value}-{number}"
        on_part(f"stage {StageName.FULL.value}, once more: {number}")
        models.append(_stage(StageName.FULL, first, manifest, work, config, overrides, name))
    save_mean(models, work / FULL_MEAN)


def _align_behind_pictures(joint: Path, work: Path, config: ModelConfig, recipe: Recipe, processes: int) -> Path:
    from transformers import CLIPTextModel

    out = work / "picture-alignment"
    if not (out / "model" / "model_index.json").is_file():
        pairs = _shrunk(work, config, recipe, recipe.more_scenes, processes)
        pipeline = load_pipeline(joint, LoadSettings(device="cpu", precision=Precision.FLOAT32))
        text_encoder = CLIPTextModel.from_pretrained(work / "text_encoder").requires_grad_(False).eval()
        words = load_tokenizer(work / "text_encoder")
        prompts = prompts_of(config.prompts)
        fit_picture_alignment(pipeline, text_encoder, words, prompts, pairs, recipe.picture_alignment, out)
        save_pipeline(pipeline, out / "model")
    return out / "model"


def _manifest(corpora: Path, out: Path, *overrides: str) -> Path:
    return build_from_file(corpora / SOURCES, out, overrides).manifest
