"""Files of every kind brought into a protocol's frame."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.metrics.foreground import CLIP_MEAN, crop_refusal, foreground_crop
from benchmark.metrics.pictures import PictureError, decode_rgb, edited_frame, read_file, source_frame
from benchmark.protocols import PROTOCOLS
from tests.benchmark.drawn_runs import picture, save

AUTHORS, STRICT, NATIVE = (PROTOCOLS[n] for n in ("smartedit-v1", "strict-v1", "miniature-v1"))


@pytest.mark.parity
def test_mask_statistics_are_those_of_the_reference(golden: Path) -> None:
    cases = json.loads((golden / "metric_edge_cases.json").read_text(encoding="utf-8"))
    folder = golden / "reason_edit_dev" / "benchmark"
    rows = cases["mask statistics [file, nonzero px, soft px, >=128 px]"]
    assert rows
    for name, nonzero, soft, foreground in rows:
        mask = read_file(folder / name)
        authors, strict = (source_frame(mask, mask, p) for p in (AUTHORS, STRICT))
        assert int((authors.weights < 1).sum()) == nonzero
        assert int(((authors.weights > 0) & (authors.weights < 1)).sum()) == soft
        assert int((strict.weights == 0).sum()) == foreground


def masked(tmp_path: Path, rows: slice, columns: slice, value: int = 255) -> Path:
    mask = np.zeros((256, 256), np.uint8)
    mask[rows, columns] = value
    return save(tmp_path / "mask.png", mask)


@pytest.mark.parametrize(
    ("rows", "columns", "authors", "strict"),
    [
        (slice(50, 90), slice(30, 70), (30, 50, 69, 89), (30, 50, 70, 90)),
        (slice(50, 51), slice(30, 31), (30, 50, 30, 50), (30, 50, 31, 51)),
        (slice(50, 51), slice(30, 70), (30, 50, 69, 50), (30, 50, 70, 51)),
        (slice(50, 52), slice(30, 32), (30, 50, 31, 51), (30, 50, 32, 52)),
        (slice(0, 0), slice(0, 0), None, None),
    ],
)
def test_the_box_loses_its_last_row_and_column_in_the_authors_form(
    tmp_path: Path, rows: slice, columns: slice, authors: tuple[int, ...] | None, strict: tuple[int, ...] | None
) -> None:
    mask = read_file(masked(tmp_path, rows, columns))
    image = read_file(save(tmp_path / "image.png", picture(1, (256, 256))))
    frames = [source_frame(image, mask, p) for p in (AUTHORS, STRICT)]
    assert [f.box for f in frames] == [authors, strict]
    for frame, protocol, box in zip(frames, (AUTHORS, STRICT), (authors, strict), strict=True):
        refusal = crop_refusal(frame, protocol)
        if box is None:
            assert refusal == "the mask is empty, so there is no foreground to compare with the label"
        elif box[0] == box[2] or box[1] == box[3]:
            assert refusal is not None
            assert refusal == "the mask's box is empty at 256x256; the protocol loses the box's last row and column"
        else:
            assert refusal is None
            assert foreground_crop(frame, frame.image, protocol).width >= box[2] - box[0]


def test_a_faint_pixel_widens_the_authors_box_and_not_the_strict_one(tmp_path: Path) -> None:
    values = np.zeros((256, 256), np.uint8)
    values[50:90, 30:70] = 200
    values[200, 220] = 1
    mask, image = (read_file(save(tmp_path / f"{n}.png", p)) for n, p in (("m", values), ("i", picture(1))))
    assert source_frame(image, mask, AUTHORS).box == (30, 50, 220, 200)
    assert source_frame(image, mask, STRICT).box == (30, 50, 70, 90)


def test_a_long_crop_is_padded_to_a_square_in_clip_s_mean_colour(tmp_path: Path) -> None:
    frame = source_frame(
        read_file(save(tmp_path / "image.png", picture(1, (256, 256)))),
        read_file(masked(tmp_path, slice(50, 60), slice(30, 70))),
        STRICT,
    )
    square = np.asarray(foreground_crop(frame, frame.image, STRICT))
    assert square.shape == (40, 40, 3)
    assert (square[15:25] == frame.image[50:60, 30:70]).all()
    assert (square[:15] == CLIP_MEAN).all()
    assert (square[25:] == CLIP_MEAN).all()


def test_native_protocol_keeps_the_source_s_size_and_brings_the_edit_to_it(tmp_path: Path) -> None:
    image = read_file(save(tmp_path / "image.png", picture(1, (48, 36))))
    mask = read_file(save(tmp_path / "mask.png", np.zeros((72, 96), np.uint8)))
    frame = source_frame(image, mask, NATIVE)
    assert frame.size == (48, 36)
    assert frame.weights.shape == (36, 48)
    edited = read_file(save(tmp_path / "edited.png", picture(2, (100, 80))))
    assert edited_frame(edited, frame.size, NATIVE).shape == (36, 48, 3)


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "1", "LA"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.fromarray(picture(1)).convert(mode).save(path)
    for protocol in (AUTHORS, STRICT):
        assert decode_rgb(read_file(path), protocol.upright).mode == "RGB"


def test_alpha_is_dropped_and_16_bit_is_scaled_only_where_the_protocol_says(tmp_path: Path) -> None:
    pixels = picture(1)
    Image.fromarray(np.dstack([pixels, np.zeros((64, 64), np.uint8)])).save(tmp_path / "alpha.png")
    alpha = read_file(tmp_path / "alpha.png")
    assert all((np.asarray(decode_rgb(alpha, p.upright)) == pixels).all() for p in (AUTHORS, STRICT))
    grey = pixels[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    deep = read_file(tmp_path / "deep.png")
    assert (np.asarray(decode_rgb(deep, STRICT.upright))[..., 0] == grey).all()
    assert (
        np.asarray(decode_rgb(deep, AUTHORS.upright))[..., 0] == np.asarray(Image.open(deep.path).convert("L"))
    ).all()


def test_the_rotation_tag_is_followed_by_strict_only(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1, (40, 20))).save(tmp_path / "turned.png", exif=exif)
    file = read_file(tmp_path / "turned.png")
    assert decode_rgb(file, AUTHORS.upright).size == (40, 20)
    assert decode_rgb(file, STRICT.upright).size == (20, 40)


def test_what_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture(1)).save(buffer, "PNG")
    broken = {"cut.png": buffer.getvalue()[:400], "text.png": b"no picture", "empty.png": b""}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=f"{name}: cannot be decoded"):
            decode_rgb(read_file(tmp_path / name), True)
    with pytest.raises(PictureError, match=r"gone\.png: cannot be read \(No such file"):
        read_file(tmp_path / "gone.png")
