"""Pictures in and out: upright, at the sizes that the model was trained at, and back to their own."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from reason_edit.loading import to_rgb

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
MIN_SIDE = 16
"""Shortest side of a picture in pixels; below it there is nothing to see at any trained size."""
MAX_ASPECT = 8.0
"""Longest over shortest side; beyond it a picture of the trained area has less than four latents on its short side."""


class PictureError(ValueError):
    """A picture cannot be edited; the message says why and what would help."""


def upright(image: Image.Image) -> Image.Image:
    """The picture as RGB, turned as its EXIF note says, transparent parts on white.

    Raises:
        PictureError: It is too small, or too long and narrow.
    """
    turned = ImageOps.exif_transpose(image)
    if turned.has_transparency_data:
        turned = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
    width, height = turned.size
    if min(width, height) < MIN_SIDE:
        raise PictureError(f"the picture has {width} x {height} pixels; each side needs at least {MIN_SIDE}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise PictureError(
            f"the picture of {width} x {height} is longer than {MAX_ASPECT:g} times its short side; cut out the part "
            "that is to be edited"
        )
    return to_rgb(turned)


def trained_size(width: int, height: int, side: int, *, square: bool, step: int = 64) -> tuple[int, int]:
    """The width and height at which a picture is edited.

    Args:
        width: Of the picture.
        height: Of the picture.
        side: Of the square that the model was trained at.
        square: Squash every picture into that square, as the released code does; otherwise keep its aspect ratio, as
            nearly as multiples of `step` (of the side, where that is smaller) allow, at the square's area.
        step: What autoencoder and UNet together divide a side by.
    """
    if square:
        return side, side
    step = min(step, side)
    ratio = (width / height) ** 0.5
    return tuple(max(step, round(side * r / step) * step) for r in (ratio, 1 / ratio))  # type: ignore[return-value]


def encoder_pixels(
    images: Sequence[Image.Image],
    side: int,
    *,
    mean: Sequence[float] = CLIP_MEAN,
    std: Sequence[float] = CLIP_STD,
) -> Tensor:
    """Pictures for the image encoder, [B, 3, side, side]: squashed to the square, bicubic, normalized."""
    pixels = _stack([image.resize((side, side), Image.Resampling.BICUBIC) for image in images])
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def autoencoder_pixels(images: Sequence[Image.Image], size: tuple[int, int]) -> Tensor:
    """Pictures for the autoencoder, [B, 3, height, width] in [-1, 1]: resized to (width, height), bicubic."""
    return 2 * _stack([image.resize(size, Image.Resampling.BICUBIC) for image in images]) - 1


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """Pictures of [B, 3, H, W] in [-1, 1]; values beyond are clipped."""
    values = ((pixels.float() / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return [Image.fromarray(v) for v in values.permute(0, 2, 3, 1).cpu().numpy()]


def keep_unedited(source: Image.Image, edited: Image.Image, *, threshold: float = 0.08) -> Image.Image:
    """Put the original back where the edit changed little: compositing, which a report must say.

    The change is measured at the size of the edit, smoothed, widened and softened, so that no seam is left; outside it
    the original's pixels are kept exactly.

    Args:
        source: The picture before, of any size.
        edited: The picture after, of the size at which it was edited.
        threshold: Mean change of a neighbourhood, of 1, that counts as edited.

    Returns:
        A picture of the source's size.
    """
    from torch.nn.functional import avg_pool2d, max_pool2d

    before, after = _stack([source.resize(edited.size, Image.Resampling.BICUBIC)]), _stack([edited])
    change = avg_pool2d((after - before).abs().mean(dim=1, keepdim=True), 5, stride=1, padding=2)
    wide = max_pool2d((change > threshold).float(), 9, stride=1, padding=4)
    soft = avg_pool2d(wide, 5, stride=1, padding=2)[0, 0].numpy()
    weight = Image.fromarray((soft * 255).astype(np.uint8)).resize(source.size, Image.Resampling.BILINEAR)
    return Image.composite(edited.resize(source.size, Image.Resampling.BICUBIC), source, weight)


def _stack(images: Sequence[Image.Image]) -> Tensor:
    return torch.stack([torch.from_numpy(np.array(i)) for i in images]).permute(0, 3, 1, 2).float() / 255
