"""InstructPix2Pix, and MagicBrush that shares its pipeline, through diffusers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from benchmark.methods.checkpoints import Checkpoint
from benchmark.methods.resolution import Resolution, to_working_size, working_size
from benchmark.methods.specs import MethodError, MethodSpec, Setting, Tag
from benchmark.methods.weights import PIPELINE_FILES, find_weights, weights_description
from smartedit.editing import EditRequest, EditResult
from smartedit.seeding import torch_generators

PIX2PIX_WEIGHTS = Checkpoint(
    model="timbrooks/instruct-pix2pix",
    revision="31519b5cb02a7fd89b906d88731cd4d6a7bbf88d",
    license="MIT, with what Stable Diffusion's licence restricts",
    billions=1.1,
    checked="id: diffusers' documentation; licence: LICENSE of timothybrooks/instruct-pix2pix; commit: cache paths in "
    "six public repositories",
)
MAGICBRUSH_WEIGHTS = Checkpoint(
    model="vinesmsuic/magicbrush-jul7",
    license="CreativeML OpenRAIL-M",
    billions=1.1,
    checked="id: README of OSU-NLP-Group/MagicBrush; licence: its LICENSE, stored page of the hub; commit: only its "
    "first digits seen",
)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Pix2PixOptions:
    """Settings of an InstructPix2Pix-type editor."""

    model: str = "timbrooks/instruct-pix2pix"
    """Folder or hub id of the pipeline."""
    revision: str | None = None
    """Revision of a hub id; None takes the pinned commit of the default model, and another one's main branch."""
    steps: int = Field(default=100, ge=1)
    """Denoising steps; 100 in the authors' test script."""
    guidance_scale: float = Field(default=7.5, ge=1)
    """Text guidance; 7.5 in the authors' test script."""
    image_guidance_scale: float = Field(default=1.5, ge=1)
    """Image guidance; the scored pictures of SmartEdit use 1.5."""
    resolution: Resolution = "square"
    """How a picture is brought to the trained size; the authors squash to a square."""
    side: int = Field(default=256, ge=8)
    """The trained side; 256 for SmartEdit's Table 1 and for InstructPix2Pix's training."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Weights' type; auto is float16 on cuda, float32 elsewhere."""


class InstructPix2Pix:
    """Edits by instruction with three-way classifier-free guidance (InstructPix2Pix, CVPR 2023, equation 3)."""

    def __init__(self, options: Pix2PixOptions, device: str, revision: str | None) -> None:
        """Load the pipeline once.

        Args:
            options: The settings.
            device: A torch device.
            revision: Of a hub id, where one is pinned.

        Raises:
            MethodError: The folder holds no such pipeline.
        """
        import torch
        from diffusers import StableDiffusionInstructPix2PixPipeline

        folder = find_weights(options.model, revision=revision, patterns=PIPELINE_FILES)
        name = options.dtype if options.dtype != "auto" else "float16" if device.startswith("cuda") else "float32"
        try:
            pipeline: Any = StableDiffusionInstructPix2PixPipeline.from_pretrained(
                folder,
                torch_dtype=getattr(torch, name),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise MethodError(
                f"{options.model}: no InstructPix2Pix pipeline can be loaded from it ({error})"
            ) from error
        channels = pipeline.unet.conv_in.in_channels
        if channels != 2 * pipeline.vae.config.latent_channels:
            raise MethodError(
                f"{options.model}: its UNet takes {channels} channels; InstructPix2Pix's takes noise and picture, "
                f"{2 * pipeline.vae.config.latent_channels}"
            )
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline.to(device)
        self._options = options
        self._multiple = pipeline.vae_scale_factor
        self._text_guidance, self._image_guidance = options.guidance_scale, options.image_guidance_scale

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """Edit a batch; requests of one working size go through the UNet together, and keep that size."""
        options = self._options
        sizes = [working_size(r.image.size, options.resolution, options.side, self._multiple) for r in requests]
        results: dict[int, EditResult] = {}
        for size in dict.fromkeys(sizes):
            places = [place for place, own in enumerate(sizes) if own == size]
            group = [requests[p] for p in places]
            images = self._pipeline(
                prompt=[r.instruction for r in group],
                image=[to_working_size(r.image, size) for r in group],
                num_inference_steps=options.steps,
                guidance_scale=self._text_guidance,
                image_guidance_scale=self._image_guidance,
                generator=torch_generators([r.seed for r in group]),
            ).images
            results.update((place, EditResult(image=image)) for place, image in zip(places, images, strict=True))
        return [results[place] for place in range(len(requests))]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MagicBrushOptions(Pix2PixOptions):
    """Settings of MagicBrush: InstructPix2Pix fine-tuned on MagicBrush's data."""

    model: str = "vinesmsuic/magicbrush-jul7"
    """Folder or hub id of the pipeline."""


FACTS = {"class": "StableDiffusionInstructPix2PixPipeline", "batch": "together"}


def _build(weights: Checkpoint) -> Callable[[Pix2PixOptions, Setting], InstructPix2Pix]:
    def build(options: Pix2PixOptions, setting: Setting) -> InstructPix2Pix:
        return InstructPix2Pix(options, setting.device, weights.revision_of(options.model, options.revision))

    return build


def _describe(weights: Checkpoint) -> Callable[[Pix2PixOptions], Mapping[str, Any]]:
    def describe(options: Pix2PixOptions) -> Mapping[str, Any]:
        revision = weights.revision_of(options.model, options.revision)
        return weights_description(options.model, revision, PIPELINE_FILES)

    return describe


INSTRUCT_PIX2PIX = MethodSpec(
    name="instruct-pix2pix",
    summary="InstructPix2Pix (CVPR 2023) through diffusers; --model takes a hub id or a local folder.",
    tags=(Tag.DIRECT,),
    options=Pix2PixOptions,
    build=_build(PIX2PIX_WEIGHTS),
    batched=True,
    describe=_describe(PIX2PIX_WEIGHTS),
    facts=FACTS | PIX2PIX_WEIGHTS.facts(),
    checkpoint=PIX2PIX_WEIGHTS,
)
MAGICBRUSH = MethodSpec(
    name="magicbrush",
    summary="InstructPix2Pix fine-tuned on MagicBrush (NeurIPS 2023), the same pipeline.",
    tags=(Tag.DIRECT,),
    options=MagicBrushOptions,
    build=_build(MAGICBRUSH_WEIGHTS),
    batched=True,
    describe=_describe(MAGICBRUSH_WEIGHTS),
    facts=FACTS | MAGICBRUSH_WEIGHTS.facts(),
    checkpoint=MAGICBRUSH_WEIGHTS,
)
