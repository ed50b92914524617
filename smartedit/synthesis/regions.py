"""Masks into regions: cleaned, grown, shaped, feathered; and the background pasted back."""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.config.synthesis import RegionConfig
from smartedit.tools.protocols import Box, Mask


def clean_mask(mask: Mask, config: RegionConfig) -> Mask:
    """A mask without specks and without small holes.

    Args:
        mask: bool `H x W`.
        config: Which parts are too small to count.

    Returns:
        The cleaned mask; empty when the mask was.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return np.zeros_like(mask)
    areas = stats[:, cv2.CC_STAT_AREA]
    kept = areas >= config.speck * areas[1:].max()
    kept[0] = False
    cleaned = kept[labels]
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~cleaned).astype(np.uint8), connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= config.hole * cleaned.sum()
    small[0] = False
    edges = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    small[np.unique(edges)] = False
    return np.asarray(cleaned | small[labels], dtype=bool)


def grow(mask: Mask, pixels: int) -> Mask:
    """A mask grown by a disc."""
    if pixels <= 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc), dtype=bool)


def box_mask(box: Box, height: int, width: int) -> Mask:
    """The pixels of a box."""
    mask = np.zeros((height, width), dtype=bool)
    x0, y0 = max(0, round(box[0])), max(0, round(box[1]))
    mask[y0 : max(0, round(box[3])), x0 : max(0, round(box[2]))] = True
    return mask


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """`(x0, y0, x1, y1)` of a mask's pixels, x1 and y1 exclusive; the mask must not be empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def soft_edge(region: Mask, mask: Mask, sigma: float) -> NDArray[np.float32]:
    """Weights of the new content: exactly 0 outside the region, rising to 1 inside it, and 1 all over the old thing.

    Args:
        region: Where pixels may change.
        mask: The old thing, of which nothing may shine through.
        sigma: The rise takes three times as many pixels, unless the region ends nearer to the thing.
    """
    if sigma <= 0:
        return region.astype(np.float32)
    # Padding with zeros would feather along the picture's own edge, where nothing has to be hidden.
    padded = np.pad(region, 1, mode="edge").astype(np.uint8)
    inside = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    # A thing's own soft outline goes with it.
    core = grow(mask, 2) & region
    room = float(inside[mask].min()) - 2 if mask.any() else 3 * sigma
    weights = np.clip(inside / max(1.0, min(3 * sigma, room)), 0, 1)
    weights[core] = 1
    return np.asarray(weights, dtype=np.float32)


def paste_back(source: Image.Image, filled: Image.Image, weights: NDArray[np.float32]) -> Image.Image:
    """New content over the source by weights; where a weight is 0 the source's pixels come back unchanged.

    Args:
        source: RGB.
        filled: RGB of the same size.
        weights: float `H x W` in [0, 1].

    Returns:
        The composite.
    """
    before = np.asarray(source, dtype=np.float32)
    after = np.asarray(filled, dtype=np.float32)
    mixed = before + (after - before) * weights[..., None]
    return Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
