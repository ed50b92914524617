import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from smartedit.miniature.drawing import draw
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.outlines import coco_segmentation, painted_polygons, pixel_edges
from smartedit.miniature.scenes import Backdrop, Scene, Thing

ROOM = Backdrop(wall="plain", ground="table", horizon=0.4, tint=0, seed=0)


def decoded(segmentation: object, shape: tuple[int, int]) -> np.ndarray:
    assert isinstance(segmentation, list)
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(segmentation, *shape))), bool)


def painted(polygons: list[list[list[float]]], shape: tuple[int, int]) -> np.ndarray:
    layer = np.zeros(shape, np.uint8)
    for polygon in polygons:
        points = np.array(polygon, np.int32)
        cv2.polylines(layer, [points], True, 1, 1)
        cv2.fillPoly(layer, [points], 1)
    return layer.astype(bool)


def ring() -> np.ndarray:
    mask = np.zeros((40, 50), bool)
    mask[5:30, 8:44] = True
    mask[10:20, 15:30] = False
    mask[22:26, 33:40] = False
    mask[12:15, 20:24] = True
    return mask


def test_a_rectangle_has_four_corners() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    assert [sorted(loop) for loop in pixel_edges(mask)] == [[(3, 2), (3, 5), (9, 2), (9, 5)]]


def test_holes_and_islands_survive() -> None:
    mask = ring()
    assert np.array_equal(decoded(coco_segmentation(mask), mask.shape), mask)
    polygons = painted_polygons(mask)
    assert polygons is not None
    assert np.array_equal(painted(polygons, mask.shape), mask)


def test_pixels_that_touch_at_a_corner() -> None:
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = mask[4:6, 4:6] = True
    assert len(pixel_edges(mask)) == 2
    assert np.array_equal(decoded(coco_segmentation(mask), mask.shape), mask)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_given_exactly(kind: str) -> None:
    for size in (0.25, 0.5):
        thing = Thing(kind=kind, color=KINDS[kind].colors[0], x=0.47, y=0.87, size=size)
        mask = np.asarray(draw(Scene(backdrop=ROOM, things=(thing,)), 128).mask(0))
        assert np.array_equal(decoded(coco_segmentation(mask), mask.shape), mask)
