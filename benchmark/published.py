"""The numbers that the literature gives for Reason-Edit, each with its source and with what was done to get it."""

import csv
import functools
import io
from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

SMARTEDIT_V1 = "smartedit-v1"
METRICS = ("psnr", "ssim", "lpips", "clip_score", "ins_align", "judge_score")


class PublishedError(ValueError):
    """The table of published numbers is wrong."""


class PublishedValue(BaseModel):
    """A number as its source gives it.

    Attributes:
        value: The number.
        text: Its digits as printed, so that no digit is added or lost.
        at_least: The source says "more than" instead of a number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    text: str
    at_least: bool = False

    @property
    def shown(self) -> str:
        """The number as a table shows it."""
        return f"> {self.text}" if self.at_least else self.text


def _parse_value(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    text = cell.removeprefix(">")
    return {"value": text, "text": text, "at_least": cell.startswith(">")} if cell else None


def _parse_tags(cell: object) -> object:
    return [tag for tag in cell.split("|") if tag] if isinstance(cell, str) else cell


Value = Annotated[PublishedValue | None, BeforeValidator(_parse_value)]


class PublishedRow(BaseModel):
    """One method on one half of Reason-Edit (or on all of it) in one publication.

    Attributes:
        block: Rows of one block were measured in the same way by the same people; only they may be ranked together.
        method: The method, as its source names it.
        scenario: What was averaged over.
        psnr: Background PSNR in dB.
        ssim: Background SSIM.
        lpips: Background LPIPS.
        clip_score: Foreground CLIP score, 0 to 100.
        ins_align: Rated by people, 0 to 1.
        judge_score: Rated by a model; `protocol` names it and its range.
        protocol: How it was measured; `smartedit-v1` for the paper's own tables, otherwise what the source claims.
        aggregation: How the samples' numbers became one.
        training: `zero-shot` (a released model as it is), `fine-tuned` (its training used the paper's synthetic pairs),
            `own-training` (the paper's ablations without those pairs), or unknown.
        tags: What a reader must know before comparing, for example `label-leak` or `compositing`.
        samples: How many samples, where the source says so.
        source: Where the number stands.
        verified: `paper` or `readme` where the number was read there; `note` where only a third party's note was.
        remark: What else to know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    block: str = Field(min_length=1)
    method: str = Field(min_length=1)
    scenario: Literal["understanding", "reasoning", "overall"]
    psnr: Value
    ssim: Value
    lpips: Value
    clip_score: Value
    ins_align: Value
    judge_score: Value
    protocol: str = Field(min_length=1)
    aggregation: str = Field(min_length=1)
    training: Literal["zero-shot", "fine-tuned", "own-training", "unknown"]
    tags: Annotated[tuple[str, ...], BeforeValidator(_parse_tags)]
    samples: Annotated[int | None, BeforeValidator(lambda cell: cell or None)]
    source: str = Field(min_length=1)
    verified: Literal["paper", "readme", "note"]
    remark: str

    @model_validator(mode="after")
    def _holds_a_number(self) -> Self:
        values = {name: getattr(self, name) for name in METRICS}
        if all(value is None for value in values.values()):
            raise ValueError("a row without any number")
        if (self.judge_score is not None) != self.protocol.startswith("judge:"):
            raise ValueError("a judge's score needs a protocol that starts with 'judge:', and only it has one")
        for name in ("ssim", "lpips", "ins_align"):
            if values[name] is not None and not 0 <= values[name].value <= 1:
                raise ValueError(f"{name} = {values[name].text} lies outside 0 to 1")
        return self


def parse_published(text: str, name: str = "published.csv") -> list[PublishedRow]:
    """Rows of a table of published numbers, checked.

    Args:
        text: CSV with the fields of `PublishedRow` as its header.
        name: What errors call the file.

    Returns:
        The rows in file order.

    Raises:
        PublishedError: A line is wrong, two are about the same thing, or a block mixes protocols.
    """
    rows: list[PublishedRow] = []
    for line, cells in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            rows.append(PublishedRow.model_validate(cells))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "row"
            raise PublishedError(f"{name}, line {line}, {field}: {first['msg']}") from error
    seen: set[tuple[str, str, str]] = set()
    protocols: dict[str, str] = {}
    for row in rows:
        key = (row.block, row.method, row.scenario)
        if key in seen:
            raise PublishedError(f"{name}: two rows for {' / '.join(key)}")
        seen.add(key)
        if protocols.setdefault(row.block, row.protocol) != row.protocol:
            raise PublishedError(f"{name}: block {row.block} mixes {protocols[row.block]!r} and {row.protocol!r}")
    return rows


@functools.cache
def published_rows() -> tuple[PublishedRow, ...]:
    """The published numbers that ship with the package."""
    return tuple(parse_published(resources.files("benchmark").joinpath("published.csv").read_text(encoding="utf-8")))


def published_blocks(rows: Sequence[PublishedRow] | None = None) -> dict[str, list[PublishedRow]]:
    """Published rows by block, in file order."""
    blocks: dict[str, list[PublishedRow]] = {}
    for row in published_rows() if rows is None else rows:
        blocks.setdefault(row.block, []).append(row)
    return blocks
