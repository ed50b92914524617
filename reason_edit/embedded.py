"""Pictures that lie inside a table: unpacked once into a cache, named by their content."""

import hashlib
import os
from pathlib import Path

from reason_edit.files import write_bytes


def cache_folder() -> Path:
    """Where unpacked and made-up files go: `SMARTEDIT_CACHE`, or `smartedit` in the user's cache folder."""
    named = os.environ.get("SMARTEDIT_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "smartedit"


class EmbeddedPictures:
    """Unpacks the pictures of one table.

    Args:
        origin: The table; paths of pictures that are not embedded are relative to its folder.
    """

    def __init__(self, origin: Path) -> None:
        """Remember where the table lies."""
        self._folder = origin.parent if origin.is_file() else origin
        self._cache = cache_folder() / "pictures"

    def unpack(self, value: object, where: str) -> Path:
        """A path to the picture that a table cell holds.

        Args:
            value: A Hugging Face picture struct `{"bytes": ..., "path": ...}`, raw bytes, or a path.
            where: Names the cell in an error.

        Returns:
            The path of a file with exactly the stored bytes.

        Raises:
            ValueError: The cell holds neither bytes nor the path of a file.
        """
        content = value.get("bytes") if isinstance(value, dict) else value
        named = value.get("path") if isinstance(value, dict) else value
        if isinstance(content, bytes):
            suffix = ".png" if content.startswith(b"\x89PNG") else ".jpg"
            path = self._cache / f"{hashlib.sha256(content).hexdigest()}{suffix}"
            if not path.is_file():
                write_bytes(path, content)
            return path
        if isinstance(named, str) and (self._folder / named).is_file():
            return self._folder / named
        raise ValueError(
            f"{where}: holds neither a picture's bytes nor the path of a file (got {type(value).__name__})"
        )
