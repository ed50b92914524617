import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.commands.rating_study import OpenedStudy
from reason_edit.rating.pictures import LONGEST_SIDE, PictureChanged, blind_png, open_upright, shown_size
from reason_edit.rating.study import RatingError


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_all_pictures_of_a_sample_have_one_size_and_no_metadata(study: OpenedStudy) -> None:
    for key in study.pictures.keys:
        for side in ("source", "edited"):
            content = study.pictures.png(key.number, side)  # type: ignore[arg-type]
            with Image.open(io.BytesIO(content)) as picture:
                assert (picture.size, picture.mode, picture.info) == ((96, 64), "RGB", {})
            chunks = {content[i : i + 4] for i in range(len(content)) if content[i : i + 4] in CHUNKS}
            assert chunks <= {b"IHDR", b"IDAT", b"IEND"}
            assert b"edit" not in content


CHUNKS = {b"IHDR", b"IDAT", b"IEND", b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"gAMA", b"eXIf", b"iCCP", b"sRGB"}


def test_a_planted_copy_has_the_very_bytes_of_its_source(study: OpenedStudy) -> None:
    planted = [k for k in study.pictures.keys if k.expected is not None]
    assert len(planted) == 2
    for key in planted:
        assert study.pictures.png(key.number, "source") == study.pictures.png(key.number, "edited")


@pytest.mark.parametrize(
    ("mode", "color"),
    [("L", 90), ("RGBA", (10, 20, 30, 0)), ("P", 3), ("I;16", 30000), ("CMYK", (9, 9, 9, 9)), ("1", 1)],
)
def test_every_kind_of_picture_becomes_plain_rgb(mode: str, color: object) -> None:
    picture = Image.new(mode, (8, 6), color)  # type: ignore[arg-type]
    shown = open_upright(encoded(picture, "TIFF" if mode == "CMYK" else "PNG"), "x")
    assert (shown.mode, shown.size) == ("RGB", (8, 6))
    if mode == "RGBA":
        assert shown.getpixel((0, 0)) == (10, 20, 30)  # as editors and metrics see it
    if mode == "I;16":
        assert shown.getpixel((0, 0)) == (117, 117, 117)


def test_rotated_pictures_stand_upright_and_pixels_are_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_upright(encoded(Image.new("RGB", (8, 6)), "JPEG", exif=exif), "x").size == (6, 8)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    assert Image.open(io.BytesIO(blind_png(noise, (7, 9)))).tobytes() == noise.tobytes()


def test_very_large_pictures_are_shown_smaller() -> None:
    assert shown_size((6000, 3000)) == (LONGEST_SIDE, LONGEST_SIDE // 2)
    assert shown_size((9000, 1)) == (LONGEST_SIDE, 1)
    assert shown_size((512, 300)) == (512, 300)


def test_a_picture_that_changes_or_goes_is_noticed_at_once(study: OpenedStudy) -> None:
    number = next(k.number for k in study.pictures.keys if k.expected is None)
    path: Path = study.pictures.items[number].edited
    study.pictures.png(number, "edited")
    Image.new("RGB", (96, 64), "black").save(path)
    with pytest.raises(PictureChanged, match="changed since the study began"):
        study.pictures.png(number, "edited")
    path.unlink()
    with pytest.raises(PictureChanged, match="gone since the study began"):
        study.pictures.check(number)


def test_broken_pictures_are_named() -> None:
    with pytest.raises(RatingError, match=r"a\.png: not a readable picture"):
        open_upright(b"no picture", "a.png")


def test_memory_is_bounded(study: OpenedStudy) -> None:
    study.pictures.limit = 3000
    for key in study.pictures.keys:
        study.pictures.png(key.number, "edited")
    assert sum(map(len, study.pictures._kept.values())) <= 3000
