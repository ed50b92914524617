"""Edits made while a model trains, as a grid of pictures."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from PIL import Image, ImageDraw

from reason_edit.files import atomic_path
from smartedit.data.decoding import DecodingError
from smartedit.data.examples import Task
from smartedit.seeding import seed_from
from smartedit.training.decoded_rows import DecodedRows

logger = logging.getLogger(__name__)

FIRST = 2**61
"""Positions from here on are looked at for edits to show; no run comes to them. Their rows may be trained on."""
TRIES = 50
LINE = 14
"""Pixels of the line with the instruction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One edit of the grid.

    Attributes:
        instruction: The request.
        source: The picture before.
        target: The picture after, of the data set.
    """

    instruction: str
    source: Image.Image
    target: Image.Image


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Writes a grid: source, what the model makes of it, target.

    Attributes:
        rows: Where edits are taken from.
        edit: Edits a picture by an instruction, with a seed.
        count: Edits of a grid; the same ones each time.
        folder: Gets `step-00001000.png` and so on.
        writes: Whether this process writes; processes that share a model's weights make the edits together.
    """

    rows: DecodedRows
    edit: Callable[[Image.Image, str, int], Image.Image]
    count: int
    folder: Path
    writes: bool = True

    def __call__(self, step: int) -> None:
        """Write the grid of a step."""
        edits = list(islice(self._edits(), self.count))
        if not edits:
            logger.warning("no edits to show among %d rows: no grid is written", self.count * TRIES)
            return
        side = self.rows.rules.side
        grid = Image.new("RGB", (3 * side, len(edits) * (side + LINE)), "white")
        pen = ImageDraw.Draw(grid)
        for i, shown in enumerate(edits):
            top = i * (side + LINE)
            pen.text((2, top), shown.instruction, fill="black")
            try:
                edited = self.edit(shown.source, shown.instruction, seed_from("validation", i) % 2**32)
            except ValueError as error:
                # Training goes on without such a row, and so does its grid; the place stays white.
                logger.warning("step %d: %r is not shown: %s", step, shown.instruction, error)
                edited = Image.new("RGB", shown.source.size, "white")
            for column, picture in enumerate((shown.source, edited, shown.target)):
                grid.paste(picture, (column * side, top + LINE))
        if not self.writes:
            return
        with atomic_path(self.folder / f"step-{step:08d}.png") as path:
            grid.save(path)

    def _edits(self) -> Iterator[Shown]:
        for position in range(FIRST, FIRST + self.count * TRIES):
            try:
                example, decoded = self.rows[position]
            except DecodingError:
                continue
            if example.task is Task.EDIT and decoded.instruction is not None:
                assert decoded.source is not None and decoded.target is not None
                yield Shown(
                    instruction=decoded.instruction,
                    source=Image.fromarray(decoded.source),
                    target=Image.fromarray(decoded.target),
                )
