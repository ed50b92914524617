"""What can be wrong with a data set: named problems, collected, so that a person sees all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class ProblemKind(StrEnum):
    """The kinds of problem that `smartedit-bench check` reports."""

    MISSING_FOLDER = "missing folder"
    UNKNOWN_FOLDER = "unknown folder"
    TEXT_FILE = "text file"
    LINE_COUNT = "line count"
    LINE_WITHOUT_LABEL = "line without CLIP:"
    EMPTY_INSTRUCTION = "empty instruction"
    NO_IMAGES = "no images"
    MISSING_IMAGE = "missing image"
    MISSING_MASK = "missing mask"
    EXTRA_FILE = "extra file"
    DUPLICATE = "duplicate"
    BROKEN_IMAGE = "broken image"
    WRONG_FORMAT = "wrong format"
    UNUSUAL_MODE = "unusual mode"
    EXTREME_SIZE = "extreme size"
    SIZE_DIFFERS = "size differs"
    EMPTY_MASK = "empty mask"
    FULL_MASK = "full mask"
    INVERTED_MASK = "inverted mask"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        kind: What sort of problem.
        where: The file or folder, relative to the data set.
        message: What is wrong, with the offending value.
        remedy: What to do about it.
        structural: Whether pictures, masks and lines cannot be paired because of it, so that nothing can be loaded.
    """

    kind: ProblemKind
    where: str
    message: str
    remedy: str
    structural: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}: {self.message}; {self.remedy}"


class DatasetError(ValueError):
    """A data set cannot be loaded; `problems` says why."""

    def __init__(self, where: object, problems: Sequence[Problem]) -> None:
        """Keep the problems, and make a message of all of them."""
        self.problems = list(problems)
        super().__init__("\n".join([f"{where}: cannot be loaded as Reason-Edit", *(f"  {p}" for p in problems)]))
