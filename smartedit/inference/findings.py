"""What `smartedit doctor` finds: a topic, a grade and a sentence."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Grade(StrEnum):
    """How bad a finding is."""

    GOOD = "ok"
    NOTE = "note"
    FAULT = "fault"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing found.

    Attributes:
        topic: What was looked at: files, vocabulary, weights, memory, run.
        grade: How bad it is.
        text: What it is and, for a fault, what to do.
    """

    topic: str
    grade: Grade
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """All that was found in a checkpoint.

    Attributes:
        folder: The checkpoint.
        findings: In the order of looking.
    """

    folder: Path
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> tuple[Finding, ...]:
        """Those that keep the checkpoint from editing as it should."""
        return tuple(f for f in self.findings if f.grade is Grade.FAULT)
