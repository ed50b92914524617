"""What an audit finds: a row of a manifest and what it is like."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """In what two things are alike."""

    EXACT = "exact"
    NEAR = "near"
    ALIKE = "alike"
    SUSPECTED = "suspected"
    SAME_TEXT = "same_text"
    SIMILAR_TEXT = "similar_text"


LEAKS = (Kind.EXACT, Kind.NEAR, Kind.ALIKE)
"""Kinds that put a picture of the benchmark into the training data."""
TEXTS = (Kind.SAME_TEXT, Kind.SIMILAR_TEXT)
"""Kinds that are about words; short instructions are alike by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """One row of the manifest and what it is like.

    Attributes:
        kind: In what they are alike. `suspected` pairs have near hashes but do not agree when laid over each other.
        inside: Whether the other is a row of the manifest, too, and not a sample of the benchmark.
        row: Row number in the manifest.
        example_id: The row.
        source: The row's source.
        role: `image`, `target` or `instruction`.
        other_id: The sample of the benchmark, or the other row.
        other_row: The other row's number; None for the benchmark.
        other_source: The other row's source; None for the benchmark.
        other_role: As `role`.
        score: 0 to 128 differing bits for inside pairs; correlation for near and suspected; cosine for alike; share of
            three-word sequences for texts; 1 for exact.
        text: The row's instruction, where texts are alike.
        other_text: The other's.
    """

    kind: Kind
    inside: bool
    row: int
    example_id: str
    source: str
    role: str
    other_id: str
    other_row: int | None
    other_source: str | None
    other_role: str
    score: float
    text: str | None = None
    other_text: str | None = None
