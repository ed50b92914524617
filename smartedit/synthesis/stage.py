"""What every stage needs: outcomes, pictures read once, and tools called in batches without losing a whole batch."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from smartedit.synthesis.records import Candidate, PictureRow, Rejection
from smartedit.tools.protocols import Mask, Picture, ToolError

Row = TypeVar("Row")
Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome(Generic[Row]):
    """What a stage made of a shard: rows, and rejections for everything that did not become one."""

    rows: list[Row] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)

    def reject(self, candidate: Candidate, stage: str, reason: str, detail: str, *, key: str | None = None) -> None:
        """Note why a candidate, or one pair of it, ends here."""
        self.rejections.append(
            Rejection(
                key=key or candidate.candidate_id,
                candidate_id=candidate.candidate_id,
                category=candidate.category,
                stage=stage,
                reason=reason,
                detail=detail,
            )
        )


class Pictures:
    """The pictures of a run, read when asked for; the last few stay in memory.

    Args:
        root: The run folder.
        rows: Its table of pictures.
        keep: How many decoded pictures stay.
    """

    def __init__(self, root: Path, rows: Iterable[PictureRow], keep: int = 8) -> None:
        self._root = root
        self.rows = {row.picture_id: row for row in rows}
        self._keep = keep
        self._images: OrderedDict[str, Image.Image] = OrderedDict()

    def __getitem__(self, picture_id: str) -> Picture:
        """The picture of an id."""
        if picture_id not in self._images:
            self._images[picture_id] = read_rgb(self._root / self.rows[picture_id].path)
            while len(self._images) > self._keep:
                self._images.popitem(last=False)
        self._images.move_to_end(picture_id)
        return Picture(picture_id=picture_id, image=self._images[picture_id])


def read_rgb(path: Path) -> Image.Image:
    """A picture that the factory wrote itself."""
    with Image.open(path) as image:
        return image.convert("RGB")


def read_mask(path: Path) -> Mask:
    """A mask that the factory wrote itself."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L")) > 127


def batches(items: Sequence[Request], size: int) -> Iterator[Sequence[Request]]:
    """Consecutive slices of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def call_in_batches(
    call: Callable[[Sequence[Request]], Sequence[Answer]], requests: Sequence[Request], batch_size: int
) -> Iterator[Answer | ToolError]:
    """Call a tool in batches; one that fails is tried again request by request, so that a bad one goes alone.

    Args:
        call: The tool's verb.
        requests: All requests.
        batch_size: Requests a call.

    Yields:
        An answer or the tool's error for each request.
    """
    for batch in batches(requests, batch_size):
        try:
            yield from _call(call, batch)
        except ToolError as error:
            if len(batch) == 1:
                yield error
                continue
            for request in batch:
                try:
                    yield from _call(call, [request])
                except ToolError as single:
                    yield single


def _call(call: Callable[[Sequence[Request]], Sequence[Answer]], batch: Sequence[Request]) -> Sequence[Answer]:
    answers = call(batch)
    if len(answers) != len(batch):
        raise RuntimeError(f"a tool gave {len(answers)} answers to {len(batch)} requests")
    return answers
