from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from smartedit.config.sources import ReasonsegSource
from smartedit.data.decoding import Decoder, DecodingRules, Visit
from smartedit.data.examples import Reason, Task
from smartedit.data.locations import SourceError
from smartedit.data.masks import area, decode_mask
from smartedit.data.pictures import PictureStore
from smartedit.data.segmentation import Painting
from smartedit.data.sources import explanatory, reasonseg
from smartedit.data.sources.origins import origin
from smartedit.data.sources.registry import find_source
from tests.smartedit.data.trees import HEIGHT, WIDTH, box, save_json, save_picture, shape, split_rows, write_reasonseg

LARGE, SMALL = box("target", 2, 2, 20, 20), box("ignore", 10, 10, 15, 15)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ReasonSeg" / "train"


def read_one(folder: Path, stem: str = "a", **options: object) -> tuple[np.ndarray, np.ndarray | None]:
    rows, reasons = split_rows(reasonseg.read(folder.parent, "train", **options))  # type: ignore[arg-type]
    assert reasons == {}
    row = next(row for row in rows if row.example_id.endswith(stem))
    assert row.mask_rle is not None and row.task is Task.SEGMENT
    return decode_mask(row.mask_rle), decode_mask(row.ignore_rle) if row.ignore_rle else None


def test_a_smaller_ignored_region_lies_on_the_target_in_whatever_order(folder: Path) -> None:
    flag = box("flag", 0, 0, 39, 29)
    for shapes in ([LARGE, SMALL, flag], [flag, SMALL, LARGE]):
        write_reasonseg(folder, "a", shapes)
        mask, ignored = read_one(folder)
        expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
        expected[2:21, 2:21] = True
        expected[10:16, 10:16] = False
        assert np.array_equal(mask, expected)
        assert ignored is not None and ignored.sum() == 36


def test_a_smaller_target_lies_on_the_ignored_region(folder: Path) -> None:
    write_reasonseg(folder, "a", [box("Ignore_this", 2, 2, 20, 20), box("target", 10, 10, 15, 15)])
    mask, ignored = read_one(folder)
    assert mask.sum() == 36
    assert ignored is not None and ignored.sum() == 19 * 19 - 36


def test_points_outside_are_clipped_and_fractions_cut(folder: Path) -> None:
    write_reasonseg(folder, "a", [box("target", -50.9, 20.7, 1e9, 22.2)])
    mask, ignored = read_one(folder)
    expected = np.zeros((HEIGHT, WIDTH), dtype=bool)
    expected[20:23] = True
    assert np.array_equal(mask, expected) and ignored is None


def save_turned(path: Path, orientation: int) -> None:
    """Half black, half white as it is stored, with an EXIF note."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:, WIDTH // 2 :] = 255
    Image.fromarray(pixels).save(path, exif=exif, quality=95)


@pytest.mark.parametrize(("orientation", "upright"), [(3, (WIDTH, HEIGHT)), (6, (HEIGHT, WIDTH)), (8, (HEIGHT, WIDTH))])
def test_shapes_lie_on_the_picture_as_its_exif_note_turns_it(
    folder: Path, orientation: int, upright: tuple[int, int]
) -> None:
    write_reasonseg(folder, "a", [])
    save_turned(folder / "a.jpg", orientation)
    lit = ImageOps.exif_transpose(Image.open(folder / "a.jpg")).point(lambda value: value >= 128 and 255)
    x0, y0, x1, y1 = lit.getbbox() or (0, 0, 0, 0)
    save_json(folder / "a.json", {"text": ["What is lit?"], "shapes": [box("target", x0, y0, x1 - 1, y1 - 1)]})
    (row,), reasons = split_rows(reasonseg.read(folder, shared=origin("reasonseg", "reasonseg", "train", folder)))
    assert reasons == {} and row.mask_rle is not None
    assert (row.mask_rle.width, row.mask_rle.height) == upright
    decoder = Decoder(store=PictureStore(folder), kinds={"reasonseg": "reasonseg"}, rules=DecodingRules(side=32))
    painting = Painting(instruction="paint", color="red", phrase=None)
    decoded = decoder.decode(row, Visit(painting=painting))
    assert decoded.seen.size == upright
    assert decoded.source is not None and decoded.target is not None
    painted = (decoded.source != decoded.target).any(axis=2)
    assert 480 <= painted.sum() <= 544
    assert np.median(decoded.source[painted]) > 240 and np.median(decoded.source[~painted]) < 15


def test_mask_pictures_may_be_drawn_upright_or_as_the_picture_is_stored(folder: Path, tmp_path: Path) -> None:
    write_reasonseg(folder, "a", [])
    save_turned(folder / "a.jpg", 6)
    for name, size in {"stored": (WIDTH, HEIGHT), "upright": (HEIGHT, WIDTH)}.items():
        (tmp_path / name).mkdir()
        Image.new("L", size, 255).save(tmp_path / name / "a.png")
        mask, _ = read_one(folder, mask_root=tmp_path / name)
        assert mask.shape == size[::-1]


def test_questions_phrases_and_names(folder: Path) -> None:
    write_reasonseg(folder, "a", [LARGE], text=["Why?", "How?"], is_sentence=True)
    write_reasonseg(folder, "b", [LARGE], "cp1252", text="the box \u2013 left", is_sentence=False)
    write_reasonseg(folder, "c", [LARGE], text=["Which one?"], is_sentence=False, Name=" Pumpkin ")
    rows, reasons = split_rows(reasonseg.read(folder.parent.parent))
    assert reasons == {}
    texts = [(row.instructions, row.phrases) for row in rows]
    assert texts == [(("Why?", "How?"), ()), ((), ("the box \u2013 left",)), (("Which one?",), ("Pumpkin",))]


def test_mask_pictures_instead_of_shapes(folder: Path, tmp_path: Path) -> None:
    save_json(folder / "a.json", {"text": ["What?"], "Name": "box"})
    picture = save_picture(tmp_path / "pictures" / "a.jpg")
    with Image.open(picture) as opened:
        assert opened.size == (WIDTH, HEIGHT)
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[5:15, 5:25], values[5, 5:25] = 255, 200
    (tmp_path / "masks").mkdir()
    Image.fromarray(values).save(tmp_path / "masks" / "a.png")
    options: dict[str, Any] = {"image_root": tmp_path / "pictures", "mask_root": tmp_path / "masks"}
    assert read_one(folder, **options)[0].sum() == 200
    assert read_one(folder, **options, mask_threshold=255)[0].sum() == 180
    with pytest.raises(SourceError, match="mask_threshold is 0"):
        list(reasonseg.read(folder, mask_threshold=0))


def test_every_fault_has_its_reason(folder: Path, tmp_path: Path) -> None:
    write_reasonseg(folder, "good", [LARGE])
    write_reasonseg(folder, "points", [shape("target", (1, 1), (5, 5))])
    write_reasonseg(folder, "words", [{"label": "target", "points": [["a", "b"], [1, 2], [3, 4]]}])
    write_reasonseg(folder, "ragged", [{"label": "target", "points": [[1], [1, 2], [3, 4]]}])
    write_reasonseg(folder, "label", [{"points": [[1, 2], [3, 4], [5, 6]]}])
    write_reasonseg(folder, "flags", [box("flag", 1, 1, 9, 9)])
    write_reasonseg(folder, "none", [])
    write_reasonseg(folder, "text", [LARGE], text=[" "])
    save_json(folder / "shapes.json", {"text": ["x"]})
    save_picture(folder / "shapes.jpg")
    save_json(folder / "list.json", [1])
    save_picture(folder / "list.jpg")
    save_json(folder / "alone.json", {"text": ["x"], "shapes": []})
    save_picture(folder / "unlabeled.jpg")
    (folder / "broken.json").write_text("{")
    save_picture(folder / "broken.jpg")
    write_reasonseg(folder, "picture", [LARGE])
    (folder / "picture.jpg").write_bytes(b"no picture")
    rows, reasons = split_rows(reasonseg.read(tmp_path))
    assert [row.example_id for row in rows] == ["reasonseg/train/good"]
    assert reasons == {
        "points": Reason.BAD_POLYGON,
        "words": Reason.BAD_POLYGON,
        "ragged": Reason.BAD_POLYGON,
        "label": Reason.MISSING_FIELD,
        "flags": Reason.EMPTY_MASK,
        "none": Reason.EMPTY_MASK,
        "text": Reason.EMPTY_TEXT,
        "shapes": Reason.MISSING_FIELD,
        "list": Reason.BAD_RECORD,
        "alone": Reason.MISSING_IMAGE,
        "unlabeled": Reason.MISSING_ANNOTATION,
        "broken": Reason.BAD_JSON,
        "picture": Reason.UNREADABLE_IMAGE,
    }


def test_faults_of_mask_pictures(folder: Path, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    for stem in ("none", "size", "bytes", "black"):
        write_reasonseg(folder, stem, [LARGE])
    save_picture(masks / "size.png", (3, 3))
    (masks / "bytes.png").write_bytes(b"x")
    Image.new("L", (WIDTH, HEIGHT)).save(masks / "black.png")
    rows, reasons = split_rows(reasonseg.read(folder, mask_root=masks))
    assert rows == []
    assert reasons == {
        "none": Reason.MISSING_ANNOTATION,
        "size": Reason.SIZE_MISMATCH,
        "bytes": Reason.UNREADABLE_IMAGE,
        "black": Reason.EMPTY_MASK,
    }


@pytest.mark.parametrize("where", ["ReasonSeg/val", "reason_seg/ReasonSeg/val", "reason_seg/val", "val"])
def test_layouts(tmp_path: Path, where: str) -> None:
    write_reasonseg(tmp_path / where, "a", [LARGE])
    assert str(tmp_path / where) in reasonseg.locate(tmp_path, "val").layout
    rows, _ = split_rows(reasonseg.read(tmp_path, "val"))
    assert [row.example_id for row in rows] == ["reasonseg/val/a"]
    assert area(rows[0].mask_rle) == 361  # type: ignore[arg-type]


def test_no_such_split(folder: Path, tmp_path: Path) -> None:
    write_reasonseg(folder, "a", [LARGE])
    with pytest.raises(SourceError, match="holds no ReasonSeg split 'test'"):
        list(reasonseg.read(tmp_path, "test"))


def test_answers_in_words(folder: Path, tmp_path: Path) -> None:
    save_picture(folder / "a.jpg")
    good = {"image": "a.jpg", "json": "a.json", "query": "Which?", "outputs": "This one, because."}
    bad = [{**good, "image": "b.jpg"}, {**good, "image": "../a.jpg"}, {**good, "outputs": " "}, {"image": "a.jpg"}, 5]
    save_json(tmp_path / "ReasonSeg/explanatory/train.json", [good, *bad])
    rows, reasons = split_rows(explanatory.read(tmp_path))
    assert [row.task for row in rows] == [Task.ANSWER]
    assert [turn.text for turn in rows[0].conversation] == ["<image>\nWhich?", "This one, because."]
    assert rows[0].image is not None and rows[0].image.path == "ReasonSeg/train/a.jpg"
    assert list(reasons.values()) == [
        Reason.MISSING_IMAGE,
        Reason.PATH_OUTSIDE_ROOT,
        Reason.EMPTY_TEXT,
        Reason.MISSING_FIELD,
        Reason.BAD_RECORD,
    ]
    with pytest.raises(SourceError, match=r"holds no ReasonSeg explanatory/train\.json"):
        list(explanatory.read(folder))


def test_answers_in_words_are_a_split_of_the_configuration(folder: Path, tmp_path: Path) -> None:
    save_picture(folder / "a.jpg")
    save_json(
        tmp_path / "ReasonSeg/explanatory/train.json", [{"image": "a.jpg", "query": "Which?", "outputs": "This."}]
    )
    config = ReasonsegSource(kind="reasonseg", root=Path("."), split="explanatory")
    found = find_source("words", config, tmp_path)
    rows, _ = split_rows(found.rows())
    assert [row.example_id for row in rows] == ["words/explanatory/0000"]
    assert found.layout == "ReasonSeg: answers in ReasonSeg/explanatory/train.json, pictures in ReasonSeg/train"
