"""What a rating study is made of: the items that people judge, their answers, and the identity of a study."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from reason_edit.files import file_sha256
from reason_edit.schema import Category

LONGEST_SECONDS = 86_400
"""An item that was left open for longer counts as so long."""


class RatingError(ValueError):
    """A study, a vote or a file of answers cannot be used."""


class Answer(StrEnum):
    """What a rater says about one edit."""

    ALIGNED = "aligned"
    NOT_ALIGNED = "not"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rating:
    """One rater's final answer on one edit.

    Attributes:
        method: The method that made the edit.
        sample_id: The sample.
        rater: The name that the organiser gave.
        answer: Whether the edit follows the instruction.
        seconds: How long the rater looked, as the page measured it; time in a hidden tab does not count.
        edited_sha256: Hash of the picture that the rater saw as the edit.
    """

    method: str
    sample_id: str
    rater: str
    answer: Answer
    seconds: float
    edited_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyItem:
    """One thing to judge: a source picture, an instruction, and one edit of it.

    Attributes:
        method: Who made the edit; a rater never learns it.
        sample_id: The sample.
        category: The sample's category.
        instruction: What the editor was asked for.
        source: Path of the source picture.
        edited: Path of the edited picture.
        expected: For a planted attention item the answer that an attentive rater gives; None for an edit to be rated.
    """

    method: str
    sample_id: str
    category: Category
    instruction: str
    source: Path
    edited: Path
    expected: Answer | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemKey:
    """What identifies an item wherever its files lie: the row of a study that pictures are checked against."""

    number: int
    method: str
    sample_id: str
    category: Category
    instruction: str
    expected: Answer | None
    source_sha256: str
    edited_sha256: str


def hashed_shuffle(values: Iterable[int], *keys: str | int) -> list[int]:
    """Put integers in an order that follows from the keys alone, on every version of Python.

    Args:
        values: What to shuffle.
        keys: What the order belongs to, for example a study's seed and a rater's number.

    Returns:
        The same integers, ordered by a hash of keys and value.
    """
    prefix = "\x1f".join(str(k) for k in keys)
    return sorted(values, key=lambda v: hashlib.sha256(f"{prefix}\x1f{v}".encode()).digest())


def item_keys(items: Sequence[StudyItem]) -> list[ItemKey]:
    """Number the items and hash their pictures.

    The numbers follow from sample, method and kind, not from the order of the list.

    Args:
        items: At least one item.

    Returns:
        One key an item, ordered by number.

    Raises:
        RatingError: There is no item, two items are the same, one sample has two sources or instructions, or a picture
            is missing.
    """
    if not items:
        raise RatingError("there is nothing to rate: no method has an edited picture")
    hashes: dict[Path, str] = {}
    for path in {p for item in items for p in (item.source, item.edited)}:
        if not path.is_file():
            raise RatingError(f"{path}: this picture of the study is missing")
        hashes[path] = file_sha256(path)
    ordered = sorted(items, key=_order)
    keys: list[ItemKey] = []
    shown: dict[str, tuple[str, str]] = {}
    for number, item in enumerate(ordered):
        if number and _order(item) == _order(ordered[number - 1]):
            raise RatingError(f"{item.method}: two edits of sample {item.sample_id}; give the methods distinct labels")
        content = (hashes[item.source], item.instruction)
        if shown.setdefault(item.sample_id, content) != content:
            raise RatingError(f"sample {item.sample_id}: the runs disagree on its source picture or its instruction")
        keys.append(
            ItemKey(
                number=number,
                method=item.method,
                sample_id=item.sample_id,
                category=item.category,
                instruction=item.instruction,
                expected=item.expected,
                source_sha256=hashes[item.source],
                edited_sha256=hashes[item.edited],
            )
        )
    return keys


def item_order(items: Iterable[StudyItem]) -> list[StudyItem]:
    """The items by number, as `item_keys` counts them."""
    return sorted(items, key=_order)


def _order(item: StudyItem) -> tuple[str, str, str]:
    return item.sample_id, item.method, item.expected.value if item.expected else ""


def describe_changes(known: Sequence[ItemKey], found: Sequence[ItemKey], limit: int = 5) -> str | None:
    """Say how the pictures at hand differ from those that a study was begun with.

    Args:
        known: The study's items.
        found: The items of the run folders as they are now.
        limit: How many differences to name.

    Returns:
        One sentence; None where nothing differs.
    """
    before = {(k.sample_id, k.method, k.expected): k for k in known}
    now = {(k.sample_id, k.method, k.expected): k for k in found}
    changes = []
    for key in sorted(before.keys() | now.keys(), key=lambda k: (k[0], k[1], str(k[2]))):
        name = f"{key[1]} on {key[0]}"
        if key not in now:
            changes.append(f"{name} is gone")
        elif key not in before:
            changes.append(f"{name} is new")
        elif before[key].edited_sha256 != now[key].edited_sha256:
            changes.append(f"{name} has another edited picture")
        elif before[key].source_sha256 != now[key].source_sha256:
            changes.append(f"{name} has another source picture")
        elif before[key].instruction != now[key].instruction:
            changes.append(f"{name} has another instruction")
    if not changes:
        return None
    more = f", and {len(changes) - limit} more" if len(changes) > limit else ""
    return f"{'; '.join(changes[:limit])}{more}"
