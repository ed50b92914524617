"""What still stands once pictures have changed: an opinion or a score is of one picture, and goes with it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from benchmark.records import EditRecord
from benchmark.report.columns import JUDGE_PREFIX, is_opinion
from benchmark.runs import Run


class OnPicture(Protocol):
    """A row on one edit that says which picture it is about."""

    @property
    def method(self) -> str:
        """Who made the edit."""
        ...

    @property
    def sample_id(self) -> str:
        """Of which sample."""
        ...

    @property
    def edited_sha256(self) -> str | None:
        """Hash of the picture; None where there was none."""
        ...


Row = TypeVar("Row", bound=OnPicture)


def standing(runs: Iterable[Run], rows: Iterable[Row]) -> list[Row]:
    """The rows on the pictures that the runs have now, in their order."""
    pictures = _pictures(record for run in runs for record in run.edits())
    return [row for row in rows if pictures.get((row.method, row.sample_id)) == row.edited_sha256]


def forget_scores(run: Run, records: Sequence[EditRecord]) -> None:
    """Take away the scores on pictures that new records replace, and what was concluded from people's or judges'.

    What people and judges said stays in their tables, which name the picture; `standing` tells which of it counts.

    Args:
        run: The run folder, whose turn the caller holds.
        records: What `edits.parquet` is about to say.
    """
    if not run.scores_path.is_file():
        return
    before = _pictures(run.edits()) if run.edits_path.is_file() else {}
    now = _pictures(records)
    scores = run.scores()
    changed = {key for s in scores if before.get(key := (s.method, s.sample_id)) != now.get(key)}
    if not changed:
        return
    for metric in sorted({s.metric for s in scores if (s.method, s.sample_id) in changed and is_opinion(s.metric)}):
        _conclusions(run, metric).unlink(missing_ok=True)
    run.write_scores(
        [s for s in scores if (s.method, s.sample_id) not in changed],
        [u for u in run.unscored() if (u.method, u.sample_id) not in changed],
    )


def _pictures(records: Iterable[EditRecord]) -> dict[tuple[str, str], str | None]:
    return {(r.method, r.sample_id): r.image_sha256 for r in records}


def _conclusions(run: Run, metric: str) -> Path:
    """Where intervals and agreement behind the opinions of a metric are kept."""
    if metric.startswith(JUDGE_PREFIX):
        return run.folder / "judges" / f"{metric.removeprefix(JUDGE_PREFIX)}.agreement.json"
    return run.folder / "ins_align.json"
