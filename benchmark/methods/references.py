"""Reference rows: what doing nothing, an autoencoder, the true mask or the true target score."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from benchmark.methods.resolution import multiple_of
from benchmark.methods.specs import MethodError, MethodSpec, SampleError, Setting, Tag
from benchmark.methods.weights import find_weights, weights_description
from reason_edit.loading import read_image, read_mask
from reason_edit.released_layout import ANSWERS
from reason_edit.schema import EditSample
from smartedit.editing import EditRequest, EditResult

STRICT = ConfigDict(extra="forbid")
LARGEST_FILLED_SIDE = 512


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NoOptions:
    """A method without settings."""


class CopyInput:
    """Hands the picture back: background measures are perfect, and nothing was edited."""

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """The inputs themselves."""
        return [EditResult(image=r.image) for r in requests]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class InpaintOptions:
    """Settings of `oracle-inpaint`."""

    radius: float = Field(default=5.0, gt=0)
    """Neighbourhood of each inpainted pixel, in pixels of a 256-pixel picture."""
    dilation: int = Field(default=2, ge=0)
    """How far the mask grows first, in pixels of a 256-pixel picture, so that no edge of the object stays."""


class OracleInpaint:
    """Fills the true mask from its surroundings (OpenCV, Telea): a perfect place, no idea of the instruction."""

    def __init__(self, options: InpaintOptions) -> None:
        """Keep the options."""
        self._options = options

    def make(self, sample: EditSample) -> EditResult:
        """The picture with its masked region filled."""
        import cv2

        image = read_image(sample.image)
        mask = read_mask(sample.mask)
        if not mask.any():
            raise SampleError(
                f"{sample.mask}: the mask is empty, there is nothing to inpaint; draw white where the edit belongs"
            )
        if mask.all():
            raise SampleError(
                f"{sample.mask}: the mask covers everything, nothing is left to inpaint from; draw the background black"
            )
        # Telea's time grows with the fourth power of the side, so that large pictures are filled at a smaller one.
        small = image.copy()
        small.thumbnail((LARGEST_FILLED_SIDE, LARGEST_FILLED_SIDE), Image.Resampling.BICUBIC)
        scale = max(small.size) / 256
        grow = round(self._options.dilation * scale)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
        region = cv2.dilate(cv2.resize(mask.astype(np.uint8), small.size, interpolation=cv2.INTER_AREA), kernel)
        region = np.maximum(region, cv2.resize(mask.astype(np.uint8), small.size, interpolation=cv2.INTER_NEAREST))
        filled = cv2.inpaint(np.asarray(small), region, self._options.radius * scale, cv2.INPAINT_TELEA)
        fill = Image.fromarray(filled).resize(image.size, Image.Resampling.BICUBIC)
        whole = Image.fromarray(region * 255).resize(image.size, Image.Resampling.NEAREST)
        return EditResult(image=Image.composite(fill, image, whole))


class OracleTarget:
    """Hands out the exact target where the data set has one (the miniature): what a perfect editor scores."""

    def make(self, sample: EditSample) -> EditResult:
        """The target picture."""
        for root in (sample.image.parent.parent, sample.image.parent):
            path = root / ANSWERS / "targets" / f"{sample.sample_id}.png"
            if path.is_file():
                return EditResult(image=read_image(path))
        raise SampleError(f"{sample.sample_id}: the data set holds no target picture; only the miniature's does")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RoundTripOptions:
    """Settings of `vae-roundtrip`."""

    model: str
    """Folder or hub id of an AutoencoderKL or AutoencoderTiny."""
    subfolder: str | None = None
    """Where the autoencoder lies inside it; `vae` of a pipeline's folder is found by itself."""
    side: int | None = Field(default=None, ge=8)
    """Squash to this square first, as a 256-pixel editor would; None keeps the size, cut to a multiple of 8, and is no
    ceiling for an editor that shrinks pictures."""
    revision: str | None = None
    """Revision of a hub id."""


class VaeRoundTrip:
    """Encodes and decodes: the ceiling of an editor that works in this autoencoder's latent space, at its `side`."""

    def __init__(self, options: RoundTripOptions, device: str) -> None:
        """Load the autoencoder.

        Raises:
            MethodError: There is no autoencoder in the folder.
        """
        import diffusers
        import torch

        folder = find_weights(options.model, revision=options.revision, option="--set vae-roundtrip.model")
        folder = folder / options.subfolder if options.subfolder else folder
        if not (folder / "config.json").is_file() and (folder / "vae" / "config.json").is_file():
            folder = folder / "vae"
        try:
            name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("_class_name", "none")
        except (OSError, ValueError) as error:
            raise MethodError(f"vae-roundtrip: {folder} holds no readable config.json ({error})") from error
        if name not in {"AutoencoderKL", "AutoencoderTiny"}:
            raise MethodError(f"vae-roundtrip: {folder} holds a {name}; give an AutoencoderKL or AutoencoderTiny")
        self._side = options.side
        self._vae = getattr(diffusers, name).from_pretrained(folder, torch_dtype=torch.float32).to(device).eval()
        self._device = device

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """The inputs, encoded (the mode of the distribution) and decoded."""
        return [EditResult(image=self._round_trip(r.image)) for r in requests]

    def _round_trip(self, image: Image.Image) -> Image.Image:
        import torch

        size = (self._side, self._side) if self._side else multiple_of(image.size, 8)
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 127.5 - 1
        with torch.inference_mode():
            code = self._vae.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None].to(self._device))
            latents = code.latent_dist.mode() if hasattr(code, "latent_dist") else code.latents
            decoded = self._vae.decode(latents).sample[0]
        values = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(values).resize(image.size, Image.Resampling.BICUBIC)


def _build_round_trip(options: RoundTripOptions, setting: Setting) -> VaeRoundTrip:
    return VaeRoundTrip(options, setting.device)


COPY_INPUT = MethodSpec(
    name="copy-input",
    summary="Hands the picture back unchanged: shows that doing nothing wins every background metric.",
    tags=(Tag.DIRECT, Tag.REFERENCE),
    options=NoOptions,
    build=lambda options, setting: CopyInput(),
)
VAE_ROUNDTRIP = MethodSpec(
    name="vae-roundtrip",
    summary="Encodes and decodes with a given autoencoder: the ceiling of the editors built on it.",
    tags=(Tag.DIRECT, Tag.REFERENCE),
    options=RoundTripOptions,
    build=_build_round_trip,
    describe=lambda options: weights_description(options.model, options.revision),
)
ORACLE_INPAINT = MethodSpec(
    name="oracle-inpaint",
    summary="Fills the true mask with OpenCV: a perfect place, no idea of the instruction.",
    tags=(Tag.MASK_GIVEN, Tag.COMPOSITING, Tag.REFERENCE),
    options=InpaintOptions,
    build=lambda options, setting: OracleInpaint(options),
)
ORACLE_TARGET = MethodSpec(
    name="oracle-target",
    summary="Hands out the exact target where the data set has one (the miniature).",
    tags=(Tag.REFERENCE,),
    options=NoOptions,
    build=lambda options, setting: OracleTarget(),
)


def answers_folder(samples: Sequence[EditSample]) -> Path | None:
    """The folder with the targets of a miniature set, or None."""
    roots = {s.image.parent.parent for s in samples}
    return next((r / ANSWERS for r in sorted(roots) if (r / ANSWERS / "targets").is_dir()), None)
