"""What a source was read from, as digests: whether a part of a manifest is still good, and which files it came from."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from reason_edit.files import file_sha256
from smartedit.data.locations import Found, Origin

EDGE = 1 << 20
UNREADABLE = -1
"""Stands for the size of what cannot be read, such as a link that leads nowhere; the readers say what it costs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InputDigest:
    """One file or folder that rows were read from.

    Attributes:
        path: Relative to the data root.
        covers: What the digest is taken of.
        sha256: Hex digest.
        bytes: Size of the file, -1 where it cannot be read; of a folder, the number of its files.
    """

    path: str
    covers: str
    sha256: str
    bytes: int


class Digests:
    """Digests of files and folders, each taken once."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        self._taken: dict[tuple[Path, tuple[str, ...]], InputDigest] = {}

    def of(self, found: Found) -> list[InputDigest]:
        """The digests of all that a source is read from, in a fixed order."""
        paths = sorted({*found.inputs, *found.folders})
        return [self._digest(path, found.contents) for path in paths]

    def _digest(self, path: Path, contents: tuple[str, ...]) -> InputDigest:
        if (path, contents) not in self._taken:
            covers, digest, size = _folder(path, contents) if path.is_dir() else _file(path)
            relative = Origin.relative_path(path, self.data_root)
            taken = InputDigest(path=relative, covers=covers, sha256=digest, bytes=size)
            self._taken[path, contents] = taken
        return self._taken[path, contents]


def _file(path: Path) -> tuple[str, str, int]:
    """A text file by its content; a big container by the part that changes whenever its content does."""
    try:
        return _readable_file(path)
    except OSError:
        return "nothing", hashlib.sha256().hexdigest(), UNREADABLE


def _readable_file(path: Path) -> tuple[str, str, int]:
    size = path.stat().st_size
    take: tuple[str, Callable[[Path], str]] = {
        ".parquet": ("Parquet footer and size", _parquet_footer),
        ".zip": ("names, sizes and checksums of the members", _zip_members),
        ".arrow": ("first and last megabyte and size", _edges),
    }.get(path.suffix, ("content", file_sha256))
    try:
        return take[0], take[1](path), size
    except (zipfile.BadZipFile, OSError, ValueError):
        return "content", file_sha256(path), size


def _parquet_footer(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        length = int.from_bytes(file.read(4), "little")
        file.seek(max(size - 8 - length, 0))
        return hashlib.sha256(size.to_bytes(8, "little") + file.read()).hexdigest()


def _zip_members(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        members = [(member.filename, member.file_size, member.CRC) for member in archive.infolist()]
    return hashlib.sha256(json.dumps(members).encode()).hexdigest()


def _edges(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        first = file.read(EDGE)
        file.seek(max(size - EDGE, 0))
        return hashlib.sha256(size.to_bytes(8, "little") + first + file.read(EDGE)).hexdigest()


def _folder(path: Path, contents: tuple[str, ...]) -> tuple[str, str, int]:
    """The names and sizes of all files below a folder, and the content of those that are called so."""
    entries: list[tuple[str, int | str]] = []
    pending = [(path, "")]
    while pending:
        folder, prefix = pending.pop()
        with os.scandir(folder) as listing:
            for entry in listing:
                name = f"{prefix}{entry.name}"
                try:
                    if entry.is_dir():
                        pending.append((Path(entry.path), f"{name}/"))
                    elif entry.name in contents:
                        entries.append((name, file_sha256(entry.path)))
                    else:
                        entries.append((name, entry.stat().st_size))
                except OSError:
                    entries.append((name, UNREADABLE))
    hasher = hashlib.sha256()
    for name, mark in sorted(entries, key=itemgetter(0)):
        hasher.update(f"{name}\0{mark}\n".encode("utf-8", "surrogateescape"))
    covers = "names and sizes of the files" + "".join(f", content of {name}" for name in contents)
    return covers, hasher.hexdigest(), len(entries)
