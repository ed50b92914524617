"""What a judge is asked and what it answers: an answer, or why there is none; never a guess."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reason_edit.rating.study import Answer
from reason_edit.schema import EditSample


class JudgeError(ValueError):
    """A judge cannot be built, or cannot go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One edit to judge.

    Attributes:
        method: Who made it; a judge must not look.
        sample: The sample, with what only evaluators may see.
        edited: Path of the edited picture.
        edited_sha256: Its hash.
    """

    method: str
    sample: EditSample
    edited: Path
    edited_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Opinion:
    """What a judge made of one case.

    Attributes:
        answer: Aligned or not; None where there is no answer to trust.
        reason: Why there is no answer; None where there is one.
        reply: What the judge said or measured, unchanged.
    """

    answer: Answer | None
    reason: str | None
    reply: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """A row of RUN/judges/NAME.parquet.

    Attributes:
        method: The method.
        sample_id: The sample.
        answer: Aligned or not; None where the judge gave no usable answer.
        reason: Why there is none.
        reply: The raw reply.
        edited_sha256: Hash of the picture that was judged; None where there was none.
    """

    method: str
    sample_id: str
    answer: Answer | None
    reason: str | None
    reply: str | None
    edited_sha256: str | None


class Judge(Protocol):
    """Anything that says whether an edit follows its instruction."""

    @property
    def protocol(self) -> str:
        """Name and version of the procedure, kept with every score."""
        ...

    @property
    def model(self) -> str:
        """What judges, pinned: a model id, or a name with the hash of its weights."""
        ...

    def judge(self, cases: Sequence[Case]) -> Iterator[Opinion]:
        """Judge cases.

        Args:
            cases: What to judge.

        Yields:
            One opinion for each case, in order.

        Raises:
            JudgeError: The judge cannot go on at all; what it said before is kept.
        """
        ...
