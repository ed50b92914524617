"""Writes small Reason-Edit folders in the authors' layout."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from reason_edit.released_layout import FOLDERS, TEXT_FILES
from reason_edit.schema import Category

SMALL: dict[Category, Sequence[str]] = {
    Category.LEFT_RIGHT: ("001", "002"),
    Category.RELATIVE_SIZE: ("001",),
    Category.MIRROR: ("001",),
    Category.COLOR: ("001",),
    Category.MULTIPLE_OBJECTS: ("001",),
    Category.REASONING: ("001", "002"),
}


def draw(seed: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A smooth picture with a disc, different for every seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    image = coarse.resize(size, Image.Resampling.BICUBIC)
    ImageDraw.Draw(image).ellipse(box_of(size), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    return image


def box_of(size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    return width // 3, height // 3, 2 * width // 3, 2 * height // 3


def draw_mask(size: tuple[int, int] = (48, 32)) -> Image.Image:
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).ellipse(box_of(size), fill=255)
    return mask


def write_folder(root: Path, stems: Mapping[Category, Sequence[str]] = SMALL, size: tuple[int, int] = (48, 32)) -> Path:
    """Write a data set; instruction and label of a sample name its stem."""
    for category, names in stems.items():
        folder = root / FOLDERS[category]
        folder.mkdir(parents=True)
        for number, stem in enumerate(names):
            draw(100 * list(Category).index(category) + number, size).save(folder / f"{stem}.png")
            draw_mask(size).save(folder / f"{stem}_mask.jpg", quality=95)
        lines = [
            f"Change thing {stem} to a pear. CLIP: a pear {stem}" for stem in sorted(names, key=lambda n: f"{n}.png")
        ]
        (folder / TEXT_FILES[category]).write_text("\n".join(lines), encoding="utf-8")
    return root
