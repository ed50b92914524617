"""At which size a picture goes through a model; the result keeps that size, and scoring resizes once."""

from typing import Literal

from PIL import Image

Resolution = Literal["square", "area", "native"]


def multiple_of(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """The nearest size whose sides are multiples of `multiple`, each at least one of it."""
    width, height = (max(multiple, round(side / multiple) * multiple) for side in size)
    return width, height


def working_size(size: tuple[int, int], policy: Resolution, side: int, multiple: int) -> tuple[int, int]:
    """The size that a model works at.

    Args:
        size: The picture's width and height.
        policy: "square" squashes to side x side (the authors' way), "area" keeps the aspect at an area of about
            side x side, "native" keeps the size; the last two round to multiples.
        side: The trained side in pixels.
        multiple: What the sides must be a multiple of.

    Returns:
        Width and height.
    """
    if policy == "square":
        return side, side
    width, height = size
    if policy == "area":
        scale = side / (width * height) ** 0.5
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    return multiple_of((width, height), multiple)


def to_working_size(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at a model's size, by Lanczos resampling."""
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)
