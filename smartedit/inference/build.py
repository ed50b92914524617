"""Builds the pipeline from a configuration."""

from typing import Any

from smartedit.config.model import ModelConfig
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.build import build_model, build_sampling_scheduler, build_text_encoder, build_vae
from smartedit.model.mllm import extend_vocabulary
from smartedit.model.prompts import prompts_of
from smartedit.model.smartedit import SmartEdit
from smartedit.model.text import EmptyText
from smartedit.model.tokenizer import VocabularyError, add_img_tokens, load_tokenizer


def build_pipeline(config: ModelConfig, tokenizer: Any = None) -> SmartEditPipeline:
    """Build a pipeline whose parts come from checkpoints or, without one, from random weights.

    Args:
        config: Sizes, checkpoints and settings.
        tokenizer: Of the language model, with or without the added tokens; None to read the one that `config` names.

    Raises:
        VocabularyError: There is no tokenizer, or not the one of this model.
    """
    if tokenizer is None:
        named = config.mllm.tokenizer or config.mllm.checkpoint
        if named is None:
            raise VocabularyError("no tokenizer: set model.mllm.tokenizer to a folder or name")
        tokenizer = load_tokenizer(named)
    model = build_model(config)
    known = len(tokenizer)
    layout = add_img_tokens(tokenizer, config.mllm.num_img_tokens)
    # Random weights have rows for the added tokens from the beginning.
    extend_vocabulary(model.mllm, layout.vocab_size, first=None if config.mllm.checkpoint is None else known)
    if config.text.checkpoint is not None:
        text_encoder = build_text_encoder(
            config.text, hidden_size=config.qformer.hidden_size, num_tokens=config.qformer.num_queries
        )
        model.empty_text = EmptyText.of(text_encoder, num_tokens=config.qformer.num_queries)
    return pipeline_of(config, model, build_vae(config.vae), tokenizer)


def pipeline_of(config: ModelConfig, model: SmartEdit, vae: Any, tokenizer: Any) -> SmartEditPipeline:
    """The pipeline around a model's own parts, for example behind a training stage.

    Args:
        config: Settings; its sizes are not read.
        model: The model; its parts are taken, not copied.
        vae: The autoencoder.
        tokenizer: With the added tokens.
    """
    prompts = prompts_of(config.prompts)
    pipeline = SmartEditPipeline(
        mllm=model.mllm,
        tokenizer=tokenizer,
        qformer=model.qformer,
        bim=model.bim,
        unet=model.unet,
        vae=vae,
        scheduler=build_sampling_scheduler(config.scheduler),
        empty_text=model.empty_text,
        num_img_tokens=config.mllm.num_img_tokens,
        max_text_tokens=config.mllm.max_text_tokens,
        image_size=config.sampling.image_size,
        num_inference_steps=config.sampling.num_inference_steps,
        guidance_scale=config.sampling.guidance_scale,
        image_guidance_scale=config.sampling.image_guidance_scale,
        system=prompts.system,
        request=prompts.phrasings[0].request,
        answer=prompts.phrasings[0].answer,
    )
    for part in (pipeline.mllm, pipeline.qformer, pipeline.bim, pipeline.unet, pipeline.vae):
        if part is not None:
            part.eval()
    return pipeline
