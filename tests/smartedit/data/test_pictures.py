import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from smartedit.data.examples import ImageRef, Reason, Storage
from smartedit.data.faults import FaultyRecordError
from smartedit.data.pictures import HEAD, PictureStore, _jpeg_size, picture_size
from tests.smartedit.data.trees import save_picture


def enormous_png() -> bytes:
    """A small PNG whose header claims 60,000 x 60,000 pixels."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("content", [enormous_png(), b"", b"\x89PNG\r\n\x1a\n", b"BM" + bytes(60), b"II*\0" + bytes(9)])
def test_whatever_a_file_claims_it_is_named_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(FaultyRecordError, match=r"odd\.png") as caught:
        PictureStore(tmp_path).open(ImageRef(path="odd.png"))
    assert caught.value.reason is Reason.UNREADABLE_IMAGE
    with pytest.raises(FaultyRecordError, match=r"odd\.png"):
        picture_size(path)


def test_size_is_height_and_width(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg", (30, 20))
    assert picture_size(tmp_path / "a.jpg") == (20, 30)


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (30, 20)).save(buffer, "JPEG", **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [jpeg(), jpeg("L"), jpeg("CMYK"), jpeg(progressive=True), jpeg(comment=b"c" * 900), jpeg(optimize=True)],
)
def test_an_ordinary_jpeg_header_is_read_without_pillow(content: bytes) -> None:
    assert _jpeg_size(content[:HEAD]) == (20, 30)


def damaged(place: int, value: int) -> bytes:
    """A JPEG with another byte behind the beginning of its frame's segment."""
    content = bytearray(jpeg())
    content[content.index(b"\xff\xc0") + place] = value
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        *(jpeg()[:n] for n in (0, 2, 3, 11, 30, 100, 180)),
        *(damaged(*change) for change in ((1, 0xC9), (4, 12), (6, 0), (5, 255), (9, 2), (9, 200), (3, 200))),
        jpeg(comment=b"c" * 9000),
    ],
)
def test_an_odd_jpeg_header_is_left_to_pillow(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    try:
        with Image.open(path) as picture:
            expected = picture.height, picture.width
    except OSError:
        assert _jpeg_size(content[:HEAD]) is None
        with pytest.raises(FaultyRecordError, match=r"a\.jpg"):
            picture_size(path)
    else:
        assert picture_size(path) == expected


@pytest.mark.parametrize(("flag", "method"), [(1, 0), (0, 99)])
def test_zip_members_that_are_encrypted_or_packed_in_an_unknown_way(tmp_path: Path, flag: int, method: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"picture")
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for start in (6, directory + 8):
        content[start : start + 4] = struct.pack("<HH", flag, method)
    path.write_bytes(content)
    with pytest.raises(FaultyRecordError) as caught:
        PictureStore(tmp_path).read(ImageRef(storage=Storage.ZIP, path="a.zip", member="a.jpg"))
    assert caught.value.reason is Reason.MISSING_IMAGE
