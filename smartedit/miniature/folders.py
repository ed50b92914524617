"""A folder that a writer makes its own: marked with its settings, locked, and free of a killed run's leftovers."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reason_edit.files import write_text

LEFTOVER = re.compile(r"\..*\.tmp-")
"""Names that `reason_edit.files.atomic_path` gives to files that are not whole yet."""


class DatasetFolderError(ValueError):
    """The output folder holds something else, or another process writes to it."""


@contextmanager
def claimed(out: Path, marker: str, settings: str) -> Iterator[None]:
    """Own a folder for the length of the block.

    Args:
        out: The folder: new, empty, or begun earlier with the same settings.
        marker: Path of the file, below the folder, that holds the settings.
        settings: What decides the folder's content.

    Raises:
        DatasetFolderError: The folder holds something else, was begun with other settings, or is being written.
    """
    mark = out / marker
    if mark.is_file():
        if mark.read_text(encoding="utf-8") != settings:
            raise DatasetFolderError(f"{out}: was written with other settings ({mark}); choose another folder")
    elif out.exists() and (not out.is_dir() or any(p.is_file() and not LEFTOVER.match(p.name) for p in out.rglob("*"))):
        raise DatasetFolderError(f"{out}: is not empty and was not begun by this command; choose a new folder")
    else:
        write_text(mark, settings)
    with _locked(mark):
        for path in list(out.rglob(".*.tmp-*")):
            path.unlink()
        yield


@contextmanager
def _locked(mark: Path) -> Iterator[None]:
    """Hold the marker's lock, where the system has locks; it ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with mark.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DatasetFolderError(f"{mark.parent}: another process is writing there; wait for it") from error
        yield
