"""Replacement without a model: a cut-out of the wanted kind from another picture, fitted, matched and feathered in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.seeding import numpy_generator
from smartedit.tools.filling import fill_from_surroundings
from smartedit.tools.protocols import Inpainted, InpaintingRequest, Mask, ToolError


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOut:
    """A thing cut out of a picture.

    Attributes:
        exemplar_id: Its id.
        path: RGBA PNG, cropped to the thing.
        picture_id: The picture that it is from; empty when unknown.
    """

    exemplar_id: str
    path: Path
    picture_id: str


class ExemplarInpainter:
    """Pastes cut-outs.

    Args:
        bank: Cut-outs by kind.
        radius: Neighbourhood for filling what the old thing leaves uncovered, pixels.
        match: How far the cut-out's brightness moves to that of its surroundings, in [0, 1].
        shadow: How dark the ground gets where the new thing touches it, in [0, 1].
    """

    def __init__(
        self, bank: Mapping[str, Sequence[CutOut]], *, radius: int = 4, match: float = 0.2, shadow: float = 0.3
    ) -> None:
        self._bank = bank
        self._shadow = shadow
        self._radius = radius
        self._match = match

    @property
    def kinds(self) -> frozenset[str]:
        """What it can draw."""
        return frozenset(kind for kind, cutouts in self._bank.items() if cutouts)

    def inpaint(self, requests: Sequence[InpaintingRequest]) -> list[Inpainted]:
        """Fill each region: the old thing goes, a cut-out of the new kind comes.

        Raises:
            ToolError: There is no cut-out of the kind from another picture, or nothing is asked for.
        """
        return [self._inpaint(request) for request in requests]

    def _inpaint(self, request: InpaintingRequest) -> Inpainted:
        if request.kind is None:
            raise ToolError("an exemplar needs to know what to draw; use opencv as the remover")
        choices = [c for c in self._bank.get(request.kind, ()) if not c.picture_id or c.picture_id != request.exclude]
        if not choices:
            raise ToolError(f"no cut-out of {request.kind!r} from another picture")
        choice = choices[int(numpy_generator("exemplar", request.seed).integers(len(choices)))]
        with Image.open(choice.path) as file:
            cutout = np.asarray(file.convert("RGBA"))
        image = np.asarray(request.image)
        hole = request.region & _old_thing(request)
        ground = fill_from_surroundings(image, hole, request.avoid, self._radius) if hole.any() else image
        return Inpainted(image=Image.fromarray(self._paste(ground, cutout, request)), origin=choice.exemplar_id)

    def _paste(
        self, ground: NDArray[np.uint8], cutout: NDArray[np.uint8], request: InpaintingRequest
    ) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = _bounds(request.mask if request.mask.any() else request.region)
        scale = min((x1 - x0) / cutout.shape[1], (y1 - y0) / cutout.shape[0])
        width, height = max(2, round(cutout.shape[1] * scale)), max(2, round(cutout.shape[0] * scale))
        # Colors are premultiplied, so that what lay behind the cut-out does not bleed into its edge.
        alpha = cutout[..., 3:].astype(np.float32) / 255
        layers = np.concatenate([cutout[..., :3].astype(np.float32) * alpha, alpha], axis=-1)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        layers = cv2.resize(layers, (width, height), interpolation=method)
        alpha = np.clip(layers[..., 3:], 0, 1)
        colors = np.clip(layers[..., :3] / np.maximum(alpha, 1e-3), 0, 255)
        left, top = round((x0 + x1 - width) / 2), y1 - height
        colors = self._matched(colors, alpha, ground[top : top + height, left : left + width])
        result = ground.astype(np.float32)
        result *= 1 - self._shadow * _contact(ground.shape[:2], left, top, width, height)[..., None]
        window = result[top : top + height, left : left + width]
        window += (colors - window) * alpha
        return np.clip(np.rint(result), 0, 255).astype(np.uint8)

    def _matched(
        self, colors: NDArray[np.float32], alpha: NDArray[np.float32], behind: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Brightness moved towards the place; hue stays, because the instruction may name it."""
        if self._match <= 0:
            return colors
        inside = alpha[..., 0] > 0.5
        if not inside.any():
            return colors
        lab = cv2.cvtColor((colors / 255).astype(np.float32), cv2.COLOR_RGB2LAB)
        place = cv2.cvtColor((behind.astype(np.float32) / 255), cv2.COLOR_RGB2LAB)
        shift = self._match * float(place[..., 0].mean() - lab[..., 0][inside].mean())
        lab[..., 0] = np.clip(lab[..., 0] + np.clip(shift, -12, 12), 0, 100)
        matched: NDArray[np.float32] = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1) * 255
        return matched


def _old_thing(request: InpaintingRequest) -> Mask:
    """What the old thing covers with its soft outline, and all of the region beside and below its foot: its shadow."""
    if not request.mask.any():
        return request.mask
    covered = _grown(request.mask, max(3, round(0.02 * max(request.image.size))))
    _, y0, _, y1 = _bounds(request.mask)
    covered[y1 - round(0.1 * (y1 - y0)) :] = True
    return covered


def _contact(shape: tuple[int, ...], left: int, top: int, width: int, height: int) -> NDArray[np.float32]:
    """A soft flat ellipse under a thing, in [0, 1]."""
    across = (np.arange(shape[1], dtype=np.float32) - (left + width / 2)) / (0.52 * width)
    down = (np.arange(shape[0], dtype=np.float32) - (top + height * 0.985)) / max(0.055 * height, 2.0)
    return np.outer(np.exp(-1.2 * down**2), np.exp(-1.2 * across**4)).astype(np.float32)


def _grown(mask: Mask, pixels: int) -> Mask:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc), dtype=bool)


def _bounds(mask: Mask) -> tuple[int, int, int, int]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
