import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from smartedit.data.examples import Reason, Task
from smartedit.data.locations import SourceError
from smartedit.data.masks import area, decode_mask
from smartedit.data.sources import grefcoco, refer
from tests.smartedit.data.trees import (
    coco_instances,
    reference,
    save_json,
    save_picture,
    split_rows,
    write_coco_pictures,
    write_refer,
)

REFERENCES = [
    reference(0, 11, ["the person", "left one"]),
    reference(1, 12, ["two overlapping parts"]),
    reference(2, 21, ["elsewhere"], image_id=2),
    reference(3, 16, ["run lengths"]),
    reference(4, 11, ["val"], split="val"),
    reference(5, 11, ["A"], split="testA"),
    reference(6, 11, ["B"], split="testB"),
]
FAULTY = [
    (reference(20, 11, []), Reason.EMPTY_TEXT),
    (reference(21, 11, ["  "]), Reason.EMPTY_TEXT),
    (reference(22, 14, ["two points"]), Reason.BAD_POLYGON),
    (reference(23, 15, ["no polygon"]), Reason.EMPTY_MASK),
    (reference(24, 17, ["too short"]), Reason.BAD_RLE),
    (reference(25, 18, ["a single point"]), Reason.EMPTY_MASK),
    (reference(26, 999, ["no such object"]), Reason.MISSING_ANNOTATION),
    (reference(27, 11, ["no such picture"], image_id=3), Reason.MISSING_IMAGE),
    (reference(28, 11, ["no such image id"], image_id=77), Reason.MISSING_ANNOTATION),
    ({**reference(29, 11, ["x"]), "sentences": None}, Reason.MISSING_FIELD),
    ({**reference(30, 11, ["x"]), "ann_id": None}, Reason.MISSING_ANNOTATION),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_coco_pictures(tmp_path)
    write_refer(tmp_path / "refer_seg", "refcoco", "unc", REFERENCES)
    return tmp_path


def test_rows_of_refcoco(root: Path) -> None:
    rows, reasons = split_rows(refer.read(root / "refer_seg"))
    assert reasons == {}
    assert [row.example_id for row in rows] == [f"refcoco/unc/train/{i}" for i in range(4)]
    first = rows[0]
    assert (first.task, first.phrases, first.category) == (Task.SEGMENT, ("the person", "left one"), "person")
    assert first.image is not None and (root / "refer_seg" / first.image.path).is_file()
    assert first.image.path.endswith("COCO_train2014_000000000001.jpg")
    assert first.mask_rle is not None and area(first.mask_rle) == 100
    assert first.split == "train" and first.license and "Flickr" in first.terms


def test_overlap_of_parts(root: Path) -> None:
    rle = split_rows(refer.read(root))[0][1].mask_rle
    assert rle is not None and area(rle) == 150
    lossy = split_rows(refer.read(root, overlap="smartedit"))[0][1].mask_rle
    assert lossy is not None and area(lossy) == 100


@pytest.mark.parametrize(("split", "ids"), [("val", [4]), ("testA", [5]), ("testB", [6]), ("test", [5, 6])])
def test_splits(root: Path, split: str, ids: list[int]) -> None:
    rows, _ = split_rows(refer.read(root, split))
    assert [int(row.example_id.rpartition("/")[2]) for row in rows] == ids


def test_a_split_that_is_not_there_is_named(root: Path) -> None:
    with pytest.raises(SourceError, match=r"no reference is of split 'testC'; it holds .*testA"):
        list(refer.read(root, "testC"))


@pytest.mark.parametrize(
    ("dataset", "split_by"), [("refcoco", "google"), ("refcoco+", "unc"), ("refcocog", "umd"), ("refcocog", "google")]
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_data_sets_splits_and_pickle_protocols(tmp_path: Path, dataset: str, split_by: str, protocol: int) -> None:
    write_coco_pictures(tmp_path)
    write_refer(tmp_path, dataset, split_by, REFERENCES, protocol)
    rows, _ = split_rows(refer.read(tmp_path, dataset=dataset, split_by=split_by))
    assert len(rows) == 4
    assert rows[0].example_id == f"{dataset}/{split_by}/train/0"


@pytest.mark.parametrize("where", [".", "refcoco", "refcoco/refcoco", "refer_seg/refcoco", "coco_2014/refcoco"])
@pytest.mark.parametrize("pictures", ["train2014", "coco/train2014", "images/mscoco/images/train2014"])
def test_layouts_of_annotations_and_pictures(tmp_path: Path, where: str, pictures: str) -> None:
    written = write_refer(tmp_path / "written", "refcoco", "unc", REFERENCES)
    (tmp_path / "root" / where).parent.mkdir(parents=True, exist_ok=True)
    if where == ".":
        written.rename(tmp_path / "root")
    else:
        written.rename(tmp_path / "root" / where)
    for number in (1, 2):
        save_picture(tmp_path / "root" / pictures / f"COCO_train2014_{number:012d}.jpg")
    found = refer.locate(tmp_path / "root", "train")
    assert f"pictures in {tmp_path / 'root' / pictures}" in found.layout
    assert len(split_rows(found.rows())[0]) == 4


def test_picture_folder_anywhere(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("pictures")
    for number in (1, 2):
        save_picture(elsewhere / f"COCO_train2014_{number:012d}.jpg")
    found = refer.locate(root, "train", image_root=elsewhere)
    assert str(elsewhere) in found.layout


def test_every_fault_has_its_reason_and_stops_nothing(root: Path) -> None:
    references = [*(r for r, _ in FAULTY), *REFERENCES, "no dict"]
    (root / "refer_seg/refcoco/refs(unc).p").write_bytes(pickle.dumps(references))
    rows, reasons = split_rows(refer.read(root))
    assert len(rows) == 4
    assert reasons == {str(r["ref_id"]): reason for r, reason in FAULTY} | {"#18": Reason.BAD_RECORD}


@pytest.mark.parametrize("content", ["{", "[]", '{"images": []}', '{"images": [{}], "annotations": []}'])
def test_broken_instances_end_the_source_with_the_file(root: Path, content: str) -> None:
    (root / "refer_seg/refcoco/instances.json").write_text(content)
    with pytest.raises(SourceError, match=r"instances\.json"):
        list(refer.read(root))


def test_missing_pieces_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        list(refer.read(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match=r"holds no refs\(unc\)\.p with instances\.json; tried"):
        list(refer.read(tmp_path))
    write_refer(tmp_path, "refcoco", "unc", REFERENCES)
    with pytest.raises(SourceError, match="no pictures found"):
        list(refer.read(tmp_path))


def gref(ref_id: int, ann_id: object, texts: list[str], **fields: object) -> dict[str, object]:
    none = ann_id == [-1]
    return {**reference(ref_id, ann_id, texts), "category_id": [-1] if none else [1], "no_target": none, **fields}


GREFERENCES = [
    gref(0, [11], ["one"]),
    gref(1, [11, 12], ["two", "both"], category_id=[1, 17]),
    gref(2, [-1], ["none"]),
    gref(3, 11, ["a bare number"], category_id=1),
    gref(4, [11, 13], ["one and a crowd"]),
    gref(5, [11], ["val"], split="val"),
]
FAULTY_GREFERENCES = [
    (gref(20, [12], []), Reason.EMPTY_TEXT),
    (gref(21, [13], ["crowds only"]), Reason.ALL_CROWD),
    (gref(22, [11, 14], ["a bad polygon"]), Reason.BAD_POLYGON),
    (gref(23, [15], ["no polygon"]), Reason.EMPTY_MASK),
    (gref(24, [], ["no list"]), Reason.MISSING_FIELD),
    (gref(25, [11], ["contradiction"], no_target=True), Reason.BAD_RECORD),
    (gref(26, [999], ["no such object"]), Reason.MISSING_ANNOTATION),
    (gref(27, [11], ["no picture"], image_id=3), Reason.MISSING_IMAGE),
]


@pytest.fixture
def groot(tmp_path: Path) -> Path:
    write_coco_pictures(tmp_path)
    save_json(tmp_path / "grefcoco/grefs(unc).json", [*(r for r, _ in FAULTY_GREFERENCES), *GREFERENCES])
    save_json(tmp_path / "grefcoco/instances.json", coco_instances())
    return tmp_path


def test_rows_of_grefcoco(groot: Path) -> None:
    rows, reasons = split_rows(grefcoco.read(groot))
    assert reasons == {str(r["ref_id"]): reason for r, reason in FAULTY_GREFERENCES}
    areas = {row.example_id.rpartition("/")[2]: area(row.mask_rle) for row in rows if row.mask_rle}
    assert areas == {"0": 100, "1": 250, "2": 0, "3": 100, "4": 100}
    assert [row.category for row in rows] == ["person", None, "no_target", "person", "person"]
    none = rows[2].mask_rle
    assert none is not None and not np.any(decode_mask(none))


def test_the_pickle_comes_first(groot: Path) -> None:
    (groot / "grefcoco/grefs(unc).p").write_bytes(pickle.dumps([gref(9, [11], ["pickled"])]))
    rows, _ = split_rows(grefcoco.read(groot))
    assert [row.phrases for row in rows] == [("pickled",)]


def test_grefcoco_has_no_split_test(groot: Path) -> None:
    with pytest.raises(SourceError, match=r"no split 'test'; its splits are train, val, testA, testB"):
        list(grefcoco.read(groot, "test"))
    assert len(split_rows(grefcoco.read(groot, "val"))[0]) == 1
    with pytest.raises(SourceError, match="no reference is of split 'testA'"):
        list(grefcoco.read(groot, "testA"))


def test_grefcoco_that_is_no_list(groot: Path) -> None:
    (groot / "grefcoco/grefs(unc).json").write_text(json.dumps({"refs": []}))
    with pytest.raises(SourceError, match="a list of references was expected"):
        list(grefcoco.read(groot))
