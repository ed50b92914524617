"""What the pipeline gives back."""

from dataclasses import dataclass

from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor


@dataclass
class SmartEditPipelineOutput(BaseOutput):
    """What the pipeline gives.

    Attributes:
        images: The edited pictures, each of its source's size (`output_type="pil"`), or latents (`"latent"`).
        answers: What the model said, where it was asked to; None otherwise.
        agreements: Share of the [IMG] tokens that the model would have said itself.
        composited: Whether the original was put back where little changed.
    """

    images: list[Image.Image] | Tensor
    answers: list[str | None]
    agreements: list[float]
    composited: bool
