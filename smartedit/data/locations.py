"""Where a data set lies on disk: layouts that are tried, names that may not leave their root, and what was found."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from smartedit.data.examples import Reason, Rejection, TrainingExample
from smartedit.data.faults import FaultyRecordError

if TYPE_CHECKING:
    import pyarrow as pa

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


class SourceError(ValueError):
    """A data set cannot be read at all; the message says what was looked for, where, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What every row of a source shares.

    Attributes:
        source: Name of the source in the configuration; begins every example id.
        split: The split that is read.
        license: Short name of the license of the annotations.
        terms: What else binds a user.
        data_root: The folder that image paths are relative to.
    """

    source: str
    split: str
    license: str
    terms: str
    data_root: Path

    def relative(self, path: Path) -> str:
        """A file's path as it stands in a row: relative to the data root, with forward slashes."""
        return self.relative_path(path, self.data_root)

    @staticmethod
    def relative_path(path: Path, data_root: Path) -> str:
        """A path relative to the data root, with forward slashes."""
        return Path(os.path.relpath(path, data_root)).as_posix()


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A data set that was found on disk, and how to read it.

    Attributes:
        layout: The layout that matched, in words.
        inputs: Files whose content decides the rows.
        folders: Folders whose file names and sizes decide the rows.
        contents: Names of small files anywhere in these folders whose content decides the rows, too.
        rows: Reads the data set, record by record.
        batches: Reads it in columns where there are too many records for Python objects.
        total: How many records there are, where that is known before reading.
        label_names: Names of all label values that a label map may hold (COCO-Stuff).
    """

    layout: str
    inputs: tuple[Path, ...]
    folders: tuple[Path, ...] = ()
    contents: tuple[str, ...] = ()
    rows: Callable[[], Iterator[TrainingExample | Rejection]]
    batches: "Callable[[], Iterator[pa.RecordBatch | Rejection]] | None" = None
    total: int | None = None
    label_names: Mapping[int, str] = field(default_factory=dict)


def inside(root: Path, name: str) -> Path:
    """`root / name`, refusing names that leave the root.

    Links that the user made inside the root are followed; what is refused is what a data file itself may say. Ask
    `os.path.isfile` about the result: `Path.is_file` raises for names that are too long for a disk.

    Raises:
        FaultyRecordError: The name is absolute, climbs up with `..`, or is no file name at all.
    """
    pure = PurePosixPath(name.replace("\\", "/"))
    drive = pure.parts[:1] and pure.parts[0].endswith(":")
    if not pure.parts or pure.is_absolute() or ".." in pure.parts or drive or "\0" in name:
        raise FaultyRecordError(Reason.PATH_OUTSIDE_ROOT, f"{name!r} does not stay inside {root.name or root}")
    return root.joinpath(*pure.parts)


def probe(root: Path, variants: Sequence[str], matches: Callable[[Path], bool], wanted: str) -> Path:
    """The first of several places that holds a data set.

    Args:
        root: Where the user says that the data set is.
        variants: Folders below the root, tried in order; `.` is the root itself.
        matches: Whether a folder holds the data set.
        wanted: What is looked for, for the error.

    Raises:
        SourceError: None of them does.
    """
    if not root.is_dir():
        raise SourceError(f"{root}: there is no such folder; {wanted} was expected there")
    for variant in variants:
        if matches(root / variant):
            return root / variant
    tried = ", ".join(variants)
    raise SourceError(f"{root}: holds no {wanted}; tried the folders {tried} below it")


def holds(*names: str) -> Callable[[Path], bool]:
    """A test whether a folder holds all files of these names."""
    return lambda folder: all((folder / name).exists() for name in names)


def holds_pictures(folder: Path, suffixes: tuple[str, ...] = PICTURE_SUFFIXES) -> bool:
    """Whether a picture file lies directly in the folder."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(suffixes) for entry in entries)


def find_pictures(
    image_root: Path | None,
    annotation_root: Path,
    variants: Sequence[str],
    suffixes: tuple[str, ...] = PICTURE_SUFFIXES,
) -> Path:
    """The folder of a data set's pictures.

    Args:
        image_root: The folder that the user names, or one above it; None to look around the annotations.
        annotation_root: The folder of the annotations.
        variants: Usual places below either, for example `coco/train2014`.
        suffixes: What the pictures' names end in.

    Raises:
        SourceError: No folder of pictures was found.
    """
    if image_root is not None:
        return probe(image_root, [".", *variants], lambda f: holds_pictures(f, suffixes), "folder of pictures")
    folder = Path(os.path.abspath(annotation_root))  # the user's own folders first, then those that links lead to
    bases = [annotation_root, *folder.parents[:3], *folder.resolve().parents[:3]]
    for base in dict.fromkeys(bases):
        for variant in variants:
            if holds_pictures(base / variant, suffixes):
                return base / variant
    raise SourceError(
        f"{annotation_root}: no pictures found beside the annotations; tried {', '.join(variants)} there and up to "
        'three folders above; say where they are with images = "..."'
    )


def file_names(folder: Path) -> frozenset[str]:
    """The names of the entries of a folder, read once; links that lead nowhere are left out."""
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if not entry.is_symlink() or os.path.exists(entry.path))
