"""Shift and zoom of an edited picture against its source, and the background's PSNR once they are undone."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from benchmark.metrics.background import psnr_of, unit_pixels
from benchmark.metrics.pictures import Float32, SourceFrame, UInt8
from benchmark.protocols import Protocol

SEARCH_SIDE = 128
"""Longest side in pixels of the pictures that the search runs on."""

SCALES = np.exp(np.linspace(math.log(0.8), math.log(1.25), 15))
"""Zooms that the search starts from; 1 is among them."""

MAX_SCALE = 1.3
MAX_SHIFT = 0.2
"""Largest zoom (or its inverse) and largest shift, as a share of the longest side, that count as a registration."""

MIN_OVERLAP = 0.5
"""Smallest share of the background that must still be covered by the edited picture."""

MIN_GAIN = 0.1
"""Gain in dB, over none and over the opposite movement, from which a movement is believed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Registration:
    """How the edited picture lies over its source, and what the background scores with that undone.

    A source point (x, y) is found in the edited picture at `centre + scale * ((x, y) - centre) + (dx, dy)`.

    Attributes:
        dx: Shift to the right in pixels of the protocol's frame.
        dy: Shift downwards in pixels of the protocol's frame.
        scale: Zoom; above 1 the edited picture shows things larger.
        psnr: PSNR in dB over the background that both pictures show; never below the unregistered one.
    """

    dx: float
    dy: float
    scale: float
    psnr: float


def register(frame: SourceFrame, edited: UInt8, psnr: float, protocol: Protocol) -> Registration:
    """Estimate shift and zoom on the background, and score with them undone.

    Phase correlation at 15 zooms gives the starting point, robust least squares refines it. The identity is always a
    candidate.

    Args:
        frame: The source picture and its background weights.
        edited: uint8, H x W x 3, the edited picture in the same frame.
        psnr: The unregistered background PSNR.
        protocol: Says what the PSNR is averaged over.

    Returns:
        The best registration.
    """
    identity = Registration(dx=0.0, dy=0.0, scale=1.0, psnr=psnr)
    if not math.isfinite(psnr) or min(frame.size) < 16:
        return identity
    candidate = _estimate(frame, edited)
    if candidate is None:
        return identity
    registered = _score(frame, edited, candidate, protocol)
    if registered is None or registered.psnr < psnr + MIN_GAIN:
        return identity
    # Resampling smooths noise and gains by that alone; the opposite movement smooths as much, and is the control.
    opposite = _score(frame, edited, np.array([-candidate[0], -candidate[1], 1 / candidate[2]]), protocol)
    return registered if opposite is None or registered.psnr >= opposite.psnr + MIN_GAIN else identity


def _estimate(frame: SourceFrame, edited: UInt8) -> npt.NDArray[np.float64] | None:
    """(dx, dy, scale) in frame pixels by search and refinement; None where it leaves the allowed range."""
    longest = max(frame.size)
    factor = min(1.0, SEARCH_SIDE / longest)
    size = (max(round(frame.size[0] * factor), 1), max(round(frame.size[1] * factor), 1))
    small = [_grey(image, size) for image in (frame.image, edited)]
    weights = cv2.resize(frame.weights, size, interpolation=cv2.INTER_AREA)
    weights = (weights > 0.5).astype(np.float32)
    if weights.sum() < 64:
        return None
    starts = [np.array([0.0, 0.0, 1.0])]
    found = _search(small[0], small[1], weights)
    if np.abs(found - starts[0]).max() > 1 or abs(found[2] - 1) > 0.01:
        starts.append(found)
    refined = [_refine(small[0], small[1], weights, start) for start in starts]
    best = min(refined, key=lambda t: _masked_error(small[0], small[1], weights, t))
    best[:2] /= factor
    inside = np.abs(best[:2]).max() <= MAX_SHIFT * longest and 1 / MAX_SCALE <= best[2] <= MAX_SCALE
    return best if inside else None


def _grey(image: UInt8, size: tuple[int, int]) -> Float32:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    resized: Float32 = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return resized


def _matrix(size: tuple[int, int], transform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The 2 x 3 matrix from source to edited coordinates; size is (width, height)."""
    dx, dy, scale = transform
    x, y = (size[0] - 1) / 2, (size[1] - 1) / 2
    return np.array([[scale, 0, x - scale * x + dx], [0, scale, y - scale * y + dy]])


def _undo(edited: Float32, transform: npt.NDArray[np.float64], interpolation: int) -> Float32:
    """The edited picture as it looks in the source's frame."""
    size = (edited.shape[1], edited.shape[0])
    flags = interpolation | cv2.WARP_INVERSE_MAP
    undone: Float32 = cv2.warpAffine(
        edited, _matrix(size, transform), size, flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return undone


def _covered(size: tuple[int, int], transform: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which pixels of the source's frame the edited picture shows: bool, H x W."""
    matrix = _matrix(size, transform)
    x = matrix[0, 0] * np.arange(size[0]) + matrix[0, 2]
    y = matrix[1, 1] * np.arange(size[1]) + matrix[1, 2]
    inside_x, inside_y = (x >= 0) & (x <= size[0] - 1), (y >= 0) & (y <= size[1] - 1)
    covered: npt.NDArray[np.bool_] = inside_y[:, None] & inside_x[None, :]
    return covered


def _masked_error(source: Float32, edited: Float32, weights: Float32, transform: npt.NDArray[np.float64]) -> float:
    """Mean absolute difference over the background that both show; infinite where they hardly overlap."""
    seen = weights * _covered((source.shape[1], source.shape[0]), transform)
    if seen.sum() < MIN_OVERLAP * weights.sum():
        return math.inf
    difference = np.abs(source - _undo(edited, transform, cv2.INTER_LINEAR))
    return float((difference * seen).sum() / seen.sum())


def _search(source: Float32, edited: Float32, weights: Float32) -> npt.NDArray[np.float64]:
    """The best of one phase correlation at each zoom, by the background's difference."""
    window = cv2.createHanningWindow((source.shape[1], source.shape[0]), cv2.CV_32F) * weights
    reference = (source - source.mean()) * window
    best, lowest = np.array([0.0, 0.0, 1.0]), _masked_error(source, edited, weights, np.array([0.0, 0.0, 1.0]))
    for scale in SCALES:
        zoomed = _undo(edited, np.array([0.0, 0.0, scale]), cv2.INTER_LINEAR)
        (x, y), _ = cv2.phaseCorrelate(reference, (zoomed - zoomed.mean()) * window)
        transform = np.array([x * scale, y * scale, scale])
        error = _masked_error(source, edited, weights, transform)
        if error < lowest:
            best, lowest = transform, error
    return best


def _refine(
    source: Float32, edited: Float32, weights: Float32, start: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Robust least squares on the background's differences, from a starting point."""
    from scipy.optimize import least_squares

    height, width = source.shape
    slope_x, slope_y = (cv2.Sobel(edited, cv2.CV_32F, *order, ksize=3, scale=0.125) for order in ((1, 0), (0, 1)))
    x, y = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2)

    def residuals(transform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        difference = _undo(edited, transform, cv2.INTER_LINEAR) - source
        seen = weights * _covered((width, height), transform)
        return (difference * seen).ravel().astype(np.float64)

    def jacobian(transform: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        seen = weights * _covered((width, height), transform)
        along_x, along_y = (_undo(s, transform, cv2.INTER_LINEAR) * seen for s in (slope_x, slope_y))
        return np.stack([along_x, along_y, along_x * x + along_y * y], axis=-1).reshape(-1, 3).astype(np.float64)

    fit = least_squares(
        residuals, start, jac=jacobian, loss="soft_l1", f_scale=0.05, x_scale=np.array([1.0, 1.0, 0.02]), max_nfev=12
    )
    refined: npt.NDArray[np.float64] = fit.x
    return refined


def _score(
    frame: SourceFrame, edited: UInt8, transform: npt.NDArray[np.float64], protocol: Protocol
) -> Registration | None:
    """The background PSNR with a transform undone; None where too little background is left."""
    seen = frame.weights * _covered(frame.size, transform)
    squared, all_squared = float((seen**2).sum(dtype=np.float64)), float((frame.weights**2).sum(dtype=np.float64))
    if squared < MIN_OVERLAP * all_squared:
        return None
    undone = np.clip(_undo(unit_pixels(edited), transform, cv2.INTER_CUBIC), 0, 1)
    difference = (undone - unit_pixels(frame.image)) * seen[..., None]
    mse = float(np.square(difference).sum(dtype=np.float64)) / (3 * squared)
    if protocol.average == "image":
        mse *= all_squared / frame.weights.size
    dx, dy, scale = (float(v) for v in transform)
    return Registration(dx=dx, dy=dy, scale=scale, psnr=psnr_of(mse))
