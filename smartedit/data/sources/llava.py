"""LLaVA-Instruct: conversations about COCO pictures."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartedit.data.annotation_files import iter_json_array
from smartedit.data.examples import ImageRef, Reason, Rejection, Speaker, Task, TrainingExample, Turn
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import (
    Found,
    Origin,
    SourceError,
    find_pictures,
    probe,
)
from smartedit.data.sources.listing import Listing
from smartedit.data.sources.origins import origin

logger = logging.getLogger(__name__)

IMAGE_TOKEN = "<image>"
TRAIN2017 = ("train2017", "images/train2017", "coco/train2017", "coco/images/train2017", "coco-stuff/images/train2017")
SPEAKERS = {"human": Speaker.HUMAN, "user": Speaker.HUMAN, "gpt": Speaker.ASSISTANT, "assistant": Speaker.ASSISTANT}


def conversation(turns: Any, with_image: bool) -> tuple[Turn, ...]:
    """The turns of a record, the picture's token moved to the front of the first question.

    A first turn that is not the human's is dropped, as LLaVA's own loader does.

    Raises:
        FaultyRecordError: The turns do not alternate, a speaker is unknown, a text is empty, the last turn is not an
            answer, or the picture's token stands elsewhere than once in the first question.
    """
    if not isinstance(turns, list) or not turns:
        raise FaultyRecordError(Reason.MISSING_FIELD, "the record has no conversations")
    try:
        spoken = [(SPEAKERS[turn["from"]], str(turn["value"])) for turn in turns]
    except (KeyError, TypeError) as error:
        raise FaultyRecordError(
            Reason.BAD_CONVERSATION, f"a turn without a known speaker and text ({error})"
        ) from error
    if spoken[0][0] is not Speaker.HUMAN:
        spoken = spoken[1:]
    if not spoken or len(spoken) % 2:
        raise FaultyRecordError(Reason.BAD_CONVERSATION, f"{len(spoken)} turns; questions and answers come in pairs")
    for position, (speaker, text) in enumerate(spoken):
        if speaker is not (Speaker.ASSISTANT if position % 2 else Speaker.HUMAN):
            raise FaultyRecordError(Reason.BAD_CONVERSATION, f"turn {position} is the {speaker}'s, out of turn")
        if not text.replace(IMAGE_TOKEN, "").strip():
            raise FaultyRecordError(Reason.EMPTY_TEXT, f"turn {position} is empty")
    question = spoken[0][1]
    tokens = [text.count(IMAGE_TOKEN) for _, text in spoken]
    if sum(tokens[1:]) or tokens[0] > 1 or (tokens[0] and not with_image):
        raise FaultyRecordError(
            Reason.BAD_CONVERSATION, f"{IMAGE_TOKEN} stands {tokens} times in the turns; once in the first is expected"
        )
    if with_image:
        question = f"{IMAGE_TOKEN}\n{question.replace(IMAGE_TOKEN, '').strip()}"
    texts = [question, *(text for _, text in spoken[1:])]
    return tuple(Turn(speaker=s, text=text) for (s, _), text in zip(spoken, texts, strict=True))


def annotation_file(root: Path, name: str) -> Path:
    """The json file: `root` itself, or the file `name` in it or in a usual folder below."""
    if root.is_file():
        return root
    folders = [".", "LLaVA", "llava_dataset", "LLaVA-Instruct-150K"]
    return probe(root, folders, lambda folder: (folder / name).is_file(), name) / name


def locate(
    root: Path,
    split: str,
    *,
    image_root: Path | None = None,
    file: str = "llava_instruct_150k.json",
    shared: Origin | None = None,
) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    if split != "train":
        raise SourceError(f"LLaVA-Instruct has no split {split!r}, only train")
    path = annotation_file(root, file)
    shared = shared or origin("llava", "llava", split, root if root.is_dir() else root.parent)
    pictures = find_pictures(image_root, path.parent, TRAIN2017)

    def rows() -> Iterator[TrainingExample | Rejection]:
        listing = Listing(pictures)
        prefix = shared.relative(pictures)
        seen: dict[str, int] = {}
        for position, record in enumerate(iter_json_array(path)):
            key = str(record.get("id", position)) if isinstance(record, dict) else str(position)
            nth = seen[key] = seen.get(key, -1) + 1
            try:
                yield _example(record, listing, prefix, shared, f"{key}/{nth}")
            except FaultyRecordError as error:
                yield Rejection(source=shared.source, record_id=key, reason=error.reason, detail=str(error))

    return Found(
        layout=f"LLaVA-Instruct: {path.name} in {path.parent}, pictures in {pictures}",
        inputs=(path,),
        folders=(pictures,),
        rows=rows,
    )


def _example(record: Any, listing: Listing, prefix: str, shared: Origin, key: str) -> TrainingExample:
    if not isinstance(record, dict):
        raise FaultyRecordError(Reason.BAD_RECORD, f"a record is a dict, not {type(record).__name__}")
    name = record.get("image")
    if name is not None and not isinstance(name, str):
        raise FaultyRecordError(Reason.BAD_RECORD, f"image is {name!r}, not a file name")
    turns = conversation(record.get("conversations"), name is not None)
    return TrainingExample(
        example_id=f"{shared.source}/{key}",
        source=shared.source,
        task=Task.ANSWER,
        image=None if name is None else ImageRef(path=f"{prefix}/{listing.resolve(name)}"),
        conversation=turns,
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def read(
    root: Path,
    split: str = "train",
    *,
    image_root: Path | None = None,
    file: str = "llava_instruct_150k.json",
    shared: Origin | None = None,
) -> Iterator[TrainingExample | Rejection]:
    """Read LLaVA-Instruct.

    Args:
        root: The json file, its folder, or one above it.
        split: `train`.
        image_root: Folder of COCO train2017; None to look around the json file.
        file: Name of the json file.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a record (also the ones without a picture), or a rejection.

    Raises:
        SourceError: Nothing readable is there.
    """
    found = locate(root, split, image_root=image_root, file=file, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
