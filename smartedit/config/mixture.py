"""How a training mixture is declared: a weight for each source, or draws that are nested as in the authors' code."""

from dataclasses import field
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Draw:
    """One of the nested draws: takes a group of sources with some probability, else the next draw is asked.

    The last draw of a mixture has no probability and takes what is left.
    """

    take: list[str]
    """The sources that this draw takes."""
    probability: float | None = None
    """A fixed probability, in (0, 1)."""
    size_of: list[str] | None = None
    """A probability by size: rows of these sources ..."""
    among: list[str] | None = None
    """... divided by rows of these."""
    within: Literal["size", "equal"] = "size"
    """Inside the group: by number of rows, or all alike."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MixtureConfig:
    """A mixture: either `weights` or `draws`."""

    weights: dict[str, float] = field(default_factory=dict)
    """How often a source is drawn, in any unit: weights are divided by their sum."""
    draws: list[Draw] = field(default_factory=list)
    """Nested draws, asked one after the other."""
    seed: int = 0
    """Which of the many orders of this mixture."""
