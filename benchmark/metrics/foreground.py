"""What an edit made inside the mask: the crop that CLIP compares with the target label (SmartEdit, section 4)."""

import numpy as np
from PIL import Image

from benchmark.metrics.pictures import SourceFrame, UInt8
from benchmark.protocols import Protocol

CLIP_MEAN = (122, 116, 104)
"""The mean colour of CLIP's training pictures: 0 after its normalisation."""


def crop_refusal(frame: SourceFrame, protocol: Protocol) -> str | None:
    """Why there is no crop to compare with the label; None where there is one.

    Args:
        frame: The source in the protocol's frame.
        protocol: Says which pixels the box holds.

    Returns:
        A reason for the score's row, or None.
    """
    if frame.box is None:
        return "the mask is empty, so there is no foreground to compare with the label"
    x0, y0, x1, y1 = frame.box
    if x1 <= x0 or y1 <= y0:
        lost = "" if protocol.whole_box else "; the protocol loses the box's last row and column"
        return f"the mask's box is empty at {frame.size[0]}x{frame.size[1]}{lost}"
    return None


def foreground_crop(frame: SourceFrame, edited: UInt8, protocol: Protocol) -> Image.Image:
    """The part of an edited picture that CLIP sees.

    Args:
        frame: The source in the protocol's frame, with a box that is not empty.
        edited: uint8, H x W x 3, the edited picture in the same frame.
        protocol: Says whether the crop is padded to a square.

    Returns:
        An RGB picture.
    """
    assert frame.box is not None, "ask crop_refusal first"
    x0, y0, x1, y1 = frame.box
    crop = Image.fromarray(np.ascontiguousarray(edited[y0:y1, x0:x1]))
    if not protocol.square_crop or crop.width == crop.height:
        return crop
    side = max(crop.size)
    square = Image.new("RGB", (side, side), CLIP_MEAN)
    square.paste(crop, ((side - crop.width) // 2, (side - crop.height) // 2))
    return square
