from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from smartedit.miniature.backdrops import PLACES
from smartedit.miniature.canvas import STUFF
from smartedit.miniature.catalog import write_catalog
from smartedit.miniature.drawing import draw
from smartedit.miniature.kinds import COLORS, KINDS, with_article
from smartedit.miniature.scenes import Backdrop, Mirror, Scene, Thing, reflect, removed, replaced

ROOM = Backdrop(wall="striped", ground="floor", horizon=0.4, tint=3, seed=4)


def scene(*things: Thing) -> Scene:
    return Scene(backdrop=ROOM, things=things)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_fills_its_frame_and_stays_in_it(kind: str) -> None:
    drawing = draw(scene(Thing(kind=kind, color=KINDS[kind].colors[0], x=0.5, y=0.9, size=0.6)), 100)
    rows, columns = np.nonzero(drawing.mask(0))
    height, width = (rows.max() - rows.min() + 1) / 60, (columns.max() - columns.min() + 1) / 60
    assert max(height, width) > 0.85
    assert height < 1.1
    assert KINDS[kind].width * 0.75 < width < KINDS[kind].width + 0.12
    assert abs(rows.max() + 1 - 90) <= 5


def test_kinds_look_different() -> None:
    """No two kinds share most of their silhouette and their colors."""
    pictures = {
        kind: cv2.resize(
            draw(scene(Thing(kind=kind, color=KINDS[kind].colors[0], x=0.5, y=0.95, size=0.9)), 64).image, (16, 16)
        )
        for kind in KINDS
    }
    names = list(pictures)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            difference = np.abs(pictures[first].astype(float) - pictures[second].astype(float)).mean()
            assert difference > 8, (first, second, difference)


def test_the_same_picture_at_every_size() -> None:
    cat = scene(Thing(kind="cat", color="orange", x=0.4, y=0.9, size=0.5))
    large = cv2.resize(draw(cat, 256).image, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    small = draw(cat, 64).image.astype(float)
    assert np.abs(large - small).mean() < 2.5


def test_a_nearer_thing_hides_a_farther_one() -> None:
    far = Thing(kind="ball", color="red", x=0.5, y=0.7, size=0.5)
    near = Thing(kind="book", color="blue", x=0.5, y=0.9, size=0.5)
    drawing = draw(scene(near, far), 64)
    assert drawing.coverage.sum(axis=0).max() <= 1 + 1e-5
    assert drawing.coverage[1].sum() < draw(scene(far), 64).coverage[0].sum()
    assert np.allclose(drawing.coverage[0], draw(scene(near), 64).coverage[0])


def test_pixels_outside_the_footprints_do_not_change() -> None:
    things = (
        Thing(kind="dog", color="brown", x=0.3, y=0.9, size=0.5),
        Thing(kind="cup", color="red", x=0.7, y=0.8, size=0.4),
    )
    before = scene(*things)
    for after in (removed(before, 0), replaced(before, 0, "elephant", "gray")):
        first, second = draw(before, 64), draw(after, 64)
        footprint = first.footprints[0] | (second.footprints[0] if len(after.things) == 2 else False)
        assert np.array_equal(first.image[~footprint], second.image[~footprint])
        assert not np.array_equal(first.image, second.image)


def test_the_mirror_shows_the_thing_turned_round_and_inside_the_glass() -> None:
    mirror = Mirror(plane=0.5, x0=0.545, y0=0.06, x1=0.955, y1=0.9, arched=True, frame="blue")
    dog = Thing(kind="dog", color="brown", x=0.25, y=0.85, size=0.38)
    drawing = draw(Scene(backdrop=ROOM, things=(dog, reflect(dog, mirror, 0.4)), mirror=mirror), 128)
    own, other = (drawing.coverage[k] for k in range(2))
    assert other[:, : int(0.54 * 128)].sum() == 0
    target = cv2.resize(own[:, ::-1], None, fx=0.86, fy=0.86, interpolation=cv2.INTER_AREA)

    def crop(mask: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(mask > 0.5)
        return cv2.resize(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1], (32, 32))

    assert np.abs(crop(target) - crop(other)).mean() < 0.08
    assert (drawing.stuff == STUFF["mirror-stuff"][0]).mean() > 0.25


def test_every_place_can_be_painted_and_named() -> None:
    known = {number for number, _ in STUFF.values()}
    for walls, grounds in PLACES.values():
        for wall in walls:
            for ground in grounds:
                drawing = draw(
                    Scene(backdrop=Backdrop(wall=wall, ground=ground, horizon=0.42, tint=1, seed=2), things=()), 64
                )
                assert set(np.unique(drawing.stuff)) <= known
                assert drawing.image.std() > 8


def test_colors_are_seen() -> None:
    for color in KINDS["ball"].colors:
        drawing = draw(scene(Thing(kind="ball", color=color, x=0.5, y=0.95, size=0.8)), 64)
        nearest = np.linalg.norm(drawing.image[drawing.mask(0)] - np.array(COLORS[color]), axis=1)
        assert (nearest < 60).mean() > 0.3


def test_articles() -> None:
    assert with_article("orange cat") == "an orange cat"
    assert with_article("blue scissors") == "a pair of blue scissors"
    assert with_article("cup") == "a cup"


def test_catalog_shows_every_kind(tmp_path: Path) -> None:
    write_catalog(tmp_path / "kinds.png", size=32, zoom=2)
    with Image.open(tmp_path / "kinds.png") as sheet:
        assert sheet.size == (6 * 64, 4 * 64)
