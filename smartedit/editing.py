"""What an editor is: a picture and an instruction in, a picture out, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image


@dataclass(frozen=True, kw_only=True, slots=True)
class EditRequest:
    """One edit to make.

    Attributes:
        image: The source picture, RGB, upright.
        instruction: What the person asks for.
        seed: Seeds every random draw of this edit; comes from the sample's id.
    """

    image: Image.Image
    instruction: str
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EditResult:
    """One edit made.

    Attributes:
        image: The edited picture, of any size.
        response: What the model said beside the picture, if it says anything.
    """

    image: Image.Image
    response: str | None = None


class Editor(Protocol):
    """Anything that edits pictures by instruction."""

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """Edit a batch.

        The result of a request must not depend on the other requests in its batch: draw from a generator seeded by
        `EditRequest.seed`.

        Args:
            requests: The batch, at least one.

        Returns:
            One result for each request, in order.
        """
        ...
