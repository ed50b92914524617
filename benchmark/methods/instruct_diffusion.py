"""InstructDiffusion (CVPR 2024): InstructPix2Pix's network, trained on many tasks, with a guidance of its own.

The authors' sampler calls the network with text and picture, with the picture alone, and with the text alone, where
InstructPix2Pix's third call has neither, and combines them as `(i + t) / 2 + s_T (e - i) + s_I (e - t)`. With the text
in the third call, diffusers' formula `t + a (e - i) + b (i - t)` gives the same for `a = s_T + s_I`, `b = s_I + 1/2`.

A task is told in words: an edit is asked for by the instruction as it is; the other tasks (segmentation, key points,
restoration) have sentences of their own, which a benchmark of edits does not use.
"""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from benchmark.methods.instruct_pix2pix import FACTS, InstructPix2Pix, Pix2PixOptions
from benchmark.methods.resolution import Resolution
from benchmark.methods.specs import MethodSpec, Setting, Tag
from benchmark.methods.weights import weights_description


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class InstructDiffusionOptions(Pix2PixOptions):
    """Settings of InstructDiffusion; the authors' command line's numbers."""

    model: str = "./checkpoints/instruct-diffusion"
    """Folder of the converted checkpoint (`python -m benchmark.methods.convert_instruct_diffusion` makes it)."""
    guidance_scale: float = Field(default=5.0, ge=0)
    """s_T, the text guidance."""
    image_guidance_scale: float = Field(default=1.25, ge=0.5)
    """s_I, the image guidance."""
    resolution: Resolution = "area"
    """How a picture is brought to size; the authors keep the aspect."""
    side: int = Field(default=512, ge=8)
    """512 in the authors' command line; trained at 256, which SmartEdit's Table 1 uses with "square"."""


class InstructDiffusion(InstructPix2Pix):
    """Edits with InstructDiffusion's guidance through InstructPix2Pix's pipeline."""

    def __init__(self, options: InstructDiffusionOptions, device: str) -> None:
        """Load the pipeline once; a converted folder has no revision of its own, a hub id may.

        Raises:
            MethodError: The folder holds no such pipeline.
        """
        super().__init__(options, device, options.revision)
        self._text_guidance = options.guidance_scale + options.image_guidance_scale
        self._image_guidance = options.image_guidance_scale + 0.5
        encode = self._pipeline._encode_prompt

        def text_picture_text(*arguments: Any, **keywords: Any) -> Any:
            import torch

            text, nothing, _ = encode(*arguments, **keywords).chunk(3)
            return torch.cat([text, nothing, text])

        self._pipeline._encode_prompt = text_picture_text


def _build(options: InstructDiffusionOptions, setting: Setting) -> InstructDiffusion:
    return InstructDiffusion(options, setting.device)


INSTRUCT_DIFFUSION = MethodSpec(
    name="instruct-diffusion",
    summary="InstructDiffusion (CVPR 2024) with the authors' guidance; --model takes a converted folder.",
    tags=(Tag.DIRECT,),
    options=InstructDiffusionOptions,
    build=_build,
    batched=True,
    describe=lambda options: weights_description(options.model, options.revision),
    facts=FACTS
    | {
        "license": "MIT",
        "memory": "about 2 GB of bfloat16 weights (as announced)",
        "checked": "licence: LICENSE of cientgu/InstructDiffusion",
        "remark": "convert the authors' checkpoint first",
    },
)
