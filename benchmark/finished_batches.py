"""Finished batches of scores on disk, so that a killed run resumes and unchanged work is not done again."""

import logging
from dataclasses import dataclass
from pathlib import Path

from benchmark.protocols import METRICS
from reason_edit.tables import TableError, read_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """A row of a finished batch: a score, and why it is NaN or infinite."""

    method: str
    sample_id: str
    protocol: str
    metric: str
    value: float
    reason: str | None


def read_finished(path: Path, count: int) -> list[Measured] | None:
    """The rows of a finished batch; None where there is none that can be used."""
    if not path.is_file():
        return None
    try:
        rows = read_rows(path, Measured)
    except TableError as error:
        logger.warning("%s; it is scored again", error)
        return None
    return rows if len(rows) == count * len(METRICS) else None
