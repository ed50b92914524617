"""The study as one HTML file for a rater without a server, and the JSON of answers that it saves."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from markupsafe import Markup
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from reason_edit.files import missing_file, write_text
from reason_edit.rating.pictures import Pictures
from reason_edit.rating.server import PACKAGE, TEMPLATES
from reason_edit.rating.sheets import Sheet, make_sheet
from reason_edit.rating.store import Rater, Store, Vote
from reason_edit.rating.study import LONGEST_SECONDS, Answer, RatingError

FORMAT = "smartedit-ratings-1"
FILE_LIMIT = 32 * 2**20
"""Bytes of an answer file; 2,190 answers have about 400,000."""

SCRIPTS = ("view.js", "zoom.js", "sheet.js")


class SheetAnswer(BaseModel):
    """One answer in a saved file."""

    model_config = ConfigDict(extra="forbid")

    item: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    answer: Answer
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    answered_at: AwareDatetime


class AnswerFile(BaseModel):
    """The JSON that a sheet saves."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["smartedit-ratings-1"]
    study: Annotated[str, Field(max_length=64)]
    sheet: Annotated[str, Field(max_length=64)]
    answers: list[SheetAnswer]


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What came of a file of answers.

    Attributes:
        rater: Whose it was.
        new: Answers that were stored.
        known: Answers that had been stored before.
        older: Answers left out because a later one stands.
    """

    rater: str
    new: int
    known: int
    older: int


def write_sheets(
    folder: Path, store: Store, pictures: Pictures, rater: Rater, *, items_per_file: int = 300
) -> list[Path]:
    """Write a rater's items as self-contained HTML pages.

    Pictures are embedded without loss, so a page of 300 edits at 512 x 512 pixels can have 200 MB.

    Args:
        folder: Where to; a file is named by the study and its part, never by rater or method.
        store: The study.
        pictures: Its pictures.
        rater: Whose order to take.
        items_per_file: How many items a page holds at most.

    Returns:
        The files.

    Raises:
        RatingError: `items_per_file` is no positive number, or a picture has changed since the study began.
    """
    if items_per_file < 1:
        raise RatingError(f"a sheet holds at least one item, not {items_per_file}")
    settings = store.settings()
    sheet = make_sheet(store.items(), store.panel(), settings["secret"], rater.number)
    count = len(sheet.numbers)
    parts = max(1, -(-count // items_per_file))
    paths = []
    for part in range(parts):
        chosen = range(part * count // parts, (part + 1) * count // parts)
        path = folder / f"rating-{settings['study']}-{rater.number + 1}.{part + 1}-of-{parts}.html"
        study = {
            "format": FORMAT,
            "study": settings["study"],
            "sheet": rater.token,
            "part": f"{part + 1}-of-{parts}",
            **_contents(sheet, chosen, store, pictures),
        }
        scripts, css = [_own_file(name) for name in SCRIPTS], _own_file("rate.css")
        write_text(path, TEMPLATES.get_template("sheet.html").render(study=study, css=css, scripts=scripts))
        paths.append(path)
    return paths


def _own_file(name: str) -> Markup:
    """A script or style of ours, which stands in the page as it is."""
    return Markup((PACKAGE / "static" / name).read_text(encoding="utf-8"))


def _contents(sheet: Sheet, chosen: Sequence[int], store: Store, pictures: Pictures) -> dict[str, object]:
    """The items of one page; a source that several edits share is embedded once."""
    keys = store.items()
    sources: list[str] = []
    place_of: dict[str, int] = {}
    items = []
    for i in chosen:
        key = keys[sheet.numbers[i]]
        if key.sample_id not in place_of:
            place_of[key.sample_id] = len(sources)
            sources.append(_data_uri(pictures.png(key.number, "source")))
        items.append(
            {
                "item": sheet.tokens[i],
                "instruction": key.instruction,
                "source": place_of[key.sample_id],
                "edited": _data_uri(pictures.png(key.number, "edited")),
            }
        )
    return {"sources": sources, "items": items}


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def import_answers(path: Path, store: Store) -> Imported:
    """Check a file of answers and take it in: all of it or nothing.

    Taking the same file in again changes nothing; of two files of one rater the later answer stands.

    Args:
        path: The JSON file.
        store: The study.

    Returns:
        What came of it.

    Raises:
        RatingError: The file is no such JSON, is of another study or sheet, or names an item twice or one that is not
            on the sheet.
    """
    answers = _read_answers(path)
    settings = store.settings()
    if answers.study != settings["study"]:
        raise RatingError(f"{path}: answers of study {answers.study!r}; this study is {settings['study']!r}")
    rater = store.rater_of(answers.sheet)
    if rater is None:
        raise RatingError(f"{path}: no rater of this study has this sheet")
    sheet = make_sheet(store.items(), store.panel(), settings["secret"], rater.number)
    votes: dict[int, Vote] = {}
    for place, given in enumerate(answers.answers):
        if given.item not in sheet.place:
            raise RatingError(f"{path}: answers[{place}].item {given.item} is not on the sheet of {rater.name!r}")
        number = sheet.numbers[sheet.place[given.item]]
        if number in votes:
            raise RatingError(f"{path}: answers[{place}].item {given.item} is answered twice")
        moment = given.answered_at.astimezone(UTC)
        if moment > datetime.now(UTC) + timedelta(days=1):
            raise RatingError(f"{path}: answers[{place}].answered_at {given.answered_at} lies in the future")
        stamp = moment.isoformat(timespec="milliseconds")
        name = sha256(f"{given.item}/{given.answer.value}/{given.seconds}/{stamp}".encode()).hexdigest()[:32]
        seconds = min(given.seconds, LONGEST_SECONDS)
        votes[number] = Vote(item=number, answer=given.answer, seconds=seconds, nonce=name, answered_at=stamp)
    new, older = store.take_in(rater.number, list(votes.values()))
    return Imported(rater=rater.name, new=new, known=len(votes) - new - older, older=older)


def _read_answers(path: Path) -> AnswerFile:
    if not path.is_file():
        raise RatingError(f"{path}: {missing_file(path)}")
    if path.stat().st_size > FILE_LIMIT:
        raise RatingError(f"{path}: {path.stat().st_size} bytes; a file of answers has at most {FILE_LIMIT}")
    try:
        return AnswerFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise RatingError(f"{path}: {where}: {first['msg']}{more}") from error
