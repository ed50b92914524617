"""SmartEdit's synthetic pairs: a json file of picture pairs with one or more instructions each."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from smartedit.data.annotation_files import load_whole
from smartedit.data.examples import ImageRef, Reason, Rejection, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError, probe
from smartedit.data.sources.origins import origin

logger = logging.getLogger(__name__)

FILE = "SyntheticData_info_new.json"


def resolve(name: Any, folders: list[Path]) -> Path:
    """The file that a path in the json means, whatever prefix it was written with.

    Tried below each folder: the path, and the path with its leading folders dropped one by one. Nothing outside the
    folders is ever looked at.

    Raises:
        FaultyRecordError: The path climbs up, or no such file exists.
    """
    if not isinstance(name, str) or not name.strip():
        raise FaultyRecordError(Reason.MISSING_FIELD, f"a picture's path is {name!r}")
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part != "/"]
    if ".." in parts or "\0" in name:
        raise FaultyRecordError(Reason.PATH_OUTSIDE_ROOT, f"{name!r} climbs out of the data set's folder")
    for start in range(len(parts)):
        for folder in folders:
            path = folder.joinpath(*parts[start:])
            if os.path.isfile(path):
                return path
    raise FaultyRecordError(Reason.MISSING_IMAGE, f"{name!r} is nowhere below {', '.join(f.name for f in folders)}")


def instructions(value: Any) -> tuple[str, ...]:
    """The instructions of a pair, written as a text or as a list.

    Raises:
        FaultyRecordError: There is none.
    """
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    kept = tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())
    if not kept:
        raise FaultyRecordError(Reason.EMPTY_TEXT, f"instruction is {value!r}")
    return kept


def locate(
    root: Path, split: str, *, image_root: Path | None = None, file: str = FILE, shared: Origin | None = None
) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    if split != "train":
        raise SourceError(f"the synthetic set has no split {split!r}, only train")
    if root.is_file():
        path = root
    else:
        path = probe(root, [".", "SyntheticData"], lambda folder: (folder / file).is_file(), file) / file
    shared = shared or origin("synthetic", "synthetic", split, path.parent)
    folders = [path.parent] if image_root is None else [image_root, path.parent]

    def rows() -> Iterator[TrainingExample | Rejection]:
        content = load_whole(path)
        if not isinstance(content, dict):
            raise SourceError(f"{path}: a dict of pairs was expected, got {type(content).__name__}")
        for key, record in content.items():
            try:
                yield _example(record, folders, shared, key)
            except FaultyRecordError as error:
                yield Rejection(source=shared.source, record_id=key, reason=error.reason, detail=str(error))

    return Found(
        layout=f"synthetic pairs: {path.name} in {path.parent}, pictures below {', '.join(map(str, folders))}",
        inputs=(path,),
        folders=tuple(folders),
        rows=rows,
    )


def _example(record: Any, folders: list[Path], shared: Origin, key: str) -> TrainingExample:
    if not isinstance(record, dict):
        raise FaultyRecordError(Reason.BAD_RECORD, f"a pair is a dict, not {type(record).__name__}")
    texts = instructions(record.get("instruction"))
    image = resolve(record.get("origin_img_path"), folders)
    target = resolve(record.get("target_img_path"), folders)
    category = record.get("category")
    return TrainingExample(
        example_id=f"{shared.source}/{key}",
        source=shared.source,
        task=Task.EDIT,
        image=ImageRef(path=shared.relative(image)),
        target=ImageRef(path=shared.relative(target)),
        instructions=texts,
        category=category if isinstance(category, str) else None,
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def read(
    root: Path,
    split: str = "train",
    *,
    image_root: Path | None = None,
    file: str = FILE,
    shared: Origin | None = None,
) -> Iterator[TrainingExample | Rejection]:
    """Read the synthetic pairs.

    Args:
        root: The json file, its folder, or one above it.
        split: `train`.
        image_root: Where the pictures lie; None for the json file's folder.
        file: Name of the json file.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a pair, or a rejection.

    Raises:
        SourceError: Nothing readable is there.
    """
    found = locate(root, split, image_root=image_root, file=file, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
