"""What has come back: the standing answers as tables, and how far every rater is."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from reason_edit.rating.sheets import make_sheet
from reason_edit.rating.store import Store
from reason_edit.rating.study import Answer, Rating


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionAnswer:
    """A rater's answer on a planted item whose right answer is known.

    Attributes:
        kind: What was planted, for example `attention copy`.
        sample_id: On which sample.
        rater: Who answered.
        answer: What they said.
        expected: What an attentive rater says.
    """

    kind: str
    sample_id: str
    rater: str
    answer: Answer
    expected: Answer

    @property
    def passed(self) -> bool:
        """Whether the answer is the expected one."""
        return self.answer is self.expected


@dataclass(frozen=True, kw_only=True, slots=True)
class RaterStatus:
    """How far a rater is.

    Attributes:
        rater: The name.
        answered: Items with a standing answer, attention items included.
        total: Items on the sheet.
        changed: Answers given beyond the first on an item.
        median_seconds: Of the standing answers; None before the first.
        attention_passed: Attention items answered as expected.
        attention_answered: Attention items answered.
        last: When the last answer came; None before the first.
    """

    rater: str
    answered: int
    total: int
    changed: int
    median_seconds: float | None
    attention_passed: int
    attention_answered: int
    last: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Returns:
    """The standing answers of a study, and its raters.

    Attributes:
        ratings: Answers on edits, ordered by method, sample and rater.
        attention: Answers on planted items.
        raters: One status a rater, in the order of invitation.
    """

    ratings: tuple[Rating, ...]
    attention: tuple[AttentionAnswer, ...]
    raters: tuple[RaterStatus, ...]


def read_returns(store: Store) -> Returns:
    """Read what a study has brought so far; the later of two answers of a rater on an item counts."""
    items = {k.number: k for k in store.items()}
    history = store.history()
    standing = {(rater, vote.item): vote for rater, vote in history}
    secret, panel = store.settings()["secret"], store.panel()
    ratings: list[Rating] = []
    attention: list[AttentionAnswer] = []
    statuses = []
    for rater in store.raters():
        votes = {item: vote for (r, item), vote in standing.items() if r == rater.number}
        planted = []
        for number, vote in votes.items():
            key = items[number]
            if key.expected is None:
                ratings.append(
                    Rating(
                        method=key.method,
                        sample_id=key.sample_id,
                        rater=rater.name,
                        answer=vote.answer,
                        seconds=vote.seconds,
                        edited_sha256=key.edited_sha256,
                    )
                )
            else:
                planted.append(
                    AttentionAnswer(
                        kind=key.method,
                        sample_id=key.sample_id,
                        rater=rater.name,
                        answer=vote.answer,
                        expected=key.expected,
                    )
                )
        attention += planted
        given = [vote for r, vote in history if r == rater.number]
        statuses.append(
            RaterStatus(
                rater=rater.name,
                answered=len(votes),
                total=len(make_sheet(list(items.values()), panel, secret, rater.number).numbers),
                changed=len(given) - len(votes),
                median_seconds=median(v.seconds for v in votes.values()) if votes else None,
                attention_passed=sum(a.passed for a in planted),
                attention_answered=len(planted),
                last=max((v.answered_at for v in given), default=None),
            )
        )
    ratings.sort(key=lambda r: (r.method, r.sample_id, r.rater))
    attention.sort(key=lambda a: (a.kind, a.sample_id, a.rater))
    return Returns(ratings=tuple(ratings), attention=tuple(attention), raters=tuple(statuses))


def by_method(ratings: Sequence[Rating]) -> dict[str, list[Rating]]:
    """The ratings of each method, in their order."""
    groups: dict[str, list[Rating]] = {}
    for rating in ratings:
        groups.setdefault(rating.method, []).append(rating)
    return groups
