"""MagicBrush and LLaVA-Instruct."""

import json
from pathlib import Path

import datasets
import pytest

from smartedit.data.examples import Reason, Speaker, Task
from smartedit.data.locations import SourceError
from smartedit.data.masks import edit_region
from smartedit.data.pictures import PictureStore
from smartedit.data.sources import llava, magicbrush
from tests.smartedit.data.trees import (
    png_bytes,
    said,
    save_json,
    save_picture,
    split_rows,
    turn,
    write_coco_pictures,
    write_hub_shard,
    write_sessions,
)

SESSIONS = {"139276": 3, "34": 1}
KEYS = ["139276/1", "139276/2", "139276/3", "34/1"]


def hub_columns() -> dict[str, object]:
    turns = [(name, k + 1) for name, count in SESSIONS.items() for k in range(count)]
    return {
        "img_id": [name for name, _ in turns],
        "turn_index": [number for _, number in turns],
        "source_img": [png_bytes(i) for i in range(4)],
        "mask_img": [png_bytes(10 + i) for i in range(4)],
        "instruction": [f"edit {number} of {name}" for name, number in turns],
        "target_img": [png_bytes(20 + i) for i in range(4)],
    }


@pytest.mark.parametrize("split", ["train", "dev"])
def test_hub_shards_of_a_split(tmp_path: Path, split: str) -> None:
    write_hub_shard(tmp_path / "MagicBrush_HF/data" / f"{split}-00000-of-00001-9f.parquet", hub_columns())
    write_hub_shard(tmp_path / "MagicBrush_HF/data" / "other-00000-of-00001-9f.parquet", hub_columns())
    rows, reasons = split_rows(magicbrush.read(tmp_path, split))
    assert reasons == {}
    assert [row.example_id for row in rows] == [f"magicbrush/{split}/{key}" for key in KEYS]
    store = PictureStore(tmp_path)
    row = rows[2]
    assert row.image is not None and row.mask_image is not None and row.target is not None
    assert [store.read(ref) for ref in (row.image, row.mask_image, row.target)] == [png_bytes(i) for i in (2, 12, 22)]


@pytest.mark.parametrize("place", ["MagicBrush/dev", "dev", "."])
@pytest.mark.parametrize("file", ["edit_sessions.json", "edit_turns.json"])
def test_sessions_and_turns_give_the_same_rows(tmp_path: Path, place: str, file: str) -> None:
    write_sessions(tmp_path / place, SESSIONS)
    other = {"edit_sessions.json": "edit_turns.json", "edit_turns.json": "edit_sessions.json"}[file]
    (tmp_path / place / other).unlink()
    rows, reasons = split_rows(magicbrush.read(tmp_path, "dev"))
    assert reasons == {}
    assert file in magicbrush.locate(tmp_path, "dev").layout
    assert [row.example_id for row in rows] == [f"magicbrush/dev/{key}" for key in KEYS]
    assert rows[1].image is not None and rows[1].image.path.endswith("images/139276/139276-output1.png")
    assert rows[1].mask_image is not None and rows[1].mask_image.path.endswith("139276-mask2.png")
    assert rows[1].instructions == ("edit 2 of 139276",)
    mask = PictureStore(tmp_path).open(rows[1].mask_image)
    assert edit_region(mask).shape == (8, 8)


@pytest.mark.parametrize("own", ["train", None])
def test_a_saved_folder_is_of_the_split_that_it_says(tmp_path: Path, own: str | None) -> None:
    columns = hub_columns()
    pictures = {k: [{"bytes": b, "path": None} for b in v] for k, v in columns.items() if k.endswith("img")}  # type: ignore[attr-defined]
    datasets.Dataset.from_dict({**columns, **pictures}).save_to_disk(tmp_path / "MagicBrush_HF")
    state = json.loads((tmp_path / "MagicBrush_HF/state.json").read_text())
    save_json(tmp_path / "MagicBrush_HF/state.json", {**state, "_split": own})
    assert len(split_rows(magicbrush.read(tmp_path, "train"))[0]) == 4
    if own:
        with pytest.raises(SourceError, match="holds no MagicBrush split 'dev'"):
            list(magicbrush.read(tmp_path, "dev"))
    else:
        with pytest.raises(SourceError, match=r"MagicBrush_HF/state.json: names no split.*give the folder that name"):
            list(magicbrush.read(tmp_path, "dev"))
        (tmp_path / "MagicBrush_HF").rename(tmp_path / "dev")
        assert len(split_rows(magicbrush.read(tmp_path, "dev"))[0]) == 4
        assert len(split_rows(magicbrush.read(tmp_path / "dev", "dev"))[0]) == 4


def test_every_fault_of_sessions_has_its_reason(tmp_path: Path) -> None:
    content: dict[str, object] = {**write_sessions(tmp_path / "dev", SESSIONS)}
    save_picture(tmp_path / "outside.png")
    content["7"] = [
        {**turn("7", 1), "instruction": None},
        {**turn("34", 1), "output": "nowhere.png"},
        {**turn("34", 1), "input": "../../../outside.png"},
        {"instruction": "no pictures"},
        "no dict",
    ]
    content["../.."] = [{"input": "outside.png", "output": "outside.png", "instruction": "do"}]
    (tmp_path / "dev/images/34/34-mask1.png").unlink()
    save_json(tmp_path / "dev/edit_sessions.json", content)
    rows, reasons = split_rows(magicbrush.read(tmp_path, "dev"))
    assert len(rows) == 4 and rows[3].mask_image is None
    assert reasons == {
        "7/1": Reason.EMPTY_TEXT,
        "7/2": Reason.MISSING_IMAGE,
        "7/3": Reason.PATH_OUTSIDE_ROOT,
        "7/4": Reason.MISSING_IMAGE,
        "7/5": Reason.BAD_RECORD,
        "../../1": Reason.PATH_OUTSIDE_ROOT,
    }


def test_every_fault_of_shards_has_its_reason(tmp_path: Path) -> None:
    columns = hub_columns()
    columns["img_id"] = ["1", None, "3", "4"]
    columns["source_img"] = [None, png_bytes(), png_bytes(), png_bytes()]
    columns["mask_img"] = [png_bytes(), png_bytes(), png_bytes(), None]
    columns["instruction"] = ["a", "b", "", "d"]
    write_hub_shard(tmp_path / "train-0.parquet", columns)
    (tmp_path / "train-1.parquet").write_bytes(b"x")
    rows, reasons = split_rows(magicbrush.read(tmp_path))
    assert [row.example_id for row in rows] == ["magicbrush/train/train-0/1", "magicbrush/train/4/1"]
    assert rows[1].mask_image is None
    assert reasons == {
        "1/1": Reason.MISSING_IMAGE,
        "3/3": Reason.EMPTY_TEXT,
        "train-1.parquet": Reason.UNREADABLE_FILE,
    }


def test_the_flat_list(tmp_path: Path) -> None:
    save_picture(tmp_path / "MagicBrush/data/a.png")
    save_picture(tmp_path / "MagicBrush/data/b.png")
    good = {"input": "data/a.png", "edited": "data/b.png", "instruction": "do"}
    bad = [{**good, "edited": "/etc/hosts"}, {**good, "input": None}, 3]
    save_json(tmp_path / "MagicBrush/magic_train.json", [good, *bad])
    rows, reasons = split_rows(magicbrush.read(tmp_path))
    assert [row.example_id for row in rows] == ["magicbrush/train/000000"]
    assert rows[0].target is not None and rows[0].target.path == "MagicBrush/data/b.png"
    assert list(reasons.values()) == [Reason.PATH_OUTSIDE_ROOT, Reason.MISSING_IMAGE, Reason.EMPTY_TEXT]


def test_no_magicbrush(tmp_path: Path) -> None:
    write_sessions(tmp_path / "dev", SESSIONS)
    with pytest.raises(SourceError, match=r"holds no MagicBrush split 'test' \(auto\)"):
        list(magicbrush.read(tmp_path, "test"))
    save_json(tmp_path / "edit_sessions.json", 3)
    with pytest.raises(SourceError, match="sessions or turns were expected"):
        list(magicbrush.read(tmp_path, "train"))


Q, A = "<image>\nWhat is it?", "A box."


def llava_tree(root: Path, records: list[object], where: str = "LLaVA") -> Path:
    write_coco_pictures(root)
    save_json(root / where / "llava_instruct_150k.json", records)
    return root


def record(*texts: str, **fields: object) -> dict[str, object]:
    return {"id": "1", "image": "000000000001.jpg", "conversations": said(*texts), **fields}


def test_conversations(tmp_path: Path) -> None:
    records = [
        record("What is it?\n<image>", A, "Where?", "Here."),
        record(Q, A),
        record("No token.", A),
        {"id": "text", "conversations": said("Hello", "Hi")},
        record(Q, A, image="coco/train2017/000000000002.jpg"),
        {**record(), "conversations": [{"from": "gpt", "value": "too early"}, *said(Q, A)]},
    ]
    rows, reasons = split_rows(llava.read(llava_tree(tmp_path, list(records))))
    assert reasons == {}
    assert [row.example_id for row in rows] == [
        "llava/1/0", "llava/1/1", "llava/1/2", "llava/text/0", "llava/1/3", "llava/1/4"
    ]  # fmt: skip
    spoken = [[turn.text for turn in row.conversation] for row in rows]
    assert spoken[0] == [Q, A, "Where?", "Here."]
    assert spoken[1] == spoken[5] == [Q, A]
    assert spoken[2] == ["<image>\nNo token.", A]
    assert spoken[3] == ["Hello", "Hi"] and rows[3].image is None
    assert [turn.speaker for turn in rows[0].conversation] == [Speaker.HUMAN, Speaker.ASSISTANT] * 2
    assert rows[0].task is Task.ANSWER
    assert rows[4].image is not None and (tmp_path / rows[4].image.path).is_file()


def test_every_fault_of_conversations_has_its_reason(tmp_path: Path) -> None:
    expected = {
        "none": (record(conversations=None), Reason.MISSING_FIELD),
        "odd": (record(Q, A, "Really?"), Reason.BAD_CONVERSATION),
        "speaker": (record(conversations=[{"from": "cat", "value": "x"}]), Reason.BAD_CONVERSATION),
        "value": (record(conversations=[{"from": "human"}]), Reason.BAD_CONVERSATION),
        "order": (record(conversations=[*said(Q), *said("again"), *said("x", "y")]), Reason.BAD_CONVERSATION),
        "blank": (record("<image>\n ", A), Reason.EMPTY_TEXT),
        "answer": (record(Q, " "), Reason.EMPTY_TEXT),
        "later": (record(Q, A, "<image>", A), Reason.EMPTY_TEXT),
        "second": (record("What?", A, "<image> And?", A), Reason.BAD_CONVERSATION),
        "twice": (record("<image>What?<image>", A), Reason.BAD_CONVERSATION),
        "text": (record(Q, A, image=None), Reason.BAD_CONVERSATION),
        "picture": (record(Q, A, image="000000000009.jpg"), Reason.MISSING_IMAGE),
        "outside": (record(Q, A, image="../train2014/x.jpg"), Reason.PATH_OUTSIDE_ROOT),
        "absolute": (record(Q, A, image="/etc/hosts"), Reason.PATH_OUTSIDE_ROOT),
        "number": (record(Q, A, image=5), Reason.BAD_RECORD),
    }
    records: list[object] = [{**content, "id": name} for name, (content, _) in expected.items()]
    rows, reasons = split_rows(llava.read(llava_tree(tmp_path, [*records, "no dict", record(Q, A)])))
    assert [row.example_id for row in rows] == ["llava/1/0"]
    assert reasons == {name: reason for name, (_, reason) in expected.items()} | {"15": Reason.BAD_RECORD}


@pytest.mark.parametrize("where", [".", "LLaVA", "llava_dataset"])
def test_llava_layouts(tmp_path: Path, where: str) -> None:
    llava_tree(tmp_path, [record(Q, A)], where)
    assert len(split_rows(llava.read(tmp_path))[0]) == 1
    assert len(split_rows(llava.read(tmp_path / where / "llava_instruct_150k.json"))[0]) == 1
    with pytest.raises(SourceError, match=r"holds no other\.json"):
        list(llava.read(tmp_path, file="other.json"))
    with pytest.raises(SourceError, match="no split 'val'"):
        list(llava.read(tmp_path, "val"))


def test_llava_file_that_breaks_off(tmp_path: Path) -> None:
    llava_tree(tmp_path, [record(Q, A)])
    path = tmp_path / "LLaVA/llava_instruct_150k.json"
    path.write_text(path.read_text()[:-1])
    with pytest.raises(SourceError, match=r"llava_instruct_150k\.json: no valid JSON array"):
        list(llava.read(tmp_path))
