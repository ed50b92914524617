"""The rows of a run folder: what was edited, what was scored, and why something could not be."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EditRecord:
    """What a method made of one sample.

    Attributes:
        method: The method's label in this run.
        sample_id: The sample.
        image: Path of the edited picture relative to the run folder; None where there is none.
        image_sha256: Hash of that file; None where there is none.
        seed: The seed that the editor got.
        response: What the model said beside the picture, if anything.
        error: Why there is no picture; None where there is one.
    """

    method: str
    sample_id: str
    image: str | None
    image_sha256: str | None
    seed: int
    response: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """One number: a metric of one method on one sample under one protocol; NaN where it could not be measured."""

    method: str
    sample_id: str
    protocol: str
    metric: str
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Unscored:
    """Why a score is NaN or infinite: kept beside the scores, so that a table can say it."""

    method: str
    sample_id: str
    protocol: str
    metric: str
    reason: str
