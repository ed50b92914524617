"""The benchmark's vocabulary: scenario, category and sample (SmartEdit, CVPR 2024, section 3.4)."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Scenario(StrEnum):
    """The two halves of Reason-Edit, and the place of anything that the paper does not count."""

    UNDERSTANDING = "understanding"
    REASONING = "reasoning"
    SUPPLEMENT = "supplement"


class Category(StrEnum):
    """The six categories of Reason-Edit, and the extra folder that some copies of it hold."""

    LEFT_RIGHT = "left_right"
    RELATIVE_SIZE = "relative_size"
    MIRROR = "mirror"
    COLOR = "color"
    MULTIPLE_OBJECTS = "multiple_objects"
    REASONING = "reasoning"
    ADD_SUPPLEMENT = "add_supplement"

    @property
    def scenario(self) -> Scenario:
        """The half of the benchmark that the category is averaged in."""
        if self is Category.REASONING:
            return Scenario.REASONING
        if self is Category.ADD_SUPPLEMENT:
            return Scenario.SUPPLEMENT
        return Scenario.UNDERSTANDING


PAPER_CATEGORIES: tuple[Category, ...] = tuple(c for c in Category if c is not Category.ADD_SUPPLEMENT)
"""The categories that the paper's 219 pairs lie in, in the order of the released folders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditSample:
    """One image-text pair of Reason-Edit, with what only the evaluator may see.

    Attributes:
        sample_id: `<category>/<file stem>`, for example `left_right/001`.
        category: Where the sample is averaged.
        instruction: What the person asks for; all that an editor gets besides the image.
        target_label: Text that the foreground should match after the edit (the words behind `CLIP:`).
        image: Path of the source picture.
        mask: Path of the foreground mask, white where the edit belongs; for metrics only.
    """

    sample_id: str
    category: Category
    instruction: str
    target_label: str
    image: Path
    mask: Path

    @property
    def stem(self) -> str:
        """The file stem within its category."""
        return self.sample_id.partition("/")[2]
