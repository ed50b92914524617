import io
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from smartedit.data.examples import ImageRef, Reason, Storage
from smartedit.data.faults import FaultyRecordError
from smartedit.data.pictures import PictureStore, picture_size
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
