"""Small pictures for one HTML file: encoded, shared where they are equal, and kept under a total size."""

import base64
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from reason_edit.loading import ImageError, read_image, read_mask

EDGES = (512, 384, 256, 192, 160, 128, 96)
DEFAULT_EDGE = 256
MAX_MEGABYTES = 50.0
QUALITY = 80
PROBES = 32


def encode_picture(path: Path, edge: int) -> bytes:
    """A picture as WebP whose longer side is at most `edge` pixels.

    Args:
        path: Any picture that Pillow reads.
        edge: Longest side in pixels.

    Returns:
        WebP bytes, the same for the same picture.

    Raises:
        ImageError: The file is missing or no picture.
    """
    image = read_image(path)
    image.thumbnail((edge, edge), Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = io.BytesIO()
    image.save(out, "WEBP", quality=QUALITY, method=2)
    return out.getvalue()


def encode_mask(path: Path, edge: int) -> bytes:
    """A mask as a small PNG of one color, transparent outside, which is where its values lie below 128."""
    inside = Image.fromarray(read_mask(path).astype(np.uint8))
    inside.thumbnail((edge, edge), Image.Resampling.NEAREST)
    inside.putpalette([0, 0, 0, 255, 45, 85])
    out = io.BytesIO()
    inside.save(out, "PNG", transparency=0, bits=1, optimize=True)
    return out.getvalue()


def fitting_edge(paths: Sequence[Path], edge: int = DEFAULT_EDGE, max_megabytes: float = MAX_MEGABYTES) -> int:
    """The largest size at which all pictures together are estimated to stay under a limit.

    A few of them, evenly spaced, are encoded at each size until one fits.

    Args:
        paths: All pictures.
        edge: The size wanted.
        max_megabytes: The limit in 10**6 bytes of base64 text.

    Returns:
        `edge`, or the first smaller of `EDGES` that fits, or the smallest.
    """
    probes = paths[:: max(1, len(paths) // PROBES)]
    for candidate in [edge, *(e for e in EDGES if e < edge)]:
        sizes = [len(content) for path in probes if (content := _attempt(encode_picture, path, candidate))]
        mean = sum(sizes) / max(1, len(sizes))
        if mean * 4 / 3 * len(paths) <= max_megabytes * 1e6:
            return candidate
    return EDGES[-1]


def _attempt(encode: Callable[[Path, int], bytes], path: Path, edge: int) -> bytes | None:
    try:
        return encode(path, edge)
    except (OSError, ImageError):
        return None


class PictureStore:
    """Encoded pictures by number; equal pictures share one."""

    def __init__(self, edge: int) -> None:
        self.edge = edge
        self.encoded: list[str] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, content: bytes) -> int:
        """Keep encoded bytes and give their number."""
        digest = hashlib.sha256(content).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self.encoded)
            self.encoded.append(base64.b64encode(content).decode())
        return self._numbers[digest]

    def add_files(self, paths: Sequence[Path], *, masks: bool = False) -> list[int | None]:
        """Encode files, several at a time.

        Args:
            paths: The pictures.
            masks: Whether they are masks.

        Returns:
            Their numbers in order; None for a file that is missing or no picture.
        """
        encode = encode_mask if masks else encode_picture

        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            return [
                None if content is None else self.add(content)
                for content in pool.map(lambda path: _attempt(encode, path, self.edge), paths)
            ]
