"""The pictures that a manifest points to: files, members of zip archives, cells of Parquet and Arrow files."""

import io
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from PIL import ExifTags, Image, ImageOps

from smartedit.data.examples import ImageRef, Reason, Storage
from smartedit.data.faults import FaultyRecordError

if TYPE_CHECKING:
    import pyarrow as pa

Opened = TypeVar("Opened")
OPEN_FILES = 16
ROW_GROUPS = 2
PICTURE_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for damaged files and EXIF notes, and for such as claim to be enormous (found by damaging files of
13 formats)."""
ON_ITS_SIDE = (5, 6, 7, 8)
"""Values of EXIF's orientation that swap width and height."""
HEAD = 4096
"""Bytes that an ordinary JPEG header fits into."""
JPEG, START_OF_SCAN, START_OF_FRAME = b"\xff\xd8", 0xDA, (0xC0, 0xC1, 0xC2)
SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
"""Markers of the other segments before the scan: tables, the restart interval, comments, applications' own."""
ORDINARY = 1 << 26
"""Pixels up to which Pillow opens a picture without a word about its size."""
CONTAINER_FAULTS = (OSError, LookupError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a zip member or a cell raises: missing, damaged, encrypted, packed in an unknown way."""


@contextmanager
def unreadable(name: str, what: str = "picture") -> Iterator[None]:
    """Turn whatever goes wrong with decoding a picture into a FaultyRecordError that names it."""
    try:
        yield
    except FaultyRecordError:
        raise
    except PICTURE_FAULTS as error:
        raise FaultyRecordError(Reason.UNREADABLE_IMAGE, f"{name}: no readable {what} ({error})") from error


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture file, from its header alone; raises FaultyRecordError."""
    with unreadable(path.name):
        with open(path, "rb", buffering=0) as file:
            size = _jpeg_size(file.read(HEAD))
        if size is not None:
            return size
        with Image.open(path) as picture:
            return picture.height, picture.width


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height that a picture has once it is turned as its EXIF note says."""
    is_on_its_side = picture.getexif().get(ExifTags.Base.Orientation) in ON_ITS_SIDE
    return (picture.height, picture.width) if is_on_its_side else picture.size


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """Height and width in an ordinary JPEG header that is whole; None where Pillow, which takes longer, should look."""
    if head[:2] != JPEG:
        return None
    place, size = 2, None
    while place + 9 < len(head) and head[place] == 0xFF:
        marker = head[place + 1]
        if marker == START_OF_SCAN:
            return size
        if marker in START_OF_FRAME:
            size = int.from_bytes(head[place + 5 : place + 7]), int.from_bytes(head[place + 7 : place + 9])
            if head[place + 4] != 8 or head[place + 9] not in (1, 3, 4) or not 0 < size[0] * size[1] <= ORDINARY:
                return None
        elif marker not in SEGMENTS:
            return None
        place += 2 + int.from_bytes(head[place + 2 : place + 4])
    return None


class PictureStore:
    """Opens pictures below a data root; keeps a few archives and row groups open between calls.

    Not to be shared between threads or processes: make one in each worker.
    """

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self._zips: OrderedDict[Any, zipfile.ZipFile] = OrderedDict()
        self._files: OrderedDict[Any, Any] = OrderedDict()
        self._groups: OrderedDict[Any, pa.ChunkedArray] = OrderedDict()

    def read(self, ref: ImageRef) -> bytes:
        """The encoded bytes of a picture.

        Raises:
            FaultyRecordError: The file, member or cell is missing or cannot be read.
        """
        path = self.data_root / ref.path
        try:
            if ref.storage is Storage.FILE:
                return path.read_bytes()
            if ref.storage is Storage.ZIP:
                return _kept(self._zips, path, OPEN_FILES, lambda: zipfile.ZipFile(path)).read(str(ref.member))
            cell = self._cell(path, ref)
        except CONTAINER_FAULTS as error:
            raise FaultyRecordError(Reason.MISSING_IMAGE, f"{_name(ref)}: cannot be read ({error})") from error
        content = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(content, bytes):
            raise FaultyRecordError(Reason.MISSING_IMAGE, f"{_name(ref)}: the cell holds no picture")
        return content

    def open(self, ref: ImageRef) -> Image.Image:
        """A picture as it is stored, opened by its content and not by its name; raises as `read` does."""
        with unreadable(_name(ref)):
            picture = Image.open(io.BytesIO(self.read(ref)))
            picture.load()
        return picture

    def open_upright(self, ref: ImageRef) -> Image.Image:
        """A picture turned as its EXIF note says; raises as `read` does."""
        return self.turned(self.open(ref), ref)

    def turned(self, picture: Image.Image, ref: ImageRef) -> Image.Image:
        """What `open` gave, turned as its EXIF note says; raises as `read` does.

        The picture itself is turned: copies that nobody needs cost as much as bringing a photo to size for the encoder.
        """
        with unreadable(_name(ref)):
            ImageOps.exif_transpose(picture, in_place=True)
        return picture

    def check(self, ref: ImageRef) -> None:
        """Decode a picture, read its EXIF note and throw it away; raises as `open` does."""
        self.open_upright(ref)

    def _cell(self, path: Path, ref: ImageRef) -> Any:
        row, column = int(ref.row or 0), str(ref.column)
        if ref.storage is Storage.ARROW:
            batches, starts = _kept(self._files, path, OPEN_FILES, lambda: _arrow_batches(path))
            index = next(i for i, start in reversed(list(enumerate(starts))) if start <= row)
            cells = batches[index].column(column)
            cells.validate(full=True)  # Arrow follows whatever offsets stand in a file
            return cells[row - starts[index]].as_py()
        file, starts = _kept(self._files, path, OPEN_FILES, lambda: _parquet_file(path))
        group = next(i for i, start in reversed(list(enumerate(starts))) if start <= row)
        cells = _kept(
            self._groups,
            (path, group, column),
            ROW_GROUPS,
            lambda: file.read_row_group(group, columns=[column])[column],
        )
        return cells[row - starts[group]].as_py()


def _name(ref: ImageRef) -> str:
    inner = ref.member if ref.member is not None else f"row {ref.row}, {ref.column}" if ref.row is not None else ""
    return f"{ref.path} [{inner}]" if inner else ref.path


def _kept(cache: "OrderedDict[Any, Opened]", key: Any, limit: int, make: Callable[[], Opened]) -> Opened:
    """The cached value of a key, made when it is missing; the value unused for longest makes room."""
    if key in cache:
        cache.move_to_end(key)
        return cache[key]
    value = cache[key] = make()
    if len(cache) > limit:
        cache.popitem(last=False)
    return value


def _parquet_file(path: Path) -> tuple[Any, list[int]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, memory_map=True)
    counts = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    return file, _starts(counts)


def _arrow_batches(path: Path) -> tuple[Any, list[int]]:
    import pyarrow as pa

    batches = list(pa.ipc.open_stream(pa.memory_map(str(path))))
    return batches, _starts([batch.num_rows for batch in batches])


def _starts(counts: list[int]) -> list[int]:
    return [sum(counts[:i]) for i in range(len(counts))]
