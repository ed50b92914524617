"""The folder of a run: where every table lies, and the rule that what exists is whole and done.

RUN/config.json  environment.json
RUN/pictures.parquet  exemplars.parquet  pictures/  exemplars/
RUN/stages/<stage>/<shard>.parquet  <shard>.rejected.parquet     written last means done
RUN/masks/  targets/  answers/
RUN/review.html  decisions.json  RUN/set/
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from reason_edit.files import write_text
from reason_edit.tables import iter_rows, read_rows, write_rows
from smartedit.config.synthesis import SynthesisConfig
from smartedit.folders import refuse_other_content
from smartedit.synthesis.records import (
    Candidate,
    EditedPair,
    Exemplar,
    Grounding,
    Instructions,
    PictureRow,
    QualityScores,
    Region,
    Rejection,
)
from smartedit.synthesis.stage import Outcome

Row = TypeVar("Row")

STAGES: dict[str, type] = {
    "propose": Candidate,
    "ground": Grounding,
    "segment": Region,
    "inpaint": EditedPair,
    "instruct": Instructions,
    "score": QualityScores,
}
"""The stages that work shard by shard, in order, and their rows."""


class RunFolderError(ValueError):
    """A run folder cannot be used as it was asked; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What a run was started with.

    Attributes:
        pictures: The folder of pictures, as an absolute path.
        config: The configuration.
        inputs: Hashes of the annotations and of a knowledge table of the user's own.
    """

    pictures: str
    config: SynthesisConfig
    inputs: Mapping[str, str] = field(default_factory=dict)


class RunFolder:
    """Paths and tables of a run.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def settings(self) -> RunSettings:
        """What the run was started with.

        Raises:
            RunFolderError: There is no run in this folder.
        """
        path = self.root / "config.json"
        if not path.is_file():
            raise RunFolderError(f"{self.root}: no run here (no config.json); start one with `smartedit synth run`")
        try:
            return TypeAdapter(RunSettings).validate_json(path.read_bytes())
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise RunFolderError(f"{path}: not the settings of a run ({where}: {problem['msg']})") from error

    def claim(self, settings: RunSettings) -> None:
        """Write the settings, or check that the folder was made with the same ones.

        Selection may change: it is made anew from the same scores every time. Until pictures are taken in, all may.

        Raises:
            RunFolderError: The folder holds a run with other settings.
            OtherContentError: It holds something else.
        """
        refuse_other_content(self.root, "pictures", "--run")
        path = self.root / "config.json"
        if path.is_file() and (self.root / "pictures.parquet").is_file():
            before = self.settings()
            fixed = TypeAdapter(RunSettings)
            old, new = (json.loads(fixed.dump_json(s)) for s in (before, settings))
            for tree in (old, new):
                tree["config"].pop("selection")
            if not old["inputs"]:
                del old["inputs"], new["inputs"]  # a run from before they were kept
            if old != new:
                changed = ", ".join(sorted(_differences(old, new)))
                raise RunFolderError(f"{self.root}: made with other settings ({changed}); use a new folder or the same")
        content = TypeAdapter(RunSettings).dump_json(settings, indent=1).decode()
        write_text(path, content + "\n")

    def pictures(self) -> list[PictureRow]:
        """The pictures of the run."""
        return read_rows(self.root / "pictures.parquet", PictureRow)

    def exemplars(self) -> list[Exemplar]:
        """The bank of the run; empty where none was made."""
        path = self.root / "exemplars.parquet"
        return read_rows(path, Exemplar) if path.is_file() else []

    def shards(self) -> int:
        """How many shards the pictures make."""
        size = self.settings().config.pictures_per_shard
        return -(-len(self.pictures()) // size)

    def shard_pictures(self, shard: int) -> list[PictureRow]:
        """The pictures of a shard.

        Raises:
            RunFolderError: The run has no such shard.
        """
        size = self.settings().config.pictures_per_shard
        rows = self.pictures()
        if not 0 <= shard * size < len(rows):
            raise RunFolderError(f"{self.root}: no shard {shard}; {len(rows)} pictures make {-(-len(rows) // size)}")
        return rows[shard * size : (shard + 1) * size]

    def table(self, stage: str, shard: int) -> Path:
        """The table of a stage and shard."""
        return self.root / "stages" / stage / f"{shard:05d}.parquet"

    def rejected(self, stage: str, shard: int) -> Path:
        """The rejections beside it."""
        return self.root / "stages" / stage / f"{shard:05d}.rejected.parquet"

    def is_done(self, stage: str, shard: int) -> bool:
        """Whether a stage has finished a shard."""
        return self.table(stage, shard).is_file()

    def rows(self, stage: str, shard: int, row_type: type[Row]) -> list[Row]:
        """The rows of a stage and shard.

        Raises:
            RunFolderError: The stage has not done the shard.
        """
        self._need(stage, shard)
        return read_rows(self.table(stage, shard), row_type)

    def _need(self, stage: str, shard: int) -> None:
        if not self.is_done(stage, shard):
            raise RunFolderError(f"{self.root}: {stage} has not done shard {shard}; finish the run first")

    def all_rows(self, stage: str, row_type: type[Row]) -> Iterator[Row]:
        """The rows of a stage over all shards."""
        for shard in range(self.shards()):
            self._need(stage, shard)
            yield from iter_rows(self.table(stage, shard), row_type)

    def all_rejections(self) -> list[Rejection]:
        """Everything that was rejected so far, in the order of the stages."""
        found = _read_if_there(self.root / "intake.rejected.parquet")
        for stage in STAGES:
            for shard in range(self.shards()):
                found += _read_if_there(self.rejected(stage, shard))
        return found + _read_if_there(self.root / "selected.rejected.parquet")

    def write_outcome(self, stage: str, shard: int, outcome: Outcome[Any]) -> None:
        """Write a shard's tables, the rows last: their file says that the shard is done."""
        write_rows(self.rejected(stage, shard), outcome.rejections, Rejection)
        write_rows(self.table(stage, shard), outcome.rows, STAGES[stage])


def _read_if_there(path: Path) -> list[Rejection]:
    return read_rows(path, Rejection) if path.is_file() else []


def _differences(old: Any, new: Any, path: Sequence[str] = ()) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            yield from _differences(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield ".".join(path)
