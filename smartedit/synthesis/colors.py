"""Names of colors, measured in a mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.tools.protocols import Mask

COLOR_NAMES = ("black", "gray", "white", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")

# Hue in CIELAB, degrees: where the next name begins. Red wraps around zero.
_HUES = ((20, "pink"), (50, "red"), (76, "orange"), (108, "yellow"), (190, "green"), (292, "blue"), (330, "purple"))


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredColor:
    """What color a thing has.

    Attributes:
        name: The most frequent name.
        share: Its share of the thing's pixels.
        shares: Of all names, in the order of `COLOR_NAMES`.
    """

    name: str
    share: float
    shares: tuple[float, ...]


def measure_color(image: Image.Image, mask: Mask, most_pixels: int = 20_000) -> MeasuredColor:
    """The dominant color name inside a mask.

    The mask is shrunk a little first, so that blended edges do not count; at most `most_pixels` evenly spaced pixels
    are named. Names follow hue, chroma and lightness in CIELAB (D65), not a nearest prototype in RGB.

    Args:
        image: RGB.
        mask: bool `H x W`, at least one pixel.
        most_pixels: Bounds the work.

    Returns:
        The measured color.
    """
    import cv2

    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2).astype(bool)
    pixels = np.asarray(image)[inner if inner.sum() >= 0.3 * mask.sum() else mask]
    pixels = pixels[:: max(1, len(pixels) // most_pixels)]
    counts = np.bincount(color_indices(pixels), minlength=len(COLOR_NAMES)) / len(pixels)
    best = int(np.argmax(counts))
    return MeasuredColor(name=COLOR_NAMES[best], share=float(counts[best]), shares=tuple(float(c) for c in counts))


def color_indices(pixels: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The index in `COLOR_NAMES` of each of `N x 3` RGB pixels."""
    import cv2

    lab = cv2.cvtColor((pixels[None].astype(np.float32) / 255), cv2.COLOR_RGB2LAB)[0]
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    hue = np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360
    names = np.full(len(lab), COLOR_NAMES.index("pink"))
    lower = 0.0
    for upper, name in _HUES:
        names[(hue >= lower) & (hue < upper)] = COLOR_NAMES.index(name)
        lower = upper
    # CIELAB bends blue into purple; the hexagonal hue keeps them apart.
    hexagonal = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2HSV)[0, :, 0].astype(np.float32) * 2
    bluish = (hue >= 270) & (hue < 322)
    names[bluish & (hexagonal < 256)] = COLOR_NAMES.index("blue")
    names[bluish & (hexagonal >= 256)] = COLOR_NAMES.index("purple")
    pale_red = (hue >= 340) | (hue < 45)
    names[pale_red & (lightness >= 62)] = COLOR_NAMES.index("pink")
    names[(hue < 20) & (lightness < 55) & (chroma >= 45)] = COLOR_NAMES.index("red")
    # Brown is dark orange: what is called orange or yellow must be light or vivid.
    dark_warm = (hue >= 38) & (hue < 95) & (((lightness < 58) & (chroma < 62)) | ((lightness < 68) & (chroma < 38)))
    names[dark_warm] = COLOR_NAMES.index("brown")
    gray = chroma < np.where(lightness > 80, 9, 12)
    names[gray & (lightness < 85)] = COLOR_NAMES.index("gray")
    names[gray & (lightness >= 85)] = COLOR_NAMES.index("white")
    names[(lightness < 24) & (chroma < 22)] = COLOR_NAMES.index("black")
    return names
