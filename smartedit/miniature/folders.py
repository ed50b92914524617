"""A folder that a writer makes its own: marked with its settings, locked, and free of a killed run's leftovers."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reason_edit.files import write_text

logger = logging.getLogger(__name__)

LEFTOVER = re.compile(r"\..*\.tmp-")
"""Names that `reason_edit.files.atomic_path` gives to files that are not whole yet."""


class DatasetFolderError(ValueError):
    """The output folder holds something else."""


@contextmanager
def claimed(out: Path, marker: str, settings: str) -> Iterator[None]:
    """Own a folder for the length of the block; waits while another process owns it.

    Args:
        out: The folder: new, empty, or begun earlier with the same settings.
        marker: Path of the file, below the folder, that holds the settings.
        settings: What decides the folder's content.

    Raises:
        DatasetFolderError: The folder holds something else, or was begun with other settings.
    """
    if out.exists() and not out.is_dir():
        raise DatasetFolderError(f"{out}: is a file; choose a folder")
    out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        mark = out / marker
        if not mark.is_file():
            if any(path.is_file() and not LEFTOVER.match(path.name) for path in out.rglob("*")):
                raise DatasetFolderError(f"{out}: is not empty and was not begun by this command; choose a new folder")
            write_text(mark, settings)
        elif mark.read_text(encoding="utf-8") != settings:
            raise DatasetFolderError(f"{out}: was written with other settings ({mark}); choose another folder")
        for path in list(out.rglob(".*.tmp-*")):
            path.unlink()
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, where the system has such locks; it ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("another process is writing to %s; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
