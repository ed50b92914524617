"""Pictures at the trained size and back."""

import numpy as np
import pytest
import torch
from PIL import Image

from smartedit.model.images import (
    CLIP_MEAN,
    CLIP_STD,
    PictureError,
    autoencoder_pixels,
    encoder_pixels,
    keep_unedited,
    to_pictures,
    trained_size,
    upright,
)


def gradient(width: int, height: int) -> Image.Image:
    x = np.linspace(0, 255, width)[None, :, None] * np.ones((height, 1, 3))
    return Image.fromarray(x.astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (256, 256)),
        ((640, 480), (320, 192)),
        ((300, 1200), (128, 512)),
        ((1600, 200), (704, 64)),
    ],
)
def test_aspect_ratio_is_kept_at_the_trained_area(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert trained_size(*size, 256, square=False) == expected
    assert trained_size(*size, 256, square=True) == (256, 256)
    assert 0.6 < expected[0] * expected[1] / 256**2 < 1.4


def test_pixels_there_and_back() -> None:
    picture = gradient(32, 16)
    assert np.array_equal(np.asarray(to_pictures(autoencoder_pixels([picture], (32, 16)))[0]), np.asarray(picture))


def test_encoder_pixels_are_clips() -> None:
    grey = Image.new("RGB", (30, 50), (128, 128, 128))
    pixels = encoder_pixels([grey], 14)
    expected = (128 / 255 - torch.tensor(CLIP_MEAN)) / torch.tensor(CLIP_STD)
    torch.testing.assert_close(pixels, expected.view(1, 3, 1, 1).expand(1, 3, 14, 14))


def test_transparency_becomes_white_and_palettes_colours() -> None:
    assert upright(Image.new("RGBA", (20, 20), (255, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert upright(Image.new("L", (20, 20), 7)).getpixel((0, 0)) == (7, 7, 7)
    assert upright(Image.new("RGB", (20, 20), "red").convert("P")).getpixel((0, 0)) == (255, 0, 0)


def test_sixteen_bits_of_grey_are_scaled_not_clipped() -> None:
    values = np.full((20, 20), 32896, dtype=np.uint16)
    assert upright(Image.fromarray(values)).getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("size", [(1, 1), (15, 100), (1000, 50)])
def test_too_small_or_too_narrow(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match=f"{size[0]}"):
        upright(Image.new("RGB", size))


def test_original_pixels_stay_outside_the_edit() -> None:
    source = gradient(200, 120)
    edited = source.resize((64, 64), Image.Resampling.BICUBIC)
    edited.paste((255, 0, 0), (0, 0, 16, 16))
    kept = np.asarray(keep_unedited(source, edited), dtype=int)
    before = np.asarray(source, dtype=int)
    assert kept.shape == before.shape
    assert np.array_equal(kept[70:, 100:], before[70:, 100:])
    assert kept[10, 15].tolist() == pytest.approx([255, 0, 0], abs=8)
