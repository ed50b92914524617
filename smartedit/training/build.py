"""Builds what a stage trains from a pipeline's folder and a manifest."""

import logging
from collections.abc import Callable, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, StableDiffusionInstructPix2PixPipeline
from PIL import Image
from torch import Tensor, nn

from smartedit.config.model import ModelConfig
from smartedit.config.training import Precision, StageName, TrainingConfig
from smartedit.data.decoding import DecodingRules
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture, load_mixture
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.build import bim_settings, build_bim
from smartedit.model.prompts import Phrasing, Prompts, prompts_of, read_prompts
from smartedit.model.smartedit import SmartEdit
from smartedit.model.text import EmptyText
from smartedit.model.tokenizer import load_tokenizer
from smartedit.seeding import seed_from
from smartedit.training.alignment import Alignment, AlignTrainee
from smartedit.training.baseline import BaselineTrainee, PairDataset, pairs_of
from smartedit.training.caching import Encoder, weights_digest
from smartedit.training.captions import CAPTION_PROMPTS, CaptionDataset, caption_sources
from smartedit.training.dataset import ManifestDataset, RowFormat
from smartedit.training.decoded_rows import DecodedRows
from smartedit.training.editing import EditTrainee
from smartedit.training.losses import Timesteps
from smartedit.training.stages import STAGES, Rows, StageError, choose_parameters, read_settings
from smartedit.training.trainee import Latents, Trainee
from smartedit.training.visits import LAST

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltStage:
    """What a stage trains, and what it needs besides.

    Attributes:
        trainee: For the loop.
        frozen: Modules outside the trained one.
        encoders: Makes the frozen encoders whose results can be kept: autoencoder, and image encoder or None; None
            where there are none.
        shown: Rows of which edits are made while it trains, and what makes them; None where there are none. They share
            nothing with the rows that a thread reads meanwhile: open files and tokenizers are one thread's.
    """

    trainee: Trainee
    frozen: tuple[nn.Module, ...]
    encoders: Callable[[], tuple[Encoder, Encoder | None]] | None
    shown: tuple[DecodedRows, Callable[[Image.Image, str, int], Image.Image]] | None = None


def build_trainee(
    stage: StageName,
    *,
    start: Path,
    manifest: Path,
    model: ModelConfig,
    training: TrainingConfig,
    text_encoder: Path | None,
) -> BuiltStage:
    """Build a stage; see `smartedit.training.train.train`.

    Raises:
        StageError: The start or the text encoder does not fit the stage.
    """
    if not (start / "model_index.json").is_file():
        raise StageError(f"{start}: is no pipeline to start from: there is no model_index.json in it")
    opened = Manifest(manifest)
    index = read_settings(start / "model_index.json")
    kind = index.get("_class_name") if isinstance(index, dict) else None
    wanted = (StableDiffusionInstructPix2PixPipeline if stage is StageName.BASELINE else SmartEditPipeline).__name__
    if kind != wanted:
        raise StageError(f"{start}: is a {kind}; stage {stage.value} starts from a {wanted}")
    torch.manual_seed(seed_from("new modules", training.seed, stage.value))
    if stage is StageName.BASELINE:
        return _baseline(start, opened, model, training)
    pipeline = SmartEditPipeline.from_pretrained(start)
    _check_schedule(pipeline, model)
    _tell_what_stays(pipeline, stage, model)
    smartedit = _model_of(pipeline, stage, model)
    trained = choose_parameters(smartedit, stage)
    if training.mixed_precision is Precision.BFLOAT16:
        _halve_frozen(smartedit.mllm)
    if training.gradient_checkpointing:
        smartedit.mllm.model.gradient_checkpointing_enable({"use_reentrant": False})
        smartedit.unet.enable_gradient_checkpointing()
    if STAGES[stage].rows is Rows.CAPTIONS:
        return _align(pipeline, smartedit, trained, opened, model, training, text_encoder)
    return _edit(pipeline, smartedit, trained, opened, model, training)


def _model_of(pipeline: SmartEditPipeline, stage: StageName, model: ModelConfig) -> SmartEdit:
    """The pipeline's parts, with what the stage adds to them."""
    mllm = pipeline.mllm
    lora = model.mllm.lora
    if "lora" in STAGES[stage].trains and not mllm.config.lora_rank and lora is not None:
        mllm.add_lora(rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=lora.target_modules)
    elif "lora" in STAGES[stage].trains and lora is not None:
        has = {name: mllm.config[f"lora_{name}"] for name in ("rank", "alpha", "dropout")}
        others = ", ".join(
            f"{name} {kept}, not {getattr(lora, name)}" for name, kept in has.items() if kept != getattr(lora, name)
        )
        if others:
            logger.warning("the start has LoRA already, and it stays as it is: %s (model.mllm.lora)", others)
    bim = pipeline.bim
    if "unet" in STAGES[stage].trains and not STAGES[stage].interaction:
        bim = None
    elif STAGES[stage].interaction:
        sizes = {
            "text_size": pipeline.qformer.config.hidden_size,
            "output_size": pipeline.unet.config.block_out_channels[0],
        }
        if bim is None:
            bim = build_bim(model.bim, **sizes)
        else:
            _check_bim(bim, bim_settings(model.bim, **sizes))
    pipeline.register_modules(bim=bim)
    return SmartEdit(mllm=mllm, qformer=pipeline.qformer, bim=bim, unet=pipeline.unet, empty_text=pipeline.empty_text)


def _check_bim(bim: Any, asked: Mapping[str, Any] | None) -> None:
    """A start's own module goes on being trained; it must be the one that the settings tell of."""
    if asked is None:
        others = "there is one, and model.bim.interaction is plain"
    else:
        others = ", ".join(
            f"{name} is {bim.config.get(name)}, and asked for is {value}"
            for name, value in asked.items()
            if bim.config.get(name) != value
        )
    if others:
        raise StageError(
            f"--start: its interaction module differs from model.bim: {others}; start from RUN/model of stage joint, "
            "which has none yet, or set model.bim as the start has it"
        )


def _check_schedule(pipeline: Any, model: ModelConfig) -> None:
    for name in ("prediction_type", "rescale_betas_zero_snr"):
        # Schedules of old know no zero terminal SNR.
        found, asked = pipeline.scheduler.config.get(name, False), getattr(model.scheduler, name)
        if found != asked:
            raise StageError(
                f"--start: its scheduler has {name} {found}, model.scheduler.{name} is {asked}; a model samples as it "
                "was trained, so both must be the same"
            )


def _tell_what_stays(pipeline: SmartEditPipeline, stage: StageName, model: ModelConfig) -> None:
    """Some settings are the start's for good; tell of those that are asked for otherwise."""
    values = {"model.qformer.dropout": (pipeline.qformer.config.dropout, model.qformer.dropout)}
    if STAGES[stage].rows is Rows.EDITS:
        values["model.sampling.image_size"] = (pipeline.config.image_size, model.sampling.image_size)
        values["model.mllm.max_text_tokens"] = (pipeline.config.max_text_tokens, model.mllm.max_text_tokens)
    others = ", ".join(f"{name} {kept}, not {asked}" for name, (kept, asked) in values.items() if kept != asked)
    if others:
        logger.warning("the start has settings of its own, and they stay as they are: %s", others)


def _halve_frozen(module: nn.Module) -> None:
    """Frozen weights in bfloat16, as in the released code; trained ones stay float32."""
    for parameter in module.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)


def _align(
    pipeline: SmartEditPipeline,
    smartedit: SmartEdit,
    trained: dict[str, nn.Parameter],
    manifest: Manifest,
    model: ModelConfig,
    training: TrainingConfig,
    text_encoder: Path | None,
) -> BuiltStage:
    from transformers import CLIPTextModel

    if text_encoder is None:
        raise StageError("stage align learns a text encoder's features, and none is named")
    folder, words = text_encoder, text_encoder
    if (text_encoder / "text_encoder").is_dir():
        folder, words = text_encoder / "text_encoder", text_encoder / "tokenizer"
    if not (folder / "config.json").is_file():
        raise StageError(
            f"--text-encoder {text_encoder}: no text model in it ({folder / 'config.json'} is missing); name the "
            "folder of CLIP's text model with its tokenizer, or a pipeline that has both"
        )
    clip = CLIPTextModel.from_pretrained(folder).requires_grad_(False).eval()
    queries = pipeline.qformer.config.num_queries
    if clip.config.hidden_size != pipeline.qformer.config.hidden_size:
        raise StageError(
            f"{text_encoder}: its features are {clip.config.hidden_size} wide, the QFormer's "
            f"{pipeline.qformer.config.hidden_size}"
        )
    pipeline.register_modules(empty_text=EmptyText.of(clip, num_tokens=queries))
    rows = CaptionDataset(
        manifest,
        caption_sources(manifest),
        tokenizer=pipeline.tokenizer,
        layout=pipeline.layout,
        prompts=_caption_prompts(model),
        text_tokenizer=load_tokenizer(words),
        num_queries=queries,
        length=LAST,
        max_tokens=model.mllm.max_text_tokens,
    )
    trainee = AlignTrainee(
        pipeline=pipeline,
        module=Alignment(smartedit.mllm, smartedit.qformer, rows.fixed_tokens()),
        trained=trained,
        rows=rows,
        text_encoder=clip,
    )
    return BuiltStage(trainee=trainee, frozen=(clip,), encoders=None)


def _caption_prompts(model: ModelConfig) -> Prompts:
    """Requests to draw a caption, behind the system message that the model will edit with, where it has its own."""
    if model.prompts is None:
        return CAPTION_PROMPTS
    return replace(CAPTION_PROMPTS, system=read_prompts(model.prompts).system)


def _ask_with(pipeline: SmartEditPipeline, prompts: Prompts) -> None:
    """Let the pipeline ask in the words that its rows have, and tell where the start asks in others."""
    first, asks = prompts.phrasings[0], pipeline.config
    known = asks.system == prompts.system and Phrasing(request=asks.request, answer=asks.answer) in prompts.phrasings
    if not known:
        logger.warning(
            "the start asks in other words (%r, %r) than model.prompts has (%r, %r); the model is trained with the "
            "latter and will ask in them: where the start was trained with its own, set model.prompts to their file",
            asks.system,
            asks.request,
            prompts.system,
            first.request,
        )
    pipeline.register_to_config(system=prompts.system, request=first.request, answer=first.answer)


def _edit(
    pipeline: SmartEditPipeline,
    smartedit: SmartEdit,
    trained: dict[str, nn.Parameter],
    manifest: Manifest,
    model: ModelConfig,
    training: TrainingConfig,
) -> BuiltStage:
    mllm, vae = pipeline.mllm, pipeline.vae.requires_grad_(False).eval()
    side = pipeline.config.image_size
    prompts = prompts_of(model.prompts)
    _ask_with(pipeline, prompts)
    rows = ManifestDataset(
        manifest,
        Mixture.over(manifest.sizes, load_mixture(training.mixture)),
        tokenizer=deepcopy(pipeline.tokenizer),
        layout=pipeline.layout,
        length=LAST,
        rows=RowFormat(
            prompts=prompts,
            max_tokens=pipeline.config.max_text_tokens,
            max_conversation=mllm.model.config.get_text_config().max_position_embeddings - mllm.num_patches + 1,
            encoder_side=mllm.image_size,
            num_patches=mllm.num_patches,
        ),
        rules=DecodingRules(side=side),
    )
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    trainee = EditTrainee(
        pipeline=pipeline,
        scheduler=scheduler,
        module=smartedit,
        trained=trained,
        rows=rows,
        latents=latents_of(vae, side, scheduler, training),
        training=training,
    )

    def encoders() -> tuple[Encoder, Encoder | None]:
        vision = None
        if mllm.keeps_features:
            towers = [module for name, module in mllm.model.named_modules() if name.endswith("vision_tower")]
            digest = weights_digest(towers, mllm.feature_layer)
            vision = Encoder(encode=lambda pixels: mllm.look(pixels)[0], digest=digest)
        return autoencoder_of(vae), vision

    return BuiltStage(trainee=trainee, frozen=(vae,), encoders=encoders, shown=(copy(rows.decoded), trainee.edit))


def _baseline(start: Path, manifest: Manifest, model: ModelConfig, training: TrainingConfig) -> BuiltStage:
    # The checker of finished pictures has no part in training, and would stay on the CPU.
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(
        start, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    _check_schedule(pipeline, model)
    unet, vae, text_encoder = pipeline.unet, pipeline.vae, pipeline.text_encoder
    for part in (vae, text_encoder):
        part.requires_grad_(False).eval()
    if training.gradient_checkpointing:
        unet.enable_gradient_checkpointing()
    side = model.sampling.image_size
    mixture = pairs_of(manifest, Mixture.over(manifest.sizes, load_mixture(training.mixture)))
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    trainee = BaselineTrainee(
        pipeline=pipeline,
        scheduler=scheduler,
        module=unet,
        trained=dict(unet.named_parameters()),
        rows=PairDataset(DecodedRows(manifest, mixture, DecodingRules(side=side)), deepcopy(pipeline.tokenizer)),
        latents=latents_of(vae, side, scheduler, training),
        training=training,
    )
    return BuiltStage(
        trainee=trainee,
        frozen=(vae, text_encoder),
        encoders=lambda: (autoencoder_of(vae), None),
        shown=(copy(trainee.rows.decoded), trainee.edit),
    )


def autoencoder_of(vae: Any) -> Encoder:
    """The autoencoder's mean and log-variance."""

    def encode(pixels: Tensor) -> Tensor:
        moments: Tensor = vae.encode(pixels.to(vae.dtype)).latent_dist.parameters
        return moments

    return Encoder(encode=encode, digest=weights_digest([vae]))


def latents_of(vae: Any, side: int, scheduler: Any, training: TrainingConfig) -> Latents:
    """What is drawn for a row whose pictures have so many pixels a side."""
    small = side // 2 ** (len(vae.config.block_out_channels) - 1)
    if training.last_timestep_share and not scheduler.config.rescale_betas_zero_snr:
        logger.warning(
            "training.last_timestep_share=%g, but with this noise schedule %.1f %% of the finished picture's amplitude "
            "is left at the last timestep, which sampling does not begin with; model.scheduler.rescale_betas_zero_snr "
            "leaves noise alone",
            training.last_timestep_share,
            100 * float(scheduler.alphas_cumprod[-1]) ** 0.5,
        )
    timesteps = Timesteps(
        total=scheduler.config.num_train_timesteps,
        power=training.timestep_power,
        last_share=training.last_timestep_share,
    )
    return Latents(shape=(vae.config.latent_channels, small, small), timesteps=timesteps)
