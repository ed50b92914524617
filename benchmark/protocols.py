"""Named, versioned ways to score: what is resized, masked, averaged and cropped, and by which networks."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

Pairing = Literal["id", "positional"]

SCORING_REVISION = 1
"""Grows when the code behind a protocol changes any number, so that no finished batch of older code is used again."""


class ProtocolError(ValueError):
    """A protocol is unknown, or is asked for something that it does not define."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """What a metric is called and how to read it.

    Attributes:
        name: Its name in `scores.parquet`.
        title: Its name in a table's head.
        unit: What it is measured in; empty for a plain number.
        better: Which end is better; "neither" for what only describes.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower", "neither"]


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric(name="background_psnr", title="PSNR", unit="dB", better="higher"),
        Metric(name="background_ssim", title="SSIM", unit="", better="higher"),
        Metric(name="background_lpips", title="LPIPS", unit="", better="lower"),
        Metric(name="background_mse", title="MSE", unit="", better="lower"),
        Metric(name="clip_score", title="CLIP score", unit="", better="higher"),
        Metric(name="background_psnr_registered", title="PSNR (registered)", unit="dB", better="higher"),
        Metric(name="registration_dx", title="shift x", unit="px", better="neither"),
        Metric(name="registration_dy", title="shift y", unit="px", better="neither"),
        Metric(name="registration_scale", title="scale", unit="", better="neither"),
    )
}
"""Every metric that a protocol measures; each method and sample gets one row of each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """One way to score; two rows compare only if they carry the same protocol's name.

    Attributes:
        name: Its name and version, kept with every score.
        summary: One sentence for a table's foot.
        resolution: Side in pixels of the square that everything is resized to (pictures bicubic, mask nearest); None
            keeps the source picture's own size, to which the edited picture is brought.
        pairing: Whether a mask belongs to the picture of its name ("id") or of its place in the sorted folder
            ("positional", as the authors' script has it).
        upright: Whether the camera's rotation tag is followed and 16-bit pictures are scaled to 8; False keeps the
            stored pixels as Pillow's plain RGB conversion gives them.
        mask_threshold: Mask values (0 to 255) from here on are foreground, all others background; None weighs the
            background by `1 - mask / 255` and counts any value above 0 as part of the foreground's box.
        fill: What stands in the foreground while the background is compared: "zero" in both pictures, or the
            source's own pixels ("source"), so that neither an edge nor anything that the edit did comes in.
        average: What PSNR, MSE, SSIM and LPIPS are averaged over: the whole filled "image" or the "background" only.
        ssim_border: Pixels dropped at each side of the SSIM map before the mean.
        whole_box: Whether the foreground's box holds its last row and column.
        square_crop: Whether the crop for CLIP is padded to a square, so that no part of it is cut off.
        keep_caption_end: Whether a label longer than CLIP's 77 tokens keeps its end token when it is cut.
        clip_model: The CLIP that is used when none is named; None while none ships.
        lpips_backbone: The LPIPS backbone that is used when none is named; None while none ships.
    """

    name: str
    summary: str
    resolution: int | None
    pairing: Pairing = "id"
    upright: bool
    mask_threshold: int | None
    fill: Literal["zero", "source"]
    average: Literal["image", "background"]
    ssim_border: int
    whole_box: bool
    square_crop: bool
    keep_caption_end: bool
    clip_model: str | None
    lpips_backbone: str | None

    def definition(self) -> str:
        """Everything that decides a number, as JSON with sorted keys; network names are keyed by their content."""
        fields = {k: v for k, v in asdict(self).items() if k not in {"summary", "clip_model", "lpips_backbone"}}
        return json.dumps({**fields, "revision": SCORING_REVISION}, sort_keys=True)


_SMARTEDIT = Protocol(
    name="smartedit-v1",
    summary="The SmartEdit authors' script, number for number: 256 px, soft masks, zero fill, means over the whole "
    "picture, SSIM without its 5-pixel border, LPIPS SqueezeNet, CLIP (ViT-L/14 unless named below) on the box crop.",
    resolution=256,
    upright=False,
    mask_threshold=None,
    fill="zero",
    average="image",
    ssim_border=5,
    whole_box=False,
    square_crop=False,
    keep_caption_end=False,
    clip_model="openai/clip-vit-large-patch14",
    lpips_backbone="squeezenet1_1",
)

_POSITIONAL = replace(
    _SMARTEDIT,
    name="smartedit-v1-positional",
    summary=f"{_SMARTEDIT.summary} Masks paired with pictures by their place in the folder, as the script does.",
    pairing="positional",
)

_STRICT = Protocol(
    name="strict-v1",
    summary="256 px, masks cut at 128, every background metric averaged over background pixels only, CLIP (ViT-L/14 "
    "unless named below) on the whole box padded to a square.",
    resolution=256,
    upright=True,
    mask_threshold=128,
    fill="source",
    average="background",
    ssim_border=0,
    whole_box=True,
    square_crop=True,
    keep_caption_end=True,
    clip_model="openai/clip-vit-large-patch14",
    lpips_backbone="squeezenet1_1",
)

_MINIATURE = replace(
    _STRICT,
    name="miniature-v1",
    summary="strict-v1 at the source picture's own size, with small networks; numbers compare only with each other.",
    resolution=None,
    clip_model="clip-miniature",
    lpips_backbone="squeezenet-miniature",
)

PROTOCOLS: dict[str, Protocol] = {p.name: p for p in (_SMARTEDIT, _POSITIONAL, _STRICT, _MINIATURE)}
"""The protocols by name."""


def protocol_named(name: str, pairing: Pairing = "id") -> Protocol:
    """The protocol of a name, in the asked pairing.

    Args:
        name: A key of `PROTOCOLS`.
        pairing: "positional" turns `smartedit-v1` into `smartedit-v1-positional`; others have no such form.

    Returns:
        The protocol whose name every score row will carry.

    Raises:
        ProtocolError: There is no such protocol, or it has no such pairing.
    """
    if name not in PROTOCOLS:
        raise ProtocolError(f"unknown protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    protocol = PROTOCOLS[name]
    if pairing == protocol.pairing or pairing == "id":
        return protocol
    if pairing != "positional":
        raise ProtocolError(f"unknown pairing {pairing!r}; there are id, positional")
    if f"{name}-positional" not in PROTOCOLS:
        raise ProtocolError(f"{name} pairs masks by id only; --pairing positional belongs to smartedit-v1")
    return PROTOCOLS[f"{name}-positional"]
