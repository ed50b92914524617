import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from smartedit.data.examples import Reason
from smartedit.data.faults import FaultyRecordError
from smartedit.data.masks import (
    area,
    decode_mask,
    edit_region,
    empty_mask,
    encode_mask,
    mask_from_coco,
    runs_fit,
    union,
)
from tests.smartedit.data.trees import HEIGHT, WIDTH, square

PARTS = [square(20, 5, 30, 15), square(25, 5, 35, 15)]


def drawn(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def test_parts_are_joined() -> None:
    mask = decode_mask(mask_from_coco(PARTS, HEIGHT, WIDTH))
    assert np.array_equal(mask, drawn((20, 5, 35, 15)))


def test_the_authors_lose_what_two_parts_cover() -> None:
    mask = decode_mask(mask_from_coco(PARTS, HEIGHT, WIDTH, overlap="smartedit"))
    assert np.array_equal(mask, drawn((20, 5, 25, 15), (30, 5, 35, 15)))


def test_run_lengths_of_both_kinds_and_lists_of_them() -> None:
    expected = drawn((4, 3, 9, 20))
    encoded = coco.encode(np.asfortranarray(expected.astype(np.uint8)))
    flat = expected.T.reshape(-1)
    borders = np.flatnonzero(np.diff(flat.astype(int))) + 1
    counts = np.diff([0, *borders, flat.size]).tolist()
    text = {"size": [HEIGHT, WIDTH], "counts": encoded["counts"].decode()}
    for segmentation in (text, encoded, {"size": [HEIGHT, WIDTH], "counts": counts}, [text]):
        assert np.array_equal(decode_mask(mask_from_coco(segmentation, HEIGHT, WIDTH)), expected)


def test_masks_survive_encoding_and_union() -> None:
    a, b = drawn((0, 0, 3, 30)), drawn((2, 10, 40, 12))
    assert np.array_equal(decode_mask(encode_mask(a)), a)
    joined = union([encode_mask(a), encode_mask(b)])
    assert np.array_equal(decode_mask(joined), a | b)
    assert area(joined) == (a | b).sum()
    assert area(empty_mask(HEIGHT, WIDTH)) == 0


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        ([], Reason.EMPTY_MASK),
        ([[1.0, 2.0, 3.0, 4.0]], Reason.BAD_POLYGON),
        ([[1.0, 2.0, 3.0, 4.0, 5.0]], Reason.BAD_POLYGON),
        ([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]], Reason.BAD_POLYGON),
        ([[1.0, 2.0, 3.0, 4.0, 5.0, "x"]], Reason.BAD_POLYGON),
        ([[1.0, 2.0, 3.0, 4.0, 5.0, float("nan")]], Reason.BAD_POLYGON),
        ([[]], Reason.BAD_POLYGON),
        ([[1.0, 2.0, 3.0, 4.0, 1e30, 6.0]], Reason.BAD_POLYGON),
        ("polygon", Reason.BAD_RECORD),
        (None, Reason.BAD_RECORD),
        ({"size": [HEIGHT, WIDTH], "counts": [5, 5]}, Reason.BAD_RLE),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, HEIGHT * WIDTH + 5]}, Reason.BAD_RLE),
        ({"size": [HEIGHT, WIDTH], "counts": "PP"}, Reason.BAD_RLE),
        ({"size": [HEIGHT, WIDTH], "counts": "\x01"}, Reason.BAD_RLE),
        ({"size": [HEIGHT, WIDTH], "counts": "o" * 40}, Reason.BAD_RLE),
        ({"size": [HEIGHT, WIDTH]}, Reason.BAD_RLE),
        ({"size": [WIDTH, HEIGHT], "counts": "PP"}, Reason.SIZE_MISMATCH),
    ],
)
def test_what_is_no_mask(segmentation: object, reason: Reason) -> None:
    with pytest.raises(FaultyRecordError) as error:
        mask_from_coco(segmentation, HEIGHT, WIDTH)
    assert error.value.reason is reason


def test_real_run_lengths_fit_and_cut_ones_do_not() -> None:
    rng = np.random.default_rng(0)
    for density in (0.02, 0.5, 0.98):
        mask = rng.random((HEIGHT, WIDTH)) < density
        counts = encode_mask(mask).counts
        assert runs_fit(counts, HEIGHT * WIDTH)
        assert not runs_fit(counts, HEIGHT * WIDTH + 1)
        assert not runs_fit(counts[:-3], HEIGHT * WIDTH)


def test_regions_of_an_edit() -> None:
    expected = drawn((5, 5, 20, 10))
    hole = Image.new("RGBA", (WIDTH, HEIGHT), (10, 20, 30, 255))
    pixels = np.array(hole)
    pixels[expected] = 0
    white = Image.fromarray((expected * 255).astype(np.uint8))
    for picture in (Image.fromarray(pixels), white, white.convert("RGB")):
        assert np.array_equal(edit_region(picture), expected)
    larger = edit_region(Image.fromarray(pixels), (2 * WIDTH, 2 * HEIGHT))
    assert np.array_equal(larger, expected.repeat(2, 0).repeat(2, 1))
