"""Color names agree with what people call these colors, also in a gradient, and never look at the surroundings."""

import numpy as np
import pytest
from PIL import Image

from smartedit.synthesis.colors import measure_color

NAMED = {
    "red": [(220, 30, 30), (150, 20, 25), (205, 40, 40)],
    "orange": [(255, 140, 0), (243, 146, 44)],
    "yellow": [(250, 220, 50), (255, 255, 0)],
    "green": [(40, 160, 60), (0, 90, 30), (150, 220, 60)],
    "blue": [(30, 80, 220), (20, 30, 110), (110, 180, 240)],
    "purple": [(130, 40, 170), (128, 0, 128)],
    "pink": [(250, 150, 190), (255, 192, 203)],
    "brown": [(110, 65, 30), (140, 92, 56)],
    "black": [(10, 10, 12), (40, 40, 44)],
    "white": [(250, 250, 250), (240, 238, 230)],
    "gray": [(128, 128, 130), (170, 172, 175)],
}


@pytest.mark.parametrize(("name", "color"), [(name, c) for name, colors in NAMED.items() for c in colors])
def test_plain_colors(name: str, color: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (40, 40), color)
    measured = measure_color(image, np.ones((40, 40), dtype=bool))
    assert (measured.name, measured.share) == (name, 1.0)


def test_only_the_mask_counts() -> None:
    image = Image.new("RGB", (40, 40), (30, 80, 220))
    image.paste((220, 30, 30), (10, 10, 30, 30))
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:30, 10:30] = True
    assert measure_color(image, mask).name == "red"
    mask[:, :] = True
    assert measure_color(image, mask).name == "blue"
    assert measure_color(image, mask).share == pytest.approx(1 - 400 / 1600, abs=0.1)
