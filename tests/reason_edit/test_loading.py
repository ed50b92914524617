import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from reason_edit.checking import check_reason_edit, dataset_fingerprint
from reason_edit.index import write_index
from reason_edit.loading import ImageError, load_reason_edit, read_image, read_mask
from reason_edit.problems import DatasetError, ProblemKind
from reason_edit.released_layout import category_of, split_line
from reason_edit.schema import Category, Scenario
from tests.reason_edit.folders import SMALL, draw, write_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "set")


def kinds(path: Path) -> list[ProblemKind]:
    return [p.kind for p in check_reason_edit(path).problems]


def test_reads_the_authors_layout(folder: Path) -> None:
    samples = load_reason_edit(folder)
    assert len(samples) == sum(map(len, SMALL.values()))
    first = samples[0]
    assert (first.sample_id, first.stem, first.category) == ("left_right/001", "001", Category.LEFT_RIGHT)
    assert (first.instruction, first.target_label) == ("Change thing 001 to a pear.", "a pear 001")
    assert first.image.is_file() and first.mask.is_file()
    assert samples[-1].category.scenario is Scenario.REASONING
    assert kinds(folder) == []


def test_lines_belong_to_files_in_lexicographic_order(tmp_path: Path) -> None:
    stems = [str(n) for n in range(1, 12)]
    folder = write_folder(tmp_path / "set", {Category.COLOR: stems})
    for sample in load_reason_edit(folder):
        assert sample.target_label == f"a pear {sample.stem}"
        assert sample.mask.name == f"{sample.stem}_mask.jpg"


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("1-Left-Right", Category.LEFT_RIGHT),
        ("6-Reasoning-231115", Category.REASONING),
        ("left_right", Category.LEFT_RIGHT),
        ("LeftRight", Category.LEFT_RIGHT),
        ("MultipleObjects", Category.MULTIPLE_OBJECTS),
        ("7-Add-supp", Category.ADD_SUPPLEMENT),
        ("pictures", None),
    ],
)
def test_folder_names(name: str, category: Category | None) -> None:
    assert category_of(name) is category


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Remove it. CLIP: a wall", ("Remove it.", "a wall")),
        ("Remove it.   CLIP: a wall  ", ("Remove it.", "a wall")),
        ("Remove it.CLIP:a wall", ("Remove it.", "a wall")),
        ("Remove the clipper", ("Remove the clipper", None)),
        ("Remove it. CLIP: ", ("Remove it.", "")),
        ("Remove it. CLIP: a wall CLIP: a floor", ("Remove it.", "a wall")),
    ],
)
def test_lines(line: str, expected: tuple[str, str | None]) -> None:
    assert split_line(line) == expected


def test_the_extra_folder_is_seen_and_left_out(folder: Path) -> None:
    write_folder(folder, {Category.ADD_SUPPLEMENT: ["001"]})
    found = check_reason_edit(folder)
    assert found.left_out == 1 and found.problems == []
    assert all(s.category is not Category.ADD_SUPPLEMENT for s in found.samples)
    assert len(load_reason_edit(folder, [Category.ADD_SUPPLEMENT])) == 1


def test_text_of_other_encodings(folder: Path) -> None:
    text = folder / "4-Color" / "Color_text.txt"
    text.write_bytes("\ufeffMake the café red. CLIP: a café\r\n\r\n".encode())
    assert load_reason_edit(folder, [Category.COLOR])[0].instruction == "Make the café red."
    text.write_bytes("Make the café red. CLIP: a café".encode("cp1252"))
    assert load_reason_edit(folder, [Category.COLOR])[0].target_label == "a café"


def spoil_count(folder: Path) -> None:
    (folder / "1-Left-Right" / "Left_Right_text.txt").write_text("One line. CLIP: one")


def spoil_mask(folder: Path) -> None:
    (folder / "1-Left-Right" / "001_mask.jpg").unlink()


def spoil_image(folder: Path) -> None:
    (folder / "1-Left-Right" / "001.png").unlink()


def spoil_line(folder: Path) -> None:
    (folder / "4-Color" / "Color_text.txt").write_text("Make the cup red.")


def spoil_text(folder: Path) -> None:
    (folder / "4-Color" / "second.txt").write_text("x CLIP: y")


def spoil_duplicate(folder: Path) -> None:
    draw(1).save(folder / "4-Color" / "001.jpg")


@pytest.mark.parametrize(
    ("spoil", "kind", "named"),
    [
        (spoil_count, ProblemKind.LINE_COUNT, "1-Left-Right"),
        (spoil_mask, ProblemKind.MISSING_MASK, "1-Left-Right/001.png"),
        (spoil_image, ProblemKind.MISSING_IMAGE, "1-Left-Right/001_mask.jpg"),
        (spoil_line, ProblemKind.LINE_WITHOUT_LABEL, "4-Color/Color_text.txt:1"),
        (spoil_text, ProblemKind.TEXT_FILE, "4-Color"),
        (spoil_duplicate, ProblemKind.DUPLICATE, "4-Color/001"),
    ],
)
def test_what_cannot_be_paired_is_an_error(folder: Path, spoil, kind: ProblemKind, named: str) -> None:
    spoil(folder)
    with pytest.raises(DatasetError) as caught:
        load_reason_edit(folder)
    assert kind in [p.kind for p in caught.value.problems]
    assert named in str(caught.value)
    assert kind in kinds(folder)


def test_check_finds_everything_at_once(folder: Path) -> None:
    Image.new("L", (48, 32)).save(folder / "1-Left-Right" / "001_mask.jpg")
    inverted = Image.new("L", (48, 32), 255)
    inverted.paste(0, (20, 10, 30, 20))
    inverted.save(folder / "1-Left-Right" / "002_mask.jpg", quality=100)
    Image.new("L", (24, 16), 255).save(folder / "2-Relative-Size" / "001_mask.jpg")
    content = (folder / "3-Mirror" / "001.png").read_bytes()
    (folder / "3-Mirror" / "001.png").write_bytes(content[: len(content) // 2])
    draw(5).save(folder / "4-Color" / "001.png", format="JPEG")
    draw(6).convert("RGBA").save(folder / "5-Multiple-Objects" / "001.png")
    (folder / "6-Reasoning" / "notes.md").write_text("x")
    (folder / "unknown").mkdir()
    (folder / "6-Reasoning" / "Reason_test.txt").write_text("Same. CLIP: a\nSame. CLIP: a")
    (folder / "6-Reasoning" / "002.png").write_bytes((folder / "6-Reasoning" / "001.png").read_bytes())
    assert set(kinds(folder)) == {
        ProblemKind.EMPTY_MASK,
        ProblemKind.INVERTED_MASK,
        ProblemKind.FULL_MASK,
        ProblemKind.SIZE_DIFFERS,
        ProblemKind.BROKEN_IMAGE,
        ProblemKind.WRONG_FORMAT,
        ProblemKind.UNUSUAL_MODE,
        ProblemKind.EXTRA_FILE,
        ProblemKind.UNKNOWN_FOLDER,
        ProblemKind.DUPLICATE,
    }


def test_index_and_fingerprint(folder: Path, tmp_path: Path) -> None:
    samples = load_reason_edit(folder)
    index = tmp_path / "elsewhere" / "index.parquet"
    write_index(index, samples)
    again = load_reason_edit(index)
    assert [s.sample_id for s in again] == [s.sample_id for s in samples]
    assert dataset_fingerprint(again) == dataset_fingerprint(samples)
    (folder / "4-Color" / "001.png").unlink()
    with pytest.raises(DatasetError, match="color/001"):
        load_reason_edit(index)


@pytest.mark.parametrize("form", ["save_to_disk", "parquet", "one file"])
def test_hugging_face_datasets(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("SMARTEDIT_CACHE", str(tmp_path / "cache"))
    samples = load_reason_edit(folder)
    rows = [
        {
            "sample_id": s.sample_id,
            "category": s.category.value,
            "instruction": s.instruction,
            "target_label": s.target_label,
            "image": {"bytes": s.image.read_bytes(), "path": None},
            "mask": {"bytes": s.mask.read_bytes(), "path": None},
        }
        for s in samples
    ]
    features = datasets.Features(
        {c: datasets.Value("string") for c in ("sample_id", "category", "instruction", "target_label")}
        | {"image": datasets.Image(), "mask": datasets.Image()}
    )
    saved = datasets.Dataset.from_list(rows, features=features)
    out = tmp_path / "hub"
    if form == "save_to_disk":
        saved.save_to_disk(out)
    else:
        (out / "data").mkdir(parents=True)
        saved.to_parquet(out / "data" / "test-00000-of-00001.parquet")
        if form == "one file":
            out = out / "data" / "test-00000-of-00001.parquet"
    assert dataset_fingerprint(load_reason_edit(out)) == dataset_fingerprint(samples)
    assert check_reason_edit(out).problems == []
    rows[0]["mask"] = {"bytes": b"no picture", "path": None}
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "spoiled.parquet")
    (problem,) = check_reason_edit(tmp_path / "spoiled.parquet").problems
    assert problem.kind is ProblemKind.BROKEN_IMAGE and problem.where.startswith(samples[0].sample_id)


def test_a_table_without_the_columns_is_named(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    datasets.Dataset.from_dict({"picture": ["a"]}).to_parquet(tmp_path / "hub" / "x.parquet")
    with pytest.raises(DatasetError, match="no column sample_id"):
        load_reason_edit(tmp_path / "hub")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file or folder"):
        load_reason_edit(tmp_path / "nowhere")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK", "P", "I;16", "1", "LA"])
def test_every_mode_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    picture = draw(1)
    path = tmp_path / f"picture.{'tif' if mode == 'CMYK' else 'png'}"
    if mode == "I;16":
        Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257).save(path)
    else:
        picture.convert(mode).save(path)
    read = read_image(path)
    assert read.mode == "RGB" and read.size == picture.size
    if mode in ("I;16", "L"):
        assert np.array_equal(np.asarray(read)[..., 0], np.asarray(picture.convert("L")))


def test_pictures_are_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(1).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (32, 48)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_broken_pictures_are_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.png"
    if content is None:
        buffer = io.BytesIO()
        draw(1).save(buffer, format="PNG")
        content = buffer.getvalue()[:200]
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"broken\.png: cannot be decoded"):
        read_image(path)


def test_masks_are_cut_at_half(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png").tolist() == [[False, False, True, True]]
