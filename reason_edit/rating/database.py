"""The tables of a study's database, and connections on which a commit means that the vote is on disk."""

from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.exc import ArgumentError

from reason_edit.rating.study import RatingError

METADATA = MetaData()
STUDY = Table("study", METADATA, Column("name", String(64), primary_key=True), Column("content", Text, nullable=False))
ITEMS = Table(
    "items",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("method", Text, nullable=False),
    Column("sample_id", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("instruction", Text, nullable=False),
    Column("expected", Text),
    Column("source_sha256", String(64), nullable=False),
    Column("edited_sha256", String(64), nullable=False),
)
RATERS = Table(
    "raters",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False, unique=True),
    Column("token", String(64), nullable=False, unique=True),
)
VOTES = Table(
    "votes",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("rater", Integer, nullable=False),
    Column("item", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("nonce", String(64), nullable=False),
    Column("answered_at", Text, nullable=False),
    UniqueConstraint("rater", "nonce"),
    Index("votes_by_item", "rater", "item", "number"),
)


def open_engine(location: str) -> Engine:
    """Connect to a study's database.

    SQLite runs in WAL mode with synchronous = FULL: when a commit returns, the vote is on disk.

    Args:
        location: Path of an SQLite file, or a SQLAlchemy URL, for example `postgresql+psycopg://host/study`.

    Returns:
        The engine.

    Raises:
        RatingError: The driver is not installed, or the URL cannot be read.
    """
    url = location if "://" in location else f"sqlite:///{Path(location).absolute()}"
    try:
        engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    except ImportError as error:
        raise RatingError(f"the database needs {error.name}; `pip install smartedit[postgresql]` has it") from error
    except ArgumentError as error:
        raise RatingError(f"not a database path or URL: {location!r} ({error})") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("busy_timeout = 30000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once where a transaction will write: read first, write later cannot deadlock."""
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")
