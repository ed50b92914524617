"""Pictures as raters get them: of one size, freshly encoded, without anything that could tell who made them."""

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

from PIL import Image, ImageOps, UnidentifiedImageError

from reason_edit.loading import to_rgb
from reason_edit.rating.study import ItemKey, RatingError, StudyItem

LONGEST_SIDE = 1536
"""Larger pictures are shown at this size, in pixels; no screen of a rater shows more."""

Side = Literal["source", "edited"]


class PictureChanged(RatingError):
    """A picture of a running study is no longer the one that the study began with."""


def open_upright(content: bytes, name: str) -> Image.Image:
    """Decode a picture to upright RGB, to the pixels that editors get and metrics compare.

    Args:
        content: The file's bytes.
        name: What to call it in an error.

    Returns:
        RGB, without metadata.

    Raises:
        RatingError: The bytes are no picture.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            return to_rgb(ImageOps.exif_transpose(opened))
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise RatingError(f"{name}: not a readable picture ({error})") from error


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """The size at which the pictures of a sample are shown: the source's, or less where it is very large."""
    scale = min(1.0, LONGEST_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def blind_png(picture: Image.Image, size: tuple[int, int]) -> bytes:
    """Encode a picture so that size, format, compression and metadata are the same for every method.

    Args:
        picture: RGB.
        size: Width and height to show it at; the sample's source decides, not the method.

    Returns:
        A PNG of pixels and nothing else.
    """
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    clean = Image.frombytes("RGB", picture.size, picture.tobytes())
    buffer = io.BytesIO()
    clean.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@dataclass(slots=True)
class Pictures:
    """The pictures of a study, each checked against the study's hash before it is shown.

    Attributes:
        keys: The study's items by number.
        items: The same with their paths, by number.
        limit: How many bytes of encoded pictures to keep in memory.
    """

    keys: Sequence[ItemKey]
    items: Sequence[StudyItem]
    limit: int = 256 * 2**20
    _kept: OrderedDict[tuple[str, str], bytes] = field(default_factory=OrderedDict)
    _checked: dict[Path, tuple[int, int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def png(self, number: int, side: Side) -> bytes:
        """One picture of an item as a rater gets it.

        Args:
            number: The item's number.
            side: `source` or `edited`.

        Returns:
            PNG bytes.

        Raises:
            PictureChanged: The file is gone or has changed since the study began.
        """
        key, item = self.keys[number], self.items[number]
        self.check(number)
        wanted = (key.source_sha256, key.edited_sha256 if side == "edited" else key.source_sha256)
        with self._lock:
            if wanted in self._kept:
                self._kept.move_to_end(wanted)
                return self._kept[wanted]
        source = open_upright(_read(item.source, key.source_sha256), str(item.source))
        size = shown_size(source.size)
        picture = source if side == "source" else open_upright(_read(item.edited, key.edited_sha256), str(item.edited))
        content = blind_png(picture, size)
        with self._lock:
            self._kept[wanted] = content
            while sum(map(len, self._kept.values())) > self.limit and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return content

    def check(self, number: int) -> None:
        """See that both files of an item are still those of the study; cheap where size and time are as before.

        Raises:
            PictureChanged: One is gone or has changed.
        """
        key, item = self.keys[number], self.items[number]
        for path, expected in ((item.source, key.source_sha256), (item.edited, key.edited_sha256)):
            try:
                status = path.stat()
            except OSError as error:
                raise PictureChanged(f"{path}: gone since the study began") from error
            signature = (status.st_size, status.st_mtime_ns, status.st_ino)
            if self._checked.get(path) != signature:
                _read(path, expected)
                self._checked[path] = signature


def _read(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PictureChanged(f"{path}: gone since the study began") from error
    if sha256(content).hexdigest() != expected:
        raise PictureChanged(f"{path}: changed since the study began; put the old file back, or begin a new study")
    return content
