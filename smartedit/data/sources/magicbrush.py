"""MagicBrush: edits that people made turn by turn, as hub shards, the makers' json files, or one flat list."""

import logging
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from smartedit.data.annotation_files import load_whole
from smartedit.data.examples import ImageRef, Reason, Rejection, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError, inside
from smartedit.data.sources.hub_tables import Shard, find_shards, shard_records
from smartedit.data.sources.origins import origin

logger = logging.getLogger(__name__)

Layout = Literal["auto", "hub", "sessions", "list"]
PLACES = (".", "MagicBrush_HF", "MagicBruth_HF", "MagicBrush")
FLAT = "magic_train.json"


def locate(
    root: Path, split: str, *, layout: Layout = "auto", image_root: Path | None = None, shared: Origin | None = None
) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    shared = shared or origin("magicbrush", "magicbrush", split, root)
    for folder in (root / place for place in PLACES):
        if not folder.is_dir():
            continue
        if layout in ("auto", "hub"):
            words, shards = find_shards(folder, split)
            if shards:
                return Found(
                    layout=f"MagicBrush: {words}",
                    inputs=tuple(shard.path for shard in shards),
                    rows=partial(_hub_rows, shards, shared),
                )
        found = _locate_json(folder, split, layout, image_root, shared)
        if found is not None:
            return found
    raise SourceError(
        f"{root}: holds no MagicBrush split {split!r} ({layout}): neither {split}-*.parquet, a save_to_disk folder, "
        f"edit_sessions.json, edit_turns.json nor {FLAT}; tried {', '.join(PLACES)}"
    )


def _locate_json(folder: Path, split: str, layout: Layout, image_root: Path | None, shared: Origin) -> Found | None:
    for place in (folder / split, folder):
        for name in ("edit_sessions.json", "edit_turns.json") if layout in ("auto", "sessions") else ():
            path = place / name
            if path.is_file():
                pictures = image_root or (place / "images" if (place / "images").is_dir() else place)
                return Found(
                    layout=f"MagicBrush: {name} in {place}, pictures in {pictures}",
                    inputs=(path,),
                    folders=(pictures,),
                    rows=partial(_session_rows, path, pictures, shared),
                )
    path = folder / FLAT
    if layout in ("auto", "list") and split == "train" and path.is_file():
        pictures = image_root or folder
        return Found(
            layout=f"MagicBrush: {FLAT} in {folder}, pictures below {pictures}",
            inputs=(path,),
            folders=(pictures,),
            rows=partial(_flat_rows, path, pictures, shared),
        )
    return None


def _hub_rows(shards: list[Shard], shared: Origin) -> Iterator[TrainingExample | Rejection]:
    texts, pictures = ["img_id", "turn_index", "instruction"], ["source_img", "mask_img", "target_img"]
    for shard in shards:
        try:
            for row, values, images in shard_records(shard, texts, pictures, shared):
                record_id = f"{values['img_id']}/{values['turn_index']}"
                if values["img_id"] is None or values["turn_index"] is None:
                    record_id = f"{shard.path.stem}/{row}"
                yield _judged(
                    values["instruction"],
                    lambda images=images: (images["source_img"], images["mask_img"], images["target_img"]),  # type: ignore[misc]
                    shared,
                    record_id,
                )
        except FaultyRecordError as error:
            yield Rejection(source=shared.source, record_id=shard.path.name, reason=error.reason, detail=str(error))


def _session_rows(path: Path, pictures: Path, shared: Origin) -> Iterator[TrainingExample | Rejection]:
    for record_id, turn in _turns(path):
        if not isinstance(turn, dict):
            yield Rejection(
                source=shared.source,
                record_id=record_id,
                reason=Reason.BAD_RECORD,
                detail=f"a turn is a dict, not {type(turn).__name__}",
            )
            continue
        session = record_id.partition("/")[0]

        def images(turn: Mapping[str, Any] = turn, session: str = session) -> tuple[ImageRef | None, ...]:
            return tuple(_picture(turn.get(key), session, pictures, shared) for key in ("input", "mask", "output"))

        yield _judged(turn.get("instruction"), images, shared, record_id)


def _turns(path: Path) -> Iterator[tuple[str, Any]]:
    """The turns of a json file with their ids: session and number of the turn, from 1."""
    content = load_whole(path)
    if isinstance(content, dict):
        for session, turns in content.items():
            for number, turn in enumerate(turns if isinstance(turns, list) else [turns], start=1):
                yield f"{session}/{number}", turn
    elif isinstance(content, list):
        numbers: dict[str, int] = {}
        for turn in content:
            session = str(turn.get("input", "")).partition("-")[0] if isinstance(turn, dict) else "?"
            numbers[session] = numbers.get(session, 0) + 1
            yield f"{session}/{numbers[session]}", turn
    else:
        raise SourceError(f"{path}: sessions or turns were expected, got {type(content).__name__}")


def _flat_rows(path: Path, pictures: Path, shared: Origin) -> Iterator[TrainingExample | Rejection]:
    content = load_whole(path)
    if not isinstance(content, list):
        raise SourceError(f"{path}: a list of edits was expected, got {type(content).__name__}")
    for number, record in enumerate(content):
        fields: dict[str, Any] = record if isinstance(record, dict) else {}

        def images(fields: Mapping[str, Any] = fields) -> tuple[ImageRef | None, ...]:
            source, target = (_picture(fields.get(key), "", pictures, shared) for key in ("input", "edited"))
            return source, None, target

        yield _judged(fields.get("instruction"), images, shared, f"{number:06d}")


def _picture(name: Any, session: str, pictures: Path, shared: Origin) -> ImageRef | None:
    if not isinstance(name, str):
        return None
    for folder in (inside(pictures, session) if session else pictures, pictures):
        path = inside(folder, name)
        if os.path.isfile(path):
            return ImageRef(path=shared.relative(path))
    return None


def _judged(text: Any, images: Any, shared: Origin, record_id: str) -> TrainingExample | Rejection:
    """A turn as a row, or why it is none; a missing mask is no fault, it is not needed for training."""
    try:
        if not isinstance(text, str) or not text.strip():
            raise FaultyRecordError(Reason.EMPTY_TEXT, f"the instruction is {text!r}")
        image, mask, target = images()
        if image is None or target is None:
            missing = " and ".join(n for n, p in (("source", image), ("target", target)) if p is None)
            raise FaultyRecordError(Reason.MISSING_IMAGE, f"no {missing} picture")
    except FaultyRecordError as error:
        return Rejection(source=shared.source, record_id=record_id, reason=error.reason, detail=str(error))
    return TrainingExample(
        example_id=f"{shared.source}/{shared.split}/{record_id}",
        source=shared.source,
        task=Task.EDIT,
        image=image,
        target=target,
        mask_image=mask,
        instructions=(text.strip(),),
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def read(
    root: Path,
    split: str = "train",
    *,
    layout: Layout = "auto",
    image_root: Path | None = None,
    shared: Origin | None = None,
) -> Iterator[TrainingExample | Rejection]:
    """Read MagicBrush.

    Args:
        root: The data set's folder, or one above it.
        split: `train`, `dev` or `test`.
        layout: Which form to read where several lie in one folder; `auto` takes the hub's shards, then
            edit_sessions.json or edit_turns.json, then magic_train.json.
        image_root: Where the pictures of the json forms lie; None for `images` beside the json file.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a turn, or a rejection.

    Raises:
        SourceError: Nothing readable is there.
    """
    found = locate(root, split, layout=layout, image_root=image_root, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
