"""What the tools of the data factory are: five contracts with one verb each, and what goes in and comes out of them.

Arrays: a picture is RGB; a `mask` is bool `H x W`, True inside; a `box` is `(x0, y0, x1, y1)` in float pixels of the
picture that it belongs to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
Mask = NDArray[np.bool_]


class ToolError(RuntimeError):
    """A tool failed on one request; the sample becomes a rejection with this text as its reason."""


class ToolUnavailable(ValueError):
    """A tool cannot work at all (no weights, no endpoint); the message names what is missing and a remedy."""


class Operation(StrEnum):
    """What an instruction asks for."""

    REPLACE = "replace"
    REMOVE = "remove"
    ADD = "add"


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture and the id under which ground truth knows it.

    Attributes:
        picture_id: The id; an edited picture has none, because no ground truth knows it.
        image: RGB, upright.
    """

    picture_id: str | None
    image: Image.Image


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """One thing found in a picture.

    Attributes:
        box: `(x0, y0, x1, y1)` in pixels.
        score: Confidence in [0, 1].
        phrase: The words that were looked for.
    """

    box: Box
    score: float
    phrase: str


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundingRequest:
    """Find everything that `phrase` names in a picture."""

    picture: Picture
    phrase: str


class Grounder(Protocol):
    """Finds things by their name."""

    def ground(self, requests: Sequence[GroundingRequest]) -> list[list[Detection]]:
        """Find things.

        Args:
            requests: A batch; requests for the same picture may share one pass of the model.

        Returns:
            For each request its detections, best first; an empty list where there is none.

        Raises:
            ToolError: The tool failed on this batch.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentationRequest:
    """Cut out the thing in a box."""

    picture: Picture
    box: Box


class Segmenter(Protocol):
    """Turns a box into a mask."""

    def segment(self, requests: Sequence[SegmentationRequest]) -> list[Mask]:
        """Segment things.

        Args:
            requests: A batch; requests for the same picture may share one encoding of it.

        Returns:
            One mask each, of the picture's size.

        Raises:
            ToolError: The tool failed on this batch.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class InpaintingRequest:
    """Fill a region of a picture.

    Attributes:
        image: RGB.
        mask: The thing itself: what has to go. Empty when something is added to a free place.
        region: Where pixels may change; contains `mask`.
        prompt: What shall be there, for example "an orange"; None to show what is behind.
        kind: The bare kind of thing that shall be there, for example "orange"; None to show what is behind.
        seed: Seeds every random draw of this request.
        avoid: Other things, which must not be copied into the region; None where nothing is known of them.
        exclude: The id of the picture, so that an exemplar never comes from the same picture.
    """

    image: Image.Image
    mask: Mask
    region: Mask
    prompt: str | None
    kind: str | None
    seed: int
    avoid: Mask | None = None
    exclude: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inpainted:
    """A filled picture.

    Attributes:
        image: RGB, the size of the request's picture. What lies outside the region may have changed a little: the
            caller pastes the background back.
        origin: Where the new content comes from, for provenance: a model, or the exemplar's id.
    """

    image: Image.Image
    origin: str


class Inpainter(Protocol):
    """Fills regions of pictures."""

    def inpaint(self, requests: Sequence[InpaintingRequest]) -> list[Inpainted]:
        """Fill regions; a request's result depends on nothing but itself.

        Raises:
            ToolError: The tool failed on this batch.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class EditFacts:
    """What is true of an edit: all that a writer may say.

    Attributes:
        operation: Replace, remove or add.
        kind: The thing pointed at, for example "apple".
        referring: How it is singled out, without an article: "left apple", "object that tells the time".
        attribute: The word that does it: "left", "red", "in the mirror"; empty when the kind or a clue does.
        forbidden: Words that would give the answer away ("clock" where the clue must do the work).
        replacement: What shall be there instead or beside it, for example "orange".
        replacement_phrase: The same with its article: "an orange".
        place: Where something is added, for example "to the right of"; None unless added.
        seed: Chooses among phrasings.
        others: Further true ways to single it out: the position "on the left", "in the mirror".
        known: Kinds of things in lower case. A writer is told of none but `kind` and `replacement`; a text that names
            another of these made it up.
    """

    operation: Operation
    kind: str
    referring: str
    attribute: str
    forbidden: tuple[str, ...]
    replacement: str | None
    replacement_phrase: str | None
    place: str | None
    seed: int
    others: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()


class InstructionWriter(Protocol):
    """Says edits in words."""

    def write(self, facts: Sequence[EditFacts]) -> "list[tuple[str, ...] | ToolError]":
        """Write instructions.

        Returns:
            For each edit several different instructions, or the error that says why there are none.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeRequest:
    """A change to judge by text: crops before and after, and what they should match."""

    source: Image.Image
    target: Image.Image
    source_text: str
    target_text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeScores:
    """How well a change agrees with its texts; all are cosines or differences of cosines in [-2, 2].

    Attributes:
        target: cos(target picture, target text).
        source_drop: cos(source picture, source text) - cos(target picture, source text): how much of the old is gone.
        direction: cos(target picture - source picture, target text - source text), the directional similarity of
            StyleGAN-NADA (Gal et al. 2021), as InstructPix2Pix filters by.
    """

    target: float
    source_drop: float
    direction: float


class ImageTextScorer(Protocol):
    """Judges changes by text."""

    def score(self, requests: Sequence[ChangeRequest]) -> list[ChangeScores]:
        """Score changes; never a softmax over texts, which would always be one for a single text.

        Raises:
            ToolError: The tool failed on this batch.
        """
        ...
