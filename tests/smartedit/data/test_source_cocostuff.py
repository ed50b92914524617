from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smartedit.data.examples import Reason
from smartedit.data.locations import SourceError
from smartedit.data.sources import cocostuff
from smartedit.data.sources.cocostuff import read_label_map
from tests.smartedit.data.trees import save_picture, split_rows, write_label_map, write_labels

VALUES = (0, 16, 123, 255)


def add(root: Path, number: int, values: tuple[int, ...] = VALUES, mode: str = "L") -> str:
    stem = f"{number:012d}"
    save_picture(root / "coco/train2017" / f"{stem}.jpg")
    write_label_map(root / "cocostuff/train2017" / f"{stem}.png", values, mode)
    return stem


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_labels(tmp_path / "cocostuff" / "labels.txt")
    add(tmp_path, 9)
    return tmp_path


def test_rows(root: Path) -> None:
    add(root, 25, (255,))
    add(root, 3, (181, 0))
    rows, reasons = split_rows(cocostuff.read(root))
    assert reasons == {}
    assert [row.example_id for row in rows] == [f"cocostuff/train2017/{n:012d}" for n in (3, 9, 25)]
    assert [row.label_ids for row in rows] == [(0, 181), (0, 16, 123), ()]
    assert [row.phrases for row in rows] == [("class1", "class182"), ("class1", "class17", "class124"), ()]
    assert rows[0].mask_rle is None and rows[0].mask_image is not None and rows[0].image is not None
    assert (root / rows[0].mask_image.path).is_file() and (root / rows[0].image.path).is_file()
    assert rows[0].license == "CC-BY-4.0"


def test_a_palette_is_read_by_index_and_not_by_brightness(root: Path) -> None:
    add(root, 1, VALUES, "P")
    path = root / "cocostuff/train2017/000000000001.png"
    assert set(np.unique(read_label_map(path)).tolist()) == set(VALUES)
    rows, _ = split_rows(cocostuff.read(root))
    assert rows[0].label_ids == rows[1].label_ids == (0, 16, 123)


def test_stuff_only_maps_have_ids_that_are_not_shifted(root: Path) -> None:
    add(root, 1, (92, 124, 182, 183), "P")
    rows, reasons = split_rows(cocostuff.read(root))
    assert reasons == {}
    assert rows[0].label_ids == (92, 124, 182)
    assert rows[0].phrases == ("class92", "class124", "class182")


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (9, 8), (37, 41), (64, 80)])
def test_every_value_of_a_map_is_seen(tmp_path: Path, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    for number in range(60):
        labels = np.full(shape, rng.integers(256), np.uint8)
        for _ in range(rng.integers(6)):  # a box, down to one pixel, anywhere
            y, x = rng.integers(shape[0]), rng.integers(shape[1])
            labels[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = rng.integers(256)
        path = tmp_path / f"{number}.png"
        Image.fromarray(labels).save(path)
        assert cocostuff.scan_label_map(path) == (np.unique(labels).tolist(), shape)


def test_every_fault_has_its_reason(root: Path) -> None:
    expected = {
        add(root, 1, VALUES, "RGB"): Reason.LABEL_MAP_MODE,
        add(root, 2, (0, 182)): Reason.LABEL_VALUE,
        add(root, 3, (0, 254)): Reason.LABEL_VALUE,
        add(root, 4, (183, 5)): Reason.LABEL_VALUE,
        add(root, 5): Reason.MISSING_IMAGE,
        add(root, 6): Reason.MISSING_ANNOTATION,
        add(root, 7): Reason.SIZE_MISMATCH,
        add(root, 8): Reason.UNREADABLE_IMAGE,
        add(root, 10): Reason.UNREADABLE_IMAGE,
        add(root, 11): Reason.UNREADABLE_IMAGE,
        add(root, 12): Reason.UNREADABLE_IMAGE,
        add(root, 13, VALUES, "P"): Reason.UNREADABLE_IMAGE,
    }
    (root / "coco/train2017/000000000005.jpg").unlink()
    (root / "cocostuff/train2017/000000000006.png").unlink()
    save_picture(root / "coco/train2017/000000000007.jpg", (7, 7))
    (root / "coco/train2017/000000000008.jpg").write_bytes(b"")
    path = root / "cocostuff/train2017/000000000010.png"
    path.write_bytes(path.read_bytes()[:60])
    (root / "cocostuff/train2017/000000000011.png").write_bytes(b"x")
    path = root / "cocostuff/train2017/000000000012.png"
    content = bytearray(path.read_bytes())
    content[content.index(b"IEND") - 5] ^= 1  # of the checksum of the pixels
    path.write_bytes(content)
    path = root / "cocostuff/train2017/000000000013.png"
    path.write_bytes(path.read_bytes()[:-40])
    rows, reasons = split_rows(cocostuff.read(root))
    assert [row.example_id for row in rows] == ["cocostuff/train2017/000000000009"]
    assert reasons == expected


@pytest.mark.parametrize("labels", ["labels.txt", "cocostuff/ft_local/coco_stuff_labels.txt", "cocostuff/labels.txt"])
@pytest.mark.parametrize("maps", ["cocostuff/train2017", "coco-stuff/annotations/train2017", "train2017"])
def test_layouts(tmp_path: Path, labels: str, maps: str) -> None:
    write_labels(tmp_path / labels)
    save_picture(tmp_path / "coco/train2017/000000000009.jpg")
    write_label_map(tmp_path / maps / "000000000009.png", VALUES)
    found = cocostuff.locate(tmp_path, "train2017")
    assert str(tmp_path / maps) in found.layout and str(tmp_path / labels) in found.layout
    assert found.total == 1 and found.label_names[123] == "class124"
    assert len(split_rows(found.rows())[0]) == 1


def test_folders_may_be_named_apart(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    save_picture(other / "000000000009.jpg")
    labels = other / "names.txt"
    labels.write_text("0: unlabeled\n1: one\n17: seventeen\n124: many\n")
    rows, _ = split_rows(cocostuff.read(root / "cocostuff/train2017", "train2017", image_root=other, labels=labels))
    assert rows[0].phrases == ("one", "seventeen", "many")


@pytest.mark.parametrize("content", ["", "person\n", "one: person\n"])
def test_labels_that_are_none(root: Path, content: str) -> None:
    (root / "cocostuff/labels.txt").write_text(content)
    with pytest.raises(SourceError, match=r"labels\.txt"):
        list(cocostuff.read(root))


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no COCO-Stuff label maps of 'val2017'"):
        list(cocostuff.read(tmp_path, "val2017"))
    write_label_map(tmp_path / "train2017/000000000009.png", VALUES)
    with pytest.raises(SourceError, match=r"no labels\.txt"):
        list(cocostuff.read(tmp_path))
    write_labels(tmp_path / "labels.txt")
    with pytest.raises(SourceError, match="no pictures found"):
        list(cocostuff.read(tmp_path))


def test_the_coding_can_be_stated(root: Path) -> None:
    add(root, 1, (92, 124))
    by_coding = {c: split_rows(cocostuff.read(root, coding=c))[0][0].phrases for c in ("auto", "stuffthing", "stuff")}
    assert by_coding["auto"] == by_coding["stuffthing"] == ("class93", "class125")
    assert by_coding["stuff"] == ("class92", "class124")
