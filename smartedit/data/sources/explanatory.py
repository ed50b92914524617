"""ReasonSeg's explanatory answers: the training questions answered in words, as conversations about the picture."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartedit.data.annotation_files import load_whole
from smartedit.data.examples import ImageRef, Reason, Rejection, Speaker, Task, TrainingExample, Turn
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError, probe
from smartedit.data.sources.listing import Listing
from smartedit.data.sources.llava import IMAGE_TOKEN
from smartedit.data.sources.origins import origin

logger = logging.getLogger(__name__)

SPLIT = "explanatory"
FILE = "train.json"
PLACES = (SPLIT, f"ReasonSeg/{SPLIT}", f"reason_seg/ReasonSeg/{SPLIT}", ".")


def locate(root: Path, *, image_root: Path | None = None, shared: Origin | None = None) -> Found:
    """Find the file on disk; arguments as in `read`."""
    folder = probe(root, PLACES, lambda place: (place / FILE).is_file(), f"ReasonSeg {SPLIT}/{FILE}")
    shared = shared or origin("reasonseg", "reasonseg", SPLIT, root)
    pictures = image_root or folder.parent / "train"
    if not pictures.is_dir():
        raise SourceError(f"{folder}: the pictures of the training split were expected in {pictures}")

    def rows() -> Iterator[TrainingExample | Rejection]:
        content = load_whole(folder / FILE)
        if not isinstance(content, list):
            raise SourceError(f"{folder / FILE}: a list was expected, got {type(content).__name__}")
        listing = Listing(pictures)
        for number, record in enumerate(content):
            record_id = f"{number:04d}"
            try:
                yield _example(record, listing, shared, record_id)
            except FaultyRecordError as error:
                yield Rejection(source=shared.source, record_id=record_id, reason=error.reason, detail=str(error))

    return Found(
        layout=f"ReasonSeg: answers in {folder / FILE}, pictures in {pictures}",
        inputs=(folder / FILE,),
        folders=(pictures,),
        rows=rows,
    )


def _example(record: Any, listing: Listing, shared: Origin, key: str) -> TrainingExample:
    if not isinstance(record, dict):
        raise FaultyRecordError(Reason.BAD_RECORD, f"a record is a dict, not {type(record).__name__}")
    fields = [record.get(name) for name in ("image", "query", "outputs")]
    if not all(isinstance(value, str) for value in fields):
        raise FaultyRecordError(Reason.MISSING_FIELD, "image, query and outputs must all be texts")
    name, question, answer = (str(value).strip() for value in fields)
    if not question or not answer:
        raise FaultyRecordError(Reason.EMPTY_TEXT, "the question or the answer is empty")
    return TrainingExample(
        example_id=f"{shared.source}/{SPLIT}/{key}",
        source=shared.source,
        task=Task.ANSWER,
        image=ImageRef(path=f"{shared.relative(listing.pictures)}/{listing.resolve(name)}"),
        conversation=(
            Turn(speaker=Speaker.HUMAN, text=f"{IMAGE_TOKEN}\n{question}"),
            Turn(speaker=Speaker.ASSISTANT, text=answer),
        ),
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def read(
    root: Path, *, image_root: Path | None = None, shared: Origin | None = None
) -> Iterator[TrainingExample | Rejection]:
    """Read ReasonSeg's answers in words.

    Args:
        root: The folder of `train.json`, or one above it.
        image_root: Folder of the training split's pictures; None for `train` beside the folder.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example an answer, or a rejection.

    Raises:
        SourceError: Nothing readable is there.
    """
    found = locate(root, image_root=image_root, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
