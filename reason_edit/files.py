"""Files that are whole or absent: atomic writes and content hashes."""

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""A full disk, a used-up quota, a file larger than allowed."""


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which becomes `path` when the block ends without an error.

    The file is flushed to disk before the rename, so that a file of the final name is always complete. The temporary
    name keeps the suffix of `path` (writers that choose a format by suffix work) and is removed on any failure. It is
    locked while it is written, so that `sweep_unfinished` knows it from what a killed process left behind.

    Args:
        path: The final path; missing parent folders are made.

    Yields:
        The path to write to.

    Raises:
        OSError: It cannot be written; names `path` also where the system's message names no file (a full disk).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.tmp-", suffix=path.suffix)
    temporary = Path(name)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield temporary
        mode = 0o666 & ~_umask()
        temporary.chmod(mode)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise _named(error, path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def _named(error: OSError, path: Path) -> OSError:
    """A full disk's error with the file and what to do."""
    text = f"{os.strerror(error.errno or errno.ENOSPC)}; make room and give the same command again"
    return OSError(error.errno, text, str(path))


class BusyError(ValueError):
    """Another process is at work on the same files."""


@contextmanager
def sole_holder(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it at any kind of end.

    Args:
        path: The lock file; its folder must exist.
        busy: What to say where another process holds it.

    Raises:
        BusyError: Another process holds it.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(busy) from error
        yield


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait for a lock file and hold it; the kernel lets go of it at any kind of end, so that nobody waits for the dead.

    Args:
        path: The lock file; its folder must exist.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sweep_unfinished(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder and below, and none that is being written."""
    for path in folder.rglob(".*.tmp-*"):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue


def _umask() -> int:
    """The process's file mode mask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path | str, content: bytes) -> None:
    """Write `content`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def missing_file(path: Path | str) -> str:
    """Why a path is not a file that can be read, for an error's text."""
    return "is a folder, and a file is wanted" if Path(path).is_dir() else "there is no such file"


def file_sha256(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes, read in blocks."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
