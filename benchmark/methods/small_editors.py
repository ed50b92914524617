"""The editors whose trained weights ship: SmartEdit and InstructPix2Pix at the sizes of the preset `miniature`."""

from dataclasses import replace

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from benchmark.methods.instruct_pix2pix import INSTRUCT_PIX2PIX, Pix2PixOptions
from benchmark.methods.smart_edit import SMART_EDIT, SmartEditOptions

SMALL_WEIGHTS = {"license": "Apache-2.0", "memory": "less than 0.1 GB"}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SmallSmartEditOptions(SmartEditOptions):
    """Settings of the SmartEdit whose weights ship."""

    model: str = "smartedit-miniature"
    """The weights that ship, or a folder of one's own training."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SmallPix2PixOptions(Pix2PixOptions):
    """Settings of the InstructPix2Pix whose weights ship, fine-tuned on the same manifest as SmartEdit."""

    model: str = "instruct-pix2pix-miniature"
    """The weights that ship, or a folder of one's own training."""
    steps: int = Field(default=20, ge=1)
    """Denoising steps; the preset's."""
    guidance_scale: float = Field(default=1.5, ge=1)
    """Text guidance; the preset's."""
    image_guidance_scale: float = Field(default=1.0, ge=1)
    """Image guidance; the preset's."""
    side: int = Field(default=64, ge=8)
    """The trained side."""


SMARTEDIT_SMALL = replace(
    SMART_EDIT,
    name="smartedit-miniature",
    summary="SmartEdit of the preset `miniature`, trained on drawn scenes; its weights ship.",
    options=SmallSmartEditOptions,
    facts={**SMART_EDIT.facts, **SMALL_WEIGHTS},
)
PIX2PIX_SMALL = replace(
    INSTRUCT_PIX2PIX,
    name="instruct-pix2pix-miniature",
    summary="InstructPix2Pix of the same sizes, fine-tuned on the same drawn scenes; its weights ship.",
    options=SmallPix2PixOptions,
    facts={**SMALL_WEIGHTS},
    checkpoint=None,
)
