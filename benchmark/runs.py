"""The run folder: which files it holds, and how they are read and written.

RUN/run.json              what was asked for and with what (versions, weights, seeds, command); written before work
RUN/samples.parquet       the samples, with paths relative to RUN
RUN/edits/METHOD/<category>/<stem>.png
RUN/edits/METHOD.parquet  EditRecord rows of one method (METHOD.1-of-4.parquet for a shard)
RUN/edits.parquet         all EditRecord rows
RUN/scores/...            finished batches of scores, so that a killed run resumes
RUN/scores.parquet        Score rows, long form, each of the picture in edits.parquet
RUN/unscored.parquet      Unscored rows: why a score is NaN or infinite
RUN/report.*, RUN/tables/ what `report` wrote
RUN/log.jsonl             when, and how long: the one file that differs between two runs of one command
"""

import json
import os
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.records import EditRecord, Score, Unscored
from reason_edit.files import in_turn, write_text
from reason_edit.schema import EditSample
from reason_edit.tables import read_rows, write_rows

TURN = ".turn.lock"
"""Locked while a file is changed that several processes share; empty."""


class RunError(ValueError):
    """A run folder is missing, incomplete or belongs to another run."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run folder.

    Attributes:
        folder: The folder `RUN`.
    """

    folder: Path

    @property
    def settings_path(self) -> Path:
        """`run.json`."""
        return self.folder / "run.json"

    @property
    def scores_path(self) -> Path:
        """`scores.parquet`."""
        return self.folder / "scores.parquet"

    @property
    def edits_path(self) -> Path:
        """`edits.parquet`."""
        return self.folder / "edits.parquet"

    def turn(self) -> AbstractContextManager[None]:
        """Wait for one's turn to read and write the files that processes of one run share; make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return in_turn(self.folder / TURN)

    def holds_something_else(self) -> bool:
        """Whether the folder has files, but neither `run.json` nor only what is written before it."""
        if not self.folder.is_dir() or self.settings_path.is_file():
            return False
        names = {p.name for p in self.folder.iterdir()} - {TURN, "samples.parquet"}
        return any(".tmp-" not in name for name in names)

    def settings(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            RunError: The folder is no run folder, or the file is broken.
        """
        if not self.settings_path.is_file():
            raise RunError(f"{self.folder}: not a run folder (no run.json); `smartedit-bench edit` makes one")
        try:
            content: dict[str, Any] = json.loads(self.settings_path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise RunError(f"{self.settings_path}: broken JSON ({error})") from error
        return content

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Write `run.json`, with sorted keys."""
        write_text(self.settings_path, json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False) + "\n")

    def samples(self) -> list[EditSample]:
        """The samples of the run, with paths that can be opened from here."""
        rows = read_rows(self.folder / "samples.parquet", EditSample)
        return [replace(s, image=self.folder / s.image, mask=self.folder / s.mask) for s in rows]

    def write_samples(self, samples: list[EditSample]) -> None:
        """Write the samples, their paths made relative to the run folder."""
        rows = [replace(s, image=self._relative(s.image), mask=self._relative(s.mask)) for s in samples]
        write_rows(self.folder / "samples.parquet", rows, EditSample)

    def _relative(self, path: Path) -> Path:
        return Path(os.path.relpath(path.resolve(), self.folder.resolve()))

    def image_path(self, method: str, sample_id: str) -> Path:
        """Where a method's edited picture lies."""
        return self.folder / "edits" / method / f"{sample_id}.png"

    def edits(self) -> list[EditRecord]:
        """All edit records.

        Raises:
            RunError: Nothing was edited yet.
        """
        if not self.edits_path.is_file():
            raise RunError(f"{self.folder}: no edits.parquet; run `smartedit-bench edit` first")
        return read_rows(self.edits_path, EditRecord)

    def scores(self) -> list[Score]:
        """All scores.

        Raises:
            RunError: Nothing was scored yet.
        """
        if not self.scores_path.is_file():
            raise RunError(f"{self.folder}: no scores.parquet; run `smartedit-bench score` first")
        return read_rows(self.scores_path, Score)

    def unscored(self) -> list[Unscored]:
        """Why scores are NaN or infinite; empty where all are finite."""
        path = self.folder / "unscored.parquet"
        return read_rows(path, Unscored) if path.is_file() else []

    def write_scores(self, scores: list[Score], unscored: list[Unscored]) -> None:
        """Write the score tables, ordered by their keys, the reasons first: a whole `scores.parquet` means done."""
        unscored = sorted(unscored, key=lambda u: (u.method, u.sample_id, u.protocol, u.metric))
        scores = sorted(scores, key=lambda s: (s.method, s.sample_id, s.protocol, s.metric))
        write_rows(self.folder / "unscored.parquet", unscored, Unscored)
        write_rows(self.scores_path, scores, Score)

    def log(self, event: str, **values: Any) -> None:
        """Append one line with the time to `log.jsonl`."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **values}, ensure_ascii=False)
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
