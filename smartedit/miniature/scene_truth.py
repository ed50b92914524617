"""The truth about a sample as a judge needs it: its pictures in the judge's frame, and whose pixels are whose."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from smartedit.miniature.benchmark_set import Answer
from smartedit.miniature.candidates import Floats, shrink
from smartedit.miniature.drawing import draw
from smartedit.miniature.registering import Mask, framed


@dataclass(frozen=True, slots=True)
class Truth:
    """A sample's pictures and regions, all SIDE x SIDE.

    Attributes:
        source: The source picture in [0, 1].
        empty: The same scene without any thing.
        footprints: Where each thing or its shadow is, bool n x SIDE x SIDE.
        target_footprint: Where the edited thing or the target is.
        side: Pixels of the source picture's side.
    """

    source: Floats
    empty: Floats
    footprints: Mask
    target_footprint: Mask
    side: int

    @property
    def zone(self) -> Mask:
        """Where an edit may change the picture."""
        return np.asarray(binary_dilation(self.target_footprint, iterations=3))


class WrongScene(ValueError):
    """The source picture is not the one that the answers describe."""


def truth_of(answer: Answer, source: NDArray[np.uint8]) -> Truth:
    """Draw what the judge must know of a sample.

    Args:
        answer: The sample.
        source: Its source picture.

    Raises:
        WrongScene: The source does not show the scene of the answer.
    """
    side = source.shape[0]
    drawn = draw(answer.before, side)
    if drawn.image.shape != source.shape or np.abs(drawn.image.astype(int) - source).mean() > 4:
        raise WrongScene("the source picture is not the scene that answers/scenes.parquet describes")
    empty = draw(replace(answer.before, things=()), side).image
    footprints = np.stack([shrink(f.astype(np.float32)) > 0.02 for f in drawn.footprints])
    edited = footprints[answer.thing].copy()
    if answer.new_kind is not None:
        edited |= shrink(draw(answer.after, side).footprints[answer.thing].astype(np.float32)) > 0.02
    return Truth(framed(source), framed(empty), footprints, edited, side)
