"""Votes on disk: one database per study, which only ever grows, so that no answer is lost."""

import contextlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from reason_edit.rating.database import ITEMS, METADATA, RATERS, STUDY, VOTES, open_engine
from reason_edit.rating.sheets import Panel
from reason_edit.rating.study import Answer, ItemKey, RatingError
from reason_edit.schema import Category


@dataclass(frozen=True, kw_only=True, slots=True)
class Rater:
    """Somebody who was invited.

    Attributes:
        number: From 0, in the order of invitation.
        name: What the organiser calls them.
        token: The secret part of their link.
    """

    number: int
    name: str
    token: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """An answer as it was given; the latest one of a rater on an item counts.

    Attributes:
        item: The item's number.
        answer: The answer.
        seconds: How long the rater looked.
        nonce: Names this very answer, so that sending it twice stores it once.
        answered_at: When, in UTC (ISO 8601).
    """

    item: int
    answer: Answer
    seconds: float
    nonce: str
    answered_at: str


class AnsweredElsewhere(RatingError):
    """The item has another answer than the page believed, given in another tab or on another device.

    Attributes:
        current: The answer that stands.
    """

    def __init__(self, current: Answer | None) -> None:
        super().__init__(f"another tab or device has answered this: {current.value if current else 'no answer'}")
        self.current = current


def now() -> str:
    """The present moment in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def check_name(name: str) -> None:
    """A rater's name can be stored and shown.

    Raises:
        RatingError: It is empty, too long, or holds what cannot be printed.
    """
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise RatingError(f"a rater's name has 1 to 200 printable characters, not {name!r}")


@dataclass(frozen=True, slots=True)
class Store:
    """A study's database.

    Attributes:
        engine: The connection pool.
    """

    engine: Engine

    @classmethod
    def open(cls, location: str) -> "Store":
        """Open the database of a study that exists.

        Raises:
            RatingError: There is none.
        """
        if "://" not in location and not Path(location).is_file():
            raise RatingError(f"{location}: no study here; `smartedit-bench rate serve RUN` begins one")
        store = cls(open_engine(location))
        if not store.exists():
            raise RatingError(f"{location}: this database holds no study")
        return store

    @classmethod
    def create(cls, location: str, items: Sequence[ItemKey], panel: Panel) -> "Store":
        """Begin a study, whole or not at all.

        Args:
            location: Path of an SQLite file (readable by its owner only), or a database URL.
            items: What is to be rated.
            panel: How it is shared out.

        Returns:
            The open store.

        Raises:
            RatingError: There is a study already.
        """
        if "://" not in location:
            Path(location).parent.mkdir(parents=True, exist_ok=True)
            Path(location).touch(mode=0o600)
        store = cls(open_engine(location))
        if store.exists():
            raise RatingError(f"{location}: there is a study already")
        settings = {
            "study": secrets.token_hex(8),
            "secret": secrets.token_hex(32),
            "created": now(),
            "seed": panel.seed,
            "raters_per_item": panel.raters_per_item,
            "size": panel.size,
        }
        with store.writing() as connection:
            METADATA.create_all(connection)
            connection.execute(insert(ITEMS), [asdict(k) for k in items])
            connection.execute(insert(STUDY), [{"name": "settings", "content": json.dumps(settings)}])
        return store

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes, committed at the end of the block."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def exists(self) -> bool:
        """Whether the database holds a study.

        Raises:
            RatingError: It cannot be reached, or the file is no database.
        """
        try:
            with self.engine.connect() as connection:
                return self.engine.dialect.has_table(connection, "study")
        except DBAPIError as error:
            raise RatingError(f"{self.engine.url!r}: the database cannot be opened ({error.orig})") from error

    def settings(self) -> dict[str, Any]:
        """What the study was begun with: `study`, `secret`, `created`, `seed`, `raters_per_item`, `size`."""
        with self.engine.connect() as connection:
            content: dict[str, Any] = json.loads(connection.execute(select(STUDY.c.content)).scalar_one())
        return content

    def panel(self) -> Panel:
        """How the items are shared out."""
        settings = self.settings()
        return Panel(seed=settings["seed"], raters_per_item=settings["raters_per_item"], size=settings["size"])

    def items(self) -> list[ItemKey]:
        """The items, by number."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(ITEMS).order_by(ITEMS.c.number)).mappings().all()
        return [
            ItemKey(
                **{
                    **row,
                    "category": Category(row["category"]),
                    "expected": Answer(row["expected"]) if row["expected"] else None,
                }
            )
            for row in rows
        ]

    def raters(self) -> list[Rater]:
        """The raters, by number."""
        with self.engine.connect() as connection:
            return [Rater(**row) for row in connection.execute(select(RATERS).order_by(RATERS.c.number)).mappings()]

    def rater_of(self, token: str) -> Rater | None:
        """Whose secret link this is; None for a guess."""
        with self.engine.connect() as connection:
            row = connection.execute(select(RATERS).where(RATERS.c.token == token)).mappings().first()
        return Rater(**row) if row else None

    def invite(self, name: str) -> Rater:
        """Add a rater with a link of 192 random bits, or return the one of this name.

        Args:
            name: What the organiser calls the rater; 1 to 200 characters.

        Returns:
            The rater.

        Raises:
            RatingError: The name is empty or too long, or the panel is full.
        """
        name = name.strip()
        check_name(name)
        panel = self.panel()
        with self.writing() as connection:
            # Locks the study's row where the database has row locks, so that two servers number raters in turn.
            connection.execute(select(STUDY.c.name).with_for_update())
            row = connection.execute(select(RATERS).where(RATERS.c.name == name)).mappings().first()
            if row:
                return Rater(**row)
            number = connection.execute(select(func.count()).select_from(RATERS)).scalar_one()
            if panel.raters_per_item is not None and panel.size is not None and number >= panel.size:
                raise RatingError(f"the panel of {panel.size} raters is full; {name!r} has nothing to judge")
            rater = Rater(number=number, name=name, token=secrets.token_urlsafe(24))
            connection.execute(insert(RATERS), asdict(rater))
        return rater

    def vote(self, rater: int, vote: Vote, *, believed: Answer | None) -> bool:
        """Store one answer; when this returns, it is on disk.

        Args:
            rater: The rater's number.
            vote: The answer.
            believed: The answer that stood when the page was shown.

        Returns:
            False where this very answer (by nonce) was stored before.

        Raises:
            AnsweredElsewhere: Another answer stands than believed.
        """
        try:
            with self.writing() as connection:
                # Locks the rater's row where the database has row locks, so that two tabs take turns.
                connection.execute(select(RATERS.c.number).where(RATERS.c.number == rater).with_for_update())
                known = select(VOTES.c.number).where(VOTES.c.rater == rater, VOTES.c.nonce == vote.nonce)
                if connection.execute(known).first():
                    return False
                latest = (
                    select(VOTES.c.answer)
                    .where(VOTES.c.rater == rater, VOTES.c.item == vote.item)
                    .order_by(VOTES.c.number.desc())
                    .limit(1)
                )
                row = connection.execute(latest).first()
                current = Answer(row[0]) if row else None
                if current != believed and current != vote.answer:
                    raise AnsweredElsewhere(current)
                connection.execute(insert(VOTES), {"rater": rater, **asdict(vote)})
        except IntegrityError:
            return False
        except OperationalError as error:
            raise RatingError(f"the vote could not be stored ({error.orig})") from error
        return True

    def take_in(self, rater: int, votes: Sequence[Vote]) -> tuple[int, int]:
        """Store the answers of a sheet in one transaction: all or none.

        An answer that was taken in before is left as it is, and so is one that is older than what stands.

        Args:
            rater: The rater's number.
            votes: The answers, one an item.

        Returns:
            How many were new, and how many were older than the answer that stands.
        """
        new = older = 0
        with self.writing() as connection:
            rows = connection.execute(select(VOTES).where(VOTES.c.rater == rater).order_by(VOTES.c.number)).mappings()
            stored = rows.all()
            nonces = {row["nonce"] for row in stored}
            latest = {row["item"]: row["answered_at"] for row in stored}
            for vote in votes:
                if vote.nonce in nonces:
                    continue
                if vote.answered_at < latest.get(vote.item, ""):
                    older += 1
                    continue
                connection.execute(insert(VOTES), {"rater": rater, **asdict(vote)})
                new += 1
        return new, older

    def current(self, rater: int) -> dict[int, Vote]:
        """A rater's standing answers by item number."""
        statement = select(VOTES).where(VOTES.c.rater == rater).order_by(VOTES.c.number)
        with self.engine.connect() as connection:
            return {row["item"]: _vote(row) for row in connection.execute(statement).mappings()}

    def history(self) -> list[tuple[int, Vote]]:
        """All answers ever given, with the rater's number, in the order in which they were stored."""
        with self.engine.connect() as connection:
            rows = connection.execute(select(VOTES).order_by(VOTES.c.number)).mappings().all()
        return [(row["rater"], _vote(row)) for row in rows]


def _vote(row: Any) -> Vote:
    return Vote(
        item=row["item"],
        answer=Answer(row["answer"]),
        seconds=row["seconds"],
        nonce=row["nonce"],
        answered_at=row["answered_at"],
    )
