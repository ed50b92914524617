"""Removal without a model: the picture's own surroundings go on in the hole."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from smartedit.tools.filling import fill_from_surroundings
from smartedit.tools.protocols import Inpainted, InpaintingRequest, ToolError


class OpenCVInpainter:
    """Fills a region with what is around it; it cannot draw anything new.

    Args:
        radius: Neighbourhood of OpenCV's Telea inpainting, pixels.
    """

    def __init__(self, radius: int = 4) -> None:
        self._radius = radius

    def inpaint(self, requests: Sequence[InpaintingRequest]) -> list[Inpainted]:
        """Fill each region from its surroundings.

        Raises:
            ToolError: Something new is asked for, or the region covers the whole picture.
        """
        return [self._inpaint(request) for request in requests]

    def _inpaint(self, request: InpaintingRequest) -> Inpainted:
        if request.prompt is not None:
            raise ToolError(f"OpenCV cannot draw {request.prompt!r}; use it as the remover")
        filled = fill_from_surroundings(np.asarray(request.image), request.region, request.avoid, self._radius)
        return Inpainted(image=Image.fromarray(filled), origin="opencv")
