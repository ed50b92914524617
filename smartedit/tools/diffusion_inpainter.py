"""Inpainting with any pipeline of diffusers that takes a picture and a mask, by class name and path."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from smartedit.config.synthesis import InpainterConfig
from smartedit.hub import locate_model
from smartedit.seeding import torch_generators
from smartedit.tools.protocols import Inpainted, InpaintingRequest, ToolError, ToolUnavailable

GRID = 16
"""Sides are multiples of this; every family of models is content with it."""

CONTEXT = 0.6
"""The crop that the model sees reaches so far beyond the region, share of the region's longer side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Crop:
    """What the model sees of a request.

    Attributes:
        request: The request.
        box: Where in the picture.
        image: Resized piece.
        mask: Resized region, L.
    """

    request: InpaintingRequest
    box: tuple[int, int, int, int]
    image: Image.Image
    mask: Image.Image


class DiffusionInpainter:
    """Fills regions with a diffusion model, which sees a crop around the region at its own resolution.

    Args:
        pipeline: A pipeline whose call takes `prompt`, `image` and `mask_image`.
        config: Steps, guidance, resolution, prompts.
    """

    def __init__(self, pipeline: Any, config: InpainterConfig) -> None:
        self._pipeline = pipeline
        self._config = config
        self._accepts = frozenset(inspect.signature(pipeline.__call__).parameters)
        needed = {"prompt", "image", "mask_image", "generator"} - self._accepts
        if needed:
            name = type(pipeline).__name__
            raise ToolUnavailable(f"{name} does not inpaint: it takes no {sorted(needed)[0]}")

    @classmethod
    def load(cls, config: InpainterConfig) -> "DiffusionInpainter":
        """Read a pipeline from a folder or the hub's cache.

        Raises:
            ToolUnavailable: There is no such class or no such model.
        """
        import diffusers
        import torch

        if config.model is None:
            raise ToolUnavailable(
                "diffusion: set the inpainter's model, for example stable-diffusion-v1-5/stable-diffusion-inpainting, "
                "and its pipeline"
            )
        kind = getattr(diffusers, config.pipeline, None)
        if kind is None:
            raise ToolUnavailable(f"diffusion: diffusers {diffusers.__version__} has no pipeline {config.pipeline!r}")
        try:
            pipeline = kind.from_pretrained(locate_model(config.model), torch_dtype=getattr(torch, config.dtype))
        except (OSError, ValueError) as error:
            raise ToolUnavailable(f"diffusion: no {config.pipeline} at {config.model!r} ({error})") from error
        pipeline.set_progress_bar_config(disable=True)
        return cls(pipeline.to(config.device), config)

    def inpaint(self, requests: Sequence[InpaintingRequest]) -> list[Inpainted]:
        """Fill regions; requests whose crops have one size share a batch.

        Raises:
            ToolError: The model failed, or its safety checker blanked a picture.
        """
        crops = [self._crop(request) for request in requests]
        results: list[Inpainted | None] = [None] * len(requests)
        for size in dict.fromkeys(crop.image.size for crop in crops):
            indices = [i for i, crop in enumerate(crops) if crop.image.size == size]
            for index, piece in zip(indices, self._run([crops[i] for i in indices]), strict=True):
                results[index] = self._pasted(crops[index], piece)
        return [result for result in results if result is not None]

    def _run(self, crops: Sequence[Crop]) -> list[Image.Image]:
        config = self._config
        width, height = crops[0].image.size
        options: dict[str, Any] = {
            "prompt": [crop.request.prompt or config.remove_prompt for crop in crops],
            "image": [crop.image for crop in crops],
            "mask_image": [crop.mask for crop in crops],
            "width": width,
            "height": height,
            "num_inference_steps": config.steps,
            "guidance_scale": config.guidance_scale,
            "generator": torch_generators([crop.request.seed for crop in crops]),
            "negative_prompt": [config.negative_prompt] * len(crops),
        }
        try:
            output = self._pipeline(**{k: v for k, v in options.items() if k in self._accepts})
        except RuntimeError as error:
            raise ToolError(f"{config.pipeline}: {error}") from error
        flagged = getattr(output, "nsfw_content_detected", None)
        if flagged and any(flagged):
            raise ToolError("the safety checker blanked the picture")
        images: list[Image.Image] = list(output.images)
        return images

    def _crop(self, request: InpaintingRequest) -> Crop:
        height, width = request.region.shape
        rows, columns = np.flatnonzero(request.region.any(axis=1)), np.flatnonzero(request.region.any(axis=0))
        extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
        side = round(extent * (1 + 2 * CONTEXT))
        side_x, side_y = min(side, width), min(side, height)
        left = int(np.clip((columns[0] + columns[-1] + 1 - side_x) // 2, 0, width - side_x))
        top = int(np.clip((rows[0] + rows[-1] + 1 - side_y) // 2, 0, height - side_y))
        box = (left, top, left + side_x, top + side_y)
        scale = self._config.resolution / max(side_x, side_y)
        size = (_on_grid(side_x * scale), _on_grid(side_y * scale))
        mask = Image.fromarray(request.region.astype(np.uint8) * 255).crop(box)
        return Crop(
            request=request,
            box=box,
            image=request.image.crop(box).resize(size, Image.Resampling.LANCZOS),
            mask=mask.resize(size, Image.Resampling.NEAREST),
        )

    def _pasted(self, crop: Crop, piece: Image.Image) -> Inpainted:
        size = (crop.box[2] - crop.box[0], crop.box[3] - crop.box[1])
        image = crop.request.image.copy()
        image.paste(piece.convert("RGB").resize(size, Image.Resampling.LANCZOS), crop.box[:2])
        return Inpainted(image=image, origin=f"{self._config.pipeline} {self._config.model or ''}".strip())


def _on_grid(length: float) -> int:
    return max(GRID, round(length / GRID) * GRID)
