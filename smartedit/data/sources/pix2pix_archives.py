"""The makers' own form of InstructPix2Pix: a folder a prompt with `prompt.json` and pairs, loose or in zip archives."""

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from smartedit.data.annotation_files import load_json, load_whole, parse_json
from smartedit.data.examples import ImageRef, Reason, Storage
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Origin, SourceError, file_names, inside

Listed = list[tuple[str, list[str]]]
"""Prompt names with the seeds of their pairs."""


PROMPT = "prompt.json"
"""The file with a prompt's texts."""
LARGEST_PROMPT = 1 << 24
"""Bytes of an unpacked prompt.json; a small archive can unpack to more than the memory holds."""


class PairStore(Protocol):
    """Prompt folders, wherever they lie."""

    @property
    def faults(self) -> Sequence[tuple[str, FaultyRecordError]]:
        """What could not be opened at all."""
        ...

    def names(self) -> set[str]:
        """All prompt folders."""
        ...

    def seeds(self, name: str) -> list[str]:
        """The seeds of a prompt's pairs, from the picture names."""
        ...

    def prompt(self, name: str) -> str:
        """The edit instruction of a prompt; raises FaultyRecordError."""
        ...

    def picture(self, name: str, seed: str, which: int) -> ImageRef | None:
        """Source (0) or target (1) of a pair, None when it is missing."""
        ...


def listed_pairs(folder: Path, store: PairStore) -> Listed:
    """The prompts in the order of `seeds.json`; without that file the folders in the order of their names."""
    path = folder / "seeds.json"
    if not path.is_file():
        return [(name, store.seeds(name)) for name in sorted(store.names())]
    content = load_whole(path)
    try:
        return [(str(name), [str(seed) for seed in seeds]) for name, seeds in content]
    except (TypeError, ValueError) as error:
        raise SourceError(f"{path}: a list of [name, [seeds]] was expected ({error})") from error


def part_of(listed: Listed, split: str) -> Listed:
    """The part of the prompts that a split holds: the first 90 %, the next 5 %, the last 5 %."""
    borders = {"all": (0.0, 1.0), "train": (0.0, 0.9), "val": (0.9, 0.95), "test": (0.95, 1.0)}[split]
    first, last = (int(border * len(listed)) for border in borders)
    return listed[first:last]


def _edit(record: Any, name: str) -> str:
    if not isinstance(record, dict) or "edit" not in record:
        raise FaultyRecordError(Reason.MISSING_FIELD, f"{name}/{PROMPT} has no key 'edit'")
    return record["edit"] if isinstance(record["edit"], str) else ""


def _seeds(names: frozenset[str]) -> list[str]:
    return sorted({name.rpartition("_")[0] for name in names if name.endswith(("_0.jpg", "_1.jpg"))})


class Folders:
    """Prompt folders as they lie on disk, each listed once."""

    def __init__(self, root: Path, shared: Origin) -> None:
        self.root, self.faults = root, ()
        self._prefix = shared.relative(root)
        self._listed: tuple[str, frozenset[str]] = ("", frozenset())

    @staticmethod
    def match(folder: Path) -> bool:
        """Whether a folder holds prompt folders."""
        if (folder / "seeds.json").is_file():
            return True
        with os.scandir(folder) as entries:
            return any(entry.name.isdigit() and (folder / entry.name / PROMPT).is_file() for entry in entries)

    def names(self) -> set[str]:
        """All prompt folders."""
        with os.scandir(self.root) as entries:
            return {entry.name for entry in entries if entry.name.isdigit() and entry.is_dir()}

    def _files(self, name: str) -> frozenset[str]:
        if self._listed[0] != name:
            folder = inside(self.root, name)
            if not os.path.isdir(folder):
                raise FaultyRecordError(Reason.MISSING_FOLDER, f"the folder {name} is listed, but not there")
            try:
                self._listed = (name, file_names(folder))
            except OSError as error:
                raise FaultyRecordError(Reason.MISSING_FOLDER, f"the folder {name} cannot be read ({error})") from error
        return self._listed[1]

    def seeds(self, name: str) -> list[str]:
        """The seeds of a prompt's pairs."""
        return _seeds(self._files(name))

    def prompt(self, name: str) -> str:
        """The edit instruction of a prompt."""
        if PROMPT not in self._files(name):
            raise FaultyRecordError(Reason.MISSING_ANNOTATION, f"{name} has no {PROMPT}")
        return _edit(load_json(self.root / name / PROMPT), name)

    def picture(self, name: str, seed: str, which: int) -> ImageRef | None:
        """Source (0) or target (1) of a pair."""
        file = f"{seed}_{which}.jpg"
        return ImageRef(path=f"{self._prefix}/{name}/{file}") if file in self._files(name) else None


class Zips:
    """Prompt folders in zip archives as they were downloaded."""

    def __init__(self, archives: Sequence[Path], shared: Origin) -> None:
        self.faults: list[tuple[str, FaultyRecordError]] = []
        self._members: dict[str, dict[str, tuple[int, str]]] = {}
        self._archives: list[zipfile.ZipFile] = []
        self._paths: list[str] = []
        for path in archives:
            try:
                self._add(zipfile.ZipFile(path), shared.relative(path))
            except (zipfile.BadZipFile, OSError) as error:
                fault = FaultyRecordError(Reason.BAD_ARCHIVE, f"{path.name}: no readable zip archive ({error})")
                self.faults.append((path.name, fault))

    def _add(self, archive: zipfile.ZipFile, path: str) -> None:
        number = len(self._archives)
        self._archives.append(archive)
        self._paths.append(path)
        for member in archive.namelist():
            if member.endswith("/"):
                continue
            pure = PurePosixPath(member)
            if pure.is_absolute() or ".." in pure.parts or "\\" in member:
                fault = FaultyRecordError(Reason.PATH_OUTSIDE_ROOT, f"{path}: the member {member!r} leaves the archive")
                self.faults.append((member, fault))
            elif len(pure.parts) > 1 and pure.parts[-2].isdigit():
                self._members.setdefault(pure.parts[-2], {})[pure.name] = (number, member)

    def names(self) -> set[str]:
        """All prompt folders."""
        return set(self._members)

    def _files(self, name: str) -> dict[str, tuple[int, str]]:
        if name not in self._members:
            raise FaultyRecordError(Reason.MISSING_FOLDER, f"the folder {name} is listed, but in none of the archives")
        return self._members[name]

    def seeds(self, name: str) -> list[str]:
        """The seeds of a prompt's pairs."""
        return _seeds(frozenset(self._files(name)))

    def prompt(self, name: str) -> str:
        """The edit instruction of a prompt."""
        if PROMPT not in self._files(name):
            raise FaultyRecordError(Reason.MISSING_ANNOTATION, f"{name} has no {PROMPT}")
        number, member = self._files(name)[PROMPT]
        size = self._archives[number].getinfo(member).file_size
        if size > LARGEST_PROMPT:
            raise FaultyRecordError(
                Reason.BAD_ARCHIVE, f"{member}: would unpack to {size} bytes, too many for a prompt"
            )
        try:
            content = self._archives[number].read(member)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
            raise FaultyRecordError(Reason.BAD_ARCHIVE, f"{member}: cannot be unpacked ({error})") from error
        return _edit(parse_json(content, f"{name}/{PROMPT}"), name)

    def picture(self, name: str, seed: str, which: int) -> ImageRef | None:
        """Source (0) or target (1) of a pair."""
        entry = self._files(name).get(f"{seed}_{which}.jpg")
        if entry is None:
            return None
        return ImageRef(storage=Storage.ZIP, path=self._paths[entry[0]], member=entry[1])
