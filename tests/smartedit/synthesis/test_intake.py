"""Pictures of every unpleasant sort: what is taken in is upright RGB of a bounded size, and the rest has its reason."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reason_edit.tables import read_rows, write_rows
from smartedit.config.synthesis import PicturesConfig
from smartedit.synthesis.intake import PictureFolderError, difference_hash, hash_distance, picture_id_of, take_in
from smartedit.synthesis.pipeline import prepare
from smartedit.synthesis.records import PictureRow, Rejection
from smartedit.tools.annotations import AnnotatedPicture, AnnotationError, read_coco
from tests.smartedit.synthesis.conftest import DrawnSet
from tests.smartedit.synthesis.drawn import SCENES, draw_scene

CONFIG = PicturesConfig(min_side=64, max_side=256, max_megapixels=4)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One good picture beside a dozen others."""
    out = tmp_path / "pictures"
    out.mkdir()
    picture = draw_scene(SCENES[0], 0)
    picture.save(out / "a good one.png")
    picture.save(out / "b copy.png")
    picture.resize((150, 150)).save(out / "c smaller.jpg", quality=90)
    draw_scene(SCENES[1], 1).convert("CMYK").save(out / "d cmyk.jpg")
    draw_scene(SCENES[2], 2).convert("P").save(out / "e palette.gif")
    draw_scene(SCENES[3], 3).convert("I;16").save(out / "f deep.png")
    draw_scene(SCENES[4], 4).convert("RGBA").save(out / "g alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw_scene(SCENES[5], 5).resize((200, 100)).save(out / "h turned.jpg", exif=exif)
    draw_scene(SCENES[6], 6).resize((1200, 900)).save(out / "i large.jpg")
    frames = [draw_scene(SCENES[n], n) for n in (0, 1)]
    frames[0].save(out / "j animated.gif", save_all=True, append_images=frames[1:])
    (out / "k broken.png").write_bytes((out / "a good one.png").read_bytes()[:3000])
    (out / "l text.jpg").write_text("no picture")
    (out / "m empty.png").touch()
    picture.resize((64, 20)).save(out / "n tiny.png")
    Image.new("1", (4000, 2500)).save(out / "o huge.png")
    (out / "notes.txt").write_text("ignored")
    return out


def test_every_file_ends_as_a_row_or_with_its_reason(folder: Path, tmp_path: Path) -> None:
    rows, rejections = take_in(folder, tmp_path / "run", CONFIG, None)
    assert [r.original[0] for r in rows] == list("adefghi")
    assert {r.key[0]: r.reason for r in rejections} == {
        "b": "duplicate",
        "c": "duplicate",
        "j": "animated",
        "k": "broken",
        "l": "broken",
        "m": "broken",
        "n": "too small",
        "o": "too large",
    }
    assert "a good one.png" in next(r.detail for r in rejections if r.key.startswith("c"))
    for row in rows:
        with Image.open(tmp_path / "run" / row.path) as image:
            assert (image.mode, image.format, image.size) == ("RGB", "PNG", (row.width, row.height))
            assert max(image.size) <= 256
            assert np.asarray(image).std() > 3
    turned = next(r for r in rows if r.original.startswith("h"))
    assert (turned.width, turned.height) == (100, 200)
    assert (turned.original_width, turned.original_height) == (200, 100)


def test_ids_are_plain_and_different(tmp_path: Path) -> None:
    assert picture_id_of("x/000123.png") == picture_id_of("x/000123.png") != picture_id_of("x-000123.png")
    assert picture_id_of("000123.png") == "000123"
    assert picture_id_of("ä ö.png") != picture_id_of("ü ß.png")
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in picture_id_of("ä/.. ö.png"))


def test_hashes_move_with_the_picture() -> None:
    one, other = draw_scene(SCENES[0], 0), draw_scene(SCENES[1], 1)
    assert hash_distance(difference_hash(one), difference_hash(one.resize((90, 90)))) <= CONFIG.duplicate_distance
    assert hash_distance(difference_hash(one), difference_hash(other)) > 8


def test_pictures_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    names = ["cat.bmp", "cat.jpg", "cat.png", "sub/cat.png", "y" * 240 + ".png"]
    for number, name in enumerate(names):
        draw_scene(SCENES[number], number).save(folder / name)
    rows, rejections = take_in(folder, tmp_path / "run", CONFIG, None)
    assert [r.original for r in rows] == names
    assert not rejections
    assert len({r.picture_id.lower() for r in rows}) == len(names)
    for number, row in enumerate(rows):
        with Image.open(tmp_path / "run" / row.path) as kept:
            assert np.abs(np.asarray(kept, dtype=int) - np.asarray(draw_scene(SCENES[number], number))).mean() < 5


def test_what_cannot_be_read_or_named_is_rejected(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    draw_scene(SCENES[0], 0).save(folder / "good.png")
    # A regular file whose reading fails whoever asks, and a name that no table can hold.
    (folder / "unreadable.png").symlink_to("/proc/self/mem")
    named = os.fsencode(folder) + b"/\xff.png"
    try:
        Path(os.fsdecode(named)).write_bytes((folder / "good.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes no such name")
    rows, rejections = take_in(folder, tmp_path / "run", CONFIG, None)
    assert [r.original for r in rows] == ["good.png"]
    assert {r.reason: r.key for r in rejections} == {"broken": "unreadable.png", "unusable name": "\\udcff.png"}
    write_rows(tmp_path / "rejected.parquet", rejections, Rejection)


def test_a_phones_second_picture_is_no_animation(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    first, second = draw_scene(SCENES[0], 0), draw_scene(SCENES[1], 1)
    first.save(folder / "phone.jpg", format="MPO", save_all=True, append_images=[second])
    rows, _ = take_in(folder, tmp_path / "run", CONFIG, None)
    assert hash_distance(rows[0].perceptual_hash, difference_hash(first)) <= 2


def test_sizes_beyond_what_pillow_opens_are_too_large(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("1", (20000, 10000)).save(folder / "huge.png")
    _, (rejection,) = take_in(folder, tmp_path / "run", CONFIG, None)
    assert rejection.reason == "too large"


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureFolderError, match="no such folder"):
        take_in(tmp_path / "none", tmp_path, CONFIG, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PictureFolderError, match=r"no picture in it; looked for \.bmp"):
        take_in(tmp_path / "empty", tmp_path, CONFIG, None)


def test_annotations_must_belong_to_the_file(folder: Path, tmp_path: Path) -> None:
    def annotated(width: int) -> AnnotatedPicture:
        return AnnotatedPicture(file_name="", width=width, height=160, license="CC0", url="u", things=())

    known = {"a good one.png": annotated(160), "d cmyk.jpg": annotated(200)}
    rows, rejections = take_in(folder, tmp_path / "run", CONFIG, known)
    assert [(r.original, r.license, r.url) for r in rows] == [("a good one.png", "CC0", "u")]
    reasons = {r.key[0]: r.reason for r in rejections}
    assert reasons["d"] == "annotated at another size"
    assert reasons["e"] == "not annotated"


def test_annotations_are_for_the_picture_as_it_is_shown(tmp_path: Path) -> None:
    """A large JPEG is decoded at a fraction of its size, and EXIF turns pictures: neither may move annotations."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    known = {}
    turned, halved = Image.Exif(), Image.Exif()
    turned[0x0112], halved[0x0112] = 6, 3
    for number, (name, size, exif, marked) in enumerate(
        [
            ("large", (1200, 900), None, (1200, 900)),
            ("upright", (200, 100), turned, (100, 200)),
            ("stored", (200, 100), turned, (200, 100)),
            ("upside down", (200, 100), halved, (200, 100)),
        ]
    ):
        draw_scene(SCENES[number], number).resize(size).save(folder / f"{name}.jpg", **({"exif": exif} if exif else {}))
        known[f"{name}.jpg"] = AnnotatedPicture(
            file_name="", width=marked[0], height=marked[1], license=None, url=None, things=()
        )
    rows, rejections = take_in(folder, tmp_path / "run", CONFIG, known)
    assert {r.original: (r.original_width, r.original_height, r.width, r.height) for r in rows} == {
        "large.jpg": (1200, 900, 256, 192),
        "upright.jpg": (200, 100, 100, 200),
    }
    assert {r.key: r.reason for r in rejections} == {
        "stored.jpg": "annotated at another size",
        "upside down.jpg": "orientation unclear",
    }


def test_an_annotation_without_a_folder_is_not_shared(tmp_path: Path) -> None:
    for number, name in enumerate(["a/one.png", "b/one.png", "b/two.png"]):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        draw_scene(SCENES[number], number).save(path)
    known = {
        name: AnnotatedPicture(file_name=name, width=160, height=160, license=None, url=None, things=())
        for name in ("one.png", "two.png")
    }
    rows, rejections = take_in(tmp_path / "pictures", tmp_path / "run", CONFIG, known)
    assert [r.original for r in rows] == ["b/two.png"]
    assert {r.reason for r in rejections} == {"not annotated"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not a JSON file"),
        ("[]", "holds a list"),
        ('{"images": []}', "no list 'annotations'"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "file_name"),
        (
            '{"images": [], "annotations": [{"bbox": [1, 2], "category_id": 1}], "categories": []}',
            "not of the COCO form",
        ),
    ],
)
def test_annotation_files_are_checked(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=problem):
        read_coco(path)
    with pytest.raises(AnnotationError, match="no such"):
        read_coco(tmp_path / "none.json")


def test_a_full_disk_loses_nothing(drawn_set: DrawnSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "run"
    saved = Image.Image.save
    count = 0

    def failing(self: Image.Image, *args: object, **options: object) -> None:
        nonlocal count
        count += 1
        if count > 4:
            raise OSError(28, "No space left on device")
        saved(self, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", failing)
        with pytest.raises(OSError, match="No space left"):
            prepare(drawn_set.pictures, root, drawn_set.config())
    assert not (root / "pictures.parquet").exists()
    assert not list(root.rglob("*.tmp-*"))
    prepare(drawn_set.pictures, root, drawn_set.config())
    assert len(read_rows(root / "pictures.parquet", PictureRow)) == len(SCENES)
