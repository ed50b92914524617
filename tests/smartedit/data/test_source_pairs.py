"""InstructPix2Pix and the synthetic set."""

import json
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from smartedit.data.examples import Reason, Storage, Task
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import SourceError
from smartedit.data.pictures import PictureStore
from smartedit.data.sources import instructpix2pix, synthetic
from tests.smartedit.data.trees import (
    png_bytes,
    save_json,
    save_picture,
    split_rows,
    write_hub_shard,
    write_prompt_folder,
    zip_folders,
)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    root = tmp_path / "clip-filtered-dataset"
    write_prompt_folder(root, "0000132", [127380018, 1818564940])
    write_prompt_folder(root, "0000145", [7])
    save_json(root / "seeds.json", [["0000145", ["7"]], ["0000132", ["127380018", "1818564940"]]])
    return root


def hub_columns(count: int = 5) -> dict[str, object]:
    return {
        "original_prompt": ["two boxes"] * count,
        "original_image": [png_bytes(i) for i in range(count)],
        "edit_prompt": [f"edit {i}" for i in range(count)],
        "edited_prompt": ["edited"] * count,
        "edited_image": [png_bytes(100 + i) for i in range(count)],
    }


def test_folders_in_the_order_of_the_list(folders: Path) -> None:
    rows, reasons = split_rows(instructpix2pix.read(folders.parent))
    assert reasons == {}
    assert [row.example_id.partition("/")[2] for row in rows] == [
        "0000145/7",
        "0000132/127380018",
        "0000132/1818564940",
    ]
    row = rows[1]
    assert (row.task, row.instructions) == (Task.EDIT, ("edit 0000132",))
    assert row.image is not None and row.target is not None
    assert row.image.path == "clip-filtered-dataset/0000132/127380018_0.jpg"
    assert PictureStore(folders.parent).open(row.target).size == (8, 8)


def test_folders_without_the_list(folders: Path) -> None:
    (folders / "seeds.json").unlink()
    rows, _ = split_rows(instructpix2pix.read(folders))
    assert [row.example_id.partition("/")[2] for row in rows] == [
        "0000132/127380018",
        "0000132/1818564940",
        "0000145/7",
    ]
    assert "without seeds.json" in instructpix2pix.locate(folders, "all").layout


def test_splits_by_place_in_the_list(tmp_path: Path) -> None:
    names = [f"{i:07d}" for i in range(20)]
    for name in names:
        write_prompt_folder(tmp_path, name, [1])
    save_json(tmp_path / "seeds.json", [[name, ["1"]] for name in reversed(names)])
    split = {
        s: [r.example_id.split("/")[1] for r in split_rows(instructpix2pix.read(tmp_path, s))[0]]
        for s in ("all", "train", "val", "test")
    }
    assert split["all"] == split["train"] + split["val"] + split["test"] == names[::-1]
    assert [len(split[s]) for s in ("train", "val", "test")] == [18, 1, 1]
    with pytest.raises(SourceError, match="no split 'dev'"):
        list(instructpix2pix.read(tmp_path, "dev"))


def test_every_fault_of_folders_has_its_reason(folders: Path) -> None:
    seeds = json.loads((folders / "seeds.json").read_text())
    for name in ("0000200", "0000201", "0000202", "0000203", "0000204", "0000205", "0000206"):
        write_prompt_folder(folders, name, [1])
        seeds.append([name, ["1"]])
    (folders / "0000200/prompt.json").unlink()
    (folders / "0000201/prompt.json").write_text("{")
    save_json(folders / "0000202/prompt.json", {"caption": "no edit"})
    save_json(folders / "0000203/prompt.json", {"edit": " "})
    (folders / "0000204/1_1.jpg").unlink()
    (folders / "0000205/1_0.jpg").unlink()
    write_prompt_folder(folders, "0000300", [1])
    save_json(folders / "seeds.json", [*seeds, ["0000999", ["1"]], ["../clip-filtered-dataset/0000132", ["7"]]])
    rows, reasons = split_rows(instructpix2pix.read(folders))
    assert len(rows) == 4
    assert reasons == {
        "0000200": Reason.MISSING_ANNOTATION,
        "0000201": Reason.BAD_JSON,
        "0000202": Reason.MISSING_FIELD,
        "0000203/1": Reason.EMPTY_TEXT,
        "0000204/1": Reason.MISSING_IMAGE,
        "0000205/1": Reason.MISSING_IMAGE,
        "0000300": Reason.NOT_LISTED,
        "0000999": Reason.MISSING_FOLDER,
        "../clip-filtered-dataset/0000132": Reason.PATH_OUTSIDE_ROOT,
    }


@pytest.mark.parametrize("content", ["{", "{}x", '[["a"]]', "[1, 2]", '{"a": 1}'])
def test_a_list_that_is_none(folders: Path, content: str) -> None:
    (folders / "seeds.json").write_text(content)
    with pytest.raises(SourceError, match=r"seeds\.json"):
        list(instructpix2pix.read(folders))


def test_zip_archives_hold_the_same(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "zips").mkdir()
    zip_folders(folders, tmp_path / "zips" / "shard-00.zip")
    save_json(tmp_path / "zips" / "seeds.json", json.loads((folders / "seeds.json").read_text()))
    loose, _ = split_rows(instructpix2pix.read(folders))
    zipped, reasons = split_rows(instructpix2pix.read(tmp_path / "zips"))
    assert reasons == {}
    assert [row.example_id for row in zipped] == [row.example_id for row in loose]
    store = PictureStore(tmp_path / "zips")
    for row, other in zip(zipped, loose, strict=True):
        assert row.instructions == other.instructions
        assert row.image is not None and other.image is not None and row.image.storage is Storage.ZIP
        assert store.read(row.image) == (folders / other.image.path).read_bytes()


def test_every_fault_of_archives_has_its_reason(folders: Path, tmp_path: Path) -> None:
    root = tmp_path / "zips"
    root.mkdir()
    zip_folders(folders, root / "shard-00.zip")
    (root / "shard-01.zip").write_bytes(b"no archive")
    with zipfile.ZipFile(root / "shard-02.zip", "w") as file:
        file.writestr("../../0000500/prompt.json", '{"edit": "x"}')
        file.writestr("0000501/prompt.json", "{")
        file.writestr("0000502/1_0.jpg", b"x")
        file.writestr("0000503/prompt.json", '{"edit": "' + "x" * 500 + '"}')
        file.writestr("0000504/prompt.json", " " * (1 << 24) + '{"edit": "x"}', zipfile.ZIP_DEFLATED)
    content = bytearray((root / "shard-02.zip").read_bytes())
    position = content.find(b"x" * 100)
    content[position] = ord("y")
    (root / "shard-02.zip").write_bytes(content)
    rows, reasons = split_rows(instructpix2pix.read(root))
    assert len(rows) == 3
    assert reasons == {
        "shard-01.zip": Reason.BAD_ARCHIVE,
        "../../0000500/prompt.json": Reason.PATH_OUTSIDE_ROOT,
        "0000501": Reason.BAD_JSON,
        "0000502": Reason.MISSING_ANNOTATION,
        "0000503": Reason.BAD_ARCHIVE,
        "0000504": Reason.BAD_ARCHIVE,
    }


@pytest.mark.parametrize("where", [".", "data", "InstructPix2PixCLIPFiltered_HF/data"])
def test_parquet_shards(tmp_path: Path, where: str) -> None:
    shard = write_hub_shard(tmp_path / where / "train-00000-of-00002-57ceb.parquet", hub_columns())
    write_hub_shard(tmp_path / where / "train-00001-of-00002-57ceb.parquet", hub_columns(1))
    rows, reasons = split_rows(instructpix2pix.read(tmp_path))
    assert reasons == {}
    assert [row.instructions[0] for row in rows] == [*(f"edit {i}" for i in range(5)), "edit 0"]
    assert rows[3].example_id == f"instructpix2pix/{shard.stem}/3"
    store = PictureStore(tmp_path)
    for index in (3, 0, 4):
        row = rows[index]
        assert row.image is not None and row.target is not None
        assert store.read(row.image) == png_bytes(index)
        assert store.read(row.target) == png_bytes(100 + index)


def test_pictures_that_are_bytes_or_files_beside_the_shard(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    columns = hub_columns(3)
    columns["original_image"] = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "../a.png"}, None]
    columns["edited_image"] = pa.array([png_bytes(i) for i in range(3)])
    write_hub_shard(tmp_path / "train-0.parquet", columns)
    rows, reasons = split_rows(instructpix2pix.read(tmp_path))
    assert reasons == {"train-0/1": Reason.MISSING_IMAGE, "train-0/2": Reason.MISSING_IMAGE}
    store = PictureStore(tmp_path)
    assert rows[0].image is not None and rows[0].target is not None
    assert store.open(rows[0].image).size == (40, 30)
    assert store.read(rows[0].target) == png_bytes(0)


def test_every_fault_of_shards_has_its_reason(tmp_path: Path) -> None:
    columns = hub_columns(6)
    columns["edit_prompt"] = ["a", "", None, "d", "e", "f"]
    columns["edited_image"] = [
        png_bytes(0),
        png_bytes(0),
        png_bytes(0),
        png_bytes(0),
        None,
        {"bytes": None, "path": "x"},
    ]
    write_hub_shard(tmp_path / "train-0.parquet", columns)
    (tmp_path / "train-1.parquet").write_bytes(b"no Parquet")
    content = (tmp_path / "train-0.parquet").read_bytes()
    (tmp_path / "train-2.parquet").write_bytes(content[: len(content) // 2])
    pq.write_table(pa.table({"edit_prompt": ["a"]}), tmp_path / "train-3.parquet")
    rows, reasons = split_rows(instructpix2pix.read(tmp_path))
    assert [row.instructions for row in rows] == [("a",), ("d",)]
    assert reasons == {
        "train-0/1": Reason.EMPTY_TEXT,
        "train-0/2": Reason.EMPTY_TEXT,
        "train-0/4": Reason.MISSING_IMAGE,
        "train-0/5": Reason.MISSING_IMAGE,
        "train-1.parquet": Reason.UNREADABLE_FILE,
        "train-2.parquet": Reason.UNREADABLE_FILE,
        "train-3.parquet": Reason.MISSING_FIELD,
    }


@pytest.mark.parametrize("typed", [True, False])
def test_what_save_to_disk_wrote(tmp_path: Path, typed: bool) -> None:
    columns = {k: v for k, v in hub_columns(5).items() if isinstance(v, list)}
    pictures = ("original_image", "edited_image")
    records = {k: [{"bytes": b, "path": None} for b in v] if k in pictures else v for k, v in columns.items()}
    features = datasets.Features(
        {k: datasets.Image() if k in pictures else datasets.Value("large_string") for k in records}
    )
    dataset = datasets.Dataset.from_dict(records, features=features if typed else None)
    dataset.save_to_disk(tmp_path / "saved", num_shards=2)
    rows, reasons = split_rows(instructpix2pix.read(tmp_path / "saved"))
    assert reasons == {}
    assert [row.instructions[0] for row in rows] == [f"edit {i}" for i in range(5)]
    store = PictureStore(tmp_path / "saved")
    assert [store.read(row.target) for row in rows if row.target] == [png_bytes(100 + i) for i in range(5)]
    assert rows[4].image is not None and (rows[4].image.storage, rows[4].image.row) == (Storage.ARROW, 1)


def test_saved_shards_whose_offsets_lead_out_of_the_file(tmp_path: Path) -> None:
    columns = {k: v for k, v in hub_columns(5).items() if isinstance(v, list)}
    records = {k: [{"bytes": x, "path": None} for x in v] if k.endswith("_image") else v for k, v in columns.items()}
    datasets.Dataset.from_dict(records).save_to_disk(tmp_path / "saved", num_shards=2)
    path = sorted((tmp_path / "saved").glob("*.arrow"))[0]
    rows, _ = split_rows(instructpix2pix.read(tmp_path / "saved"))

    def mislead(values: list[bytes]) -> None:
        """Let the middle one of three values, wherever they stand, begin a gigabyte further on."""
        offsets = np.cumsum([0, *map(len, values)]).astype("<i4")
        content = path.read_bytes()
        assert offsets.tobytes() in content
        wrong = offsets.copy()
        wrong[1] += 1 << 30
        path.write_bytes(content.replace(offsets.tobytes(), wrong.tobytes()))

    mislead([png_bytes(100 + i) for i in range(3)])
    assert rows[0].target is not None
    with pytest.raises(FaultyRecordError, match="cannot be read") as caught:
        PictureStore(tmp_path / "saved").read(rows[0].target)
    assert caught.value.reason is Reason.MISSING_IMAGE
    mislead([b"edit 0", b"edit 1", b"edit 2"])
    rows, reasons = split_rows(instructpix2pix.read(tmp_path / "saved"))
    assert reasons == {path.name: Reason.UNREADABLE_FILE}
    assert [row.instructions[0] for row in rows] == ["edit 3", "edit 4"]


def test_a_saved_selection_is_refused_with_the_remedy(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"a": [1, 2]}).save_to_disk(tmp_path / "saved")
    state = json.loads((tmp_path / "saved/state.json").read_text())
    save_json(tmp_path / "saved/state.json", {**state, "_indices_files": [{"filename": "indices.arrow"}]})
    with pytest.raises(SourceError, match="flatten_indices"):
        list(instructpix2pix.read(tmp_path / "saved"))
    save_json(tmp_path / "saved/state.json", {"_data_files": [{"filename": "../../x.arrow"}]})
    with pytest.raises(SourceError, match="does not stay inside"):
        list(instructpix2pix.read(tmp_path / "saved"))


def test_one_of_several_layouts_can_be_asked_for(folders: Path) -> None:
    write_hub_shard(folders / "train-0.parquet", hub_columns(1))
    assert "Parquet" in instructpix2pix.locate(folders, "all").layout
    assert "prompt folders" in instructpix2pix.locate(folders, "all", layout="folders").layout
    with pytest.raises(SourceError, match=r"holds no InstructPix2Pix \(zip\)"):
        instructpix2pix.locate(folders, "all", layout="zip")


def synthetic_tree(root: Path, prefix: str) -> dict[str, dict[str, object]]:
    """Two pairs, written with a path prefix that does not exist here."""
    content: dict[str, dict[str, object]] = {}
    for number in (0, 1):
        paths = [f"{kind}/Mirror-Animal/{number:04d}/{number:04d}.png" for kind in ("OriginalImg", "TargetImg")]
        for path in paths:
            save_picture(root / path)
        origin, target = (f"{prefix}{path}" for path in paths)
        content[f"{number:04d}"] = {
            "origin_img_path": origin,
            "target_img_path": target,
            "instruction": [f"do {number}"],
        }
    return content


@pytest.mark.parametrize("prefix", ["", "./", "./dataset/SyntheticData/", "/home/someone/data/", "D:\\data\\"])
@pytest.mark.parametrize("where", ["SyntheticData", "."])
def test_synthetic_pairs_with_an_unknown_prefix(tmp_path: Path, prefix: str, where: str) -> None:
    content = synthetic_tree(tmp_path / where, prefix)
    content["0001"]["instruction"] = "one text"
    content["0001"]["category"] = "mirror"
    save_json(tmp_path / where / synthetic.FILE, content)
    rows, reasons = split_rows(synthetic.read(tmp_path))
    assert reasons == {}
    assert [row.instructions for row in rows] == [("do 0",), ("one text",)]
    assert [row.category for row in rows] == [None, "mirror"]
    assert rows[1].target is not None and rows[1].target.path == "TargetImg/Mirror-Animal/0001/0001.png"


def test_every_fault_of_synthetic_pairs_has_its_reason(tmp_path: Path) -> None:
    content: dict[str, object] = {**synthetic_tree(tmp_path / "set", "x/")}
    good = dict(content["0000"])  # type: ignore[call-overload]
    save_picture(tmp_path / "outside.png")
    content["climbs"] = {**good, "origin_img_path": "../outside.png"}
    content["absolute"] = {**good, "target_img_path": str(tmp_path / "outside.png")}
    content["missing"] = {**good, "target_img_path": "nowhere.png"}
    content["field"] = {k: v for k, v in good.items() if k != "target_img_path"}
    content["empty"] = {**good, "instruction": []}
    content["blank"] = {**good, "instruction": " "}
    content["list"] = [1]
    save_json(tmp_path / "set" / synthetic.FILE, content)
    rows, reasons = split_rows(synthetic.read(tmp_path / "set"))
    assert len(rows) == 2
    assert reasons == {
        "climbs": Reason.PATH_OUTSIDE_ROOT,
        "absolute": Reason.MISSING_IMAGE,
        "missing": Reason.MISSING_IMAGE,
        "field": Reason.MISSING_FIELD,
        "empty": Reason.EMPTY_TEXT,
        "blank": Reason.EMPTY_TEXT,
        "list": Reason.BAD_RECORD,
    }


def test_synthetic_set_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds no SyntheticData_info_new\.json"):
        list(synthetic.read(tmp_path))
    save_json(tmp_path / synthetic.FILE, [1])
    with pytest.raises(SourceError, match="a dict of pairs was expected"):
        list(synthetic.read(tmp_path))
