import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data import row_hashes
from smartedit.data.build import build_manifest
from smartedit.data.columns import SCHEMA, columns_to_batch, examples_to_batch
from smartedit.data.comparing import compare_manifests
from smartedit.data.examples import ImageRef, MaskRle, Speaker, Storage, Task, TrainingExample, Turn
from smartedit.data.manifest import Manifest, example_from
from smartedit.data.row_hashes import hash_rows, hash_texts

FULL = TrainingExample(
    example_id="s/1",
    source="s",
    task=Task.SEGMENT,
    image=ImageRef(storage=Storage.ZIP, path="a.zip", member="b/c.jpg"),
    target=ImageRef(storage=Storage.PARQUET, path="a.parquet", row=3, column="x"),
    mask_rle=MaskRle(height=2, width=3, counts="06"),
    ignore_rle=MaskRle(height=2, width=3, counts="15"),
    mask_image=ImageRef(path="m.png"),
    label_ids=(1, 2),
    phrases=("a", "b"),
    instructions=("do",),
    conversation=(Turn(speaker=Speaker.HUMAN, text="q"), Turn(speaker=Speaker.ASSISTANT, text="r")),
    caption="c",
    category="k",
    split="train",
    license="l",
    terms="t",
)
BARE = TrainingExample(example_id="s/2", source="s", task=Task.CAPTION, split="train", license="l", terms="t")


@pytest.mark.parametrize("examples", [[FULL], [BARE], [BARE, FULL, BARE], [FULL, BARE], []])
def test_rows_survive_columns(examples: list[TrainingExample]) -> None:
    batch = examples_to_batch(examples)
    batch.validate(full=True)
    assert [example_from(record) for record in batch.to_pylist()] == examples


def test_columns_that_are_left_out_are_empty() -> None:
    shared = {"source": "s", "task": "caption", "split": "train", "license": "l", "terms": "t"}
    ids = examples_to_batch([BARE, BARE]).column("example_id")
    batch = columns_to_batch(2, {**shared, "example_id": ids})
    batch.validate(full=True)
    assert batch.schema == SCHEMA
    assert [example_from(record) for record in batch.to_pylist()] == [BARE, BARE]


CHANGES: dict[str, object] = {
    "task": Task.EDIT,
    "image": ImageRef(storage=Storage.ZIP, path="a.zip", member="b/d.jpg"),
    "target": None,
    "mask_rle": MaskRle(height=2, width=3, counts="15"),
    "ignore_rle": None,
    "mask_image": ImageRef(path="n.png"),
    "label_ids": (1,),
    "phrases": ("ab",),
    "instructions": (),
    "conversation": (Turn(speaker=Speaker.HUMAN, text="q"), Turn(speaker=Speaker.HUMAN, text="r")),
    "caption": "",
    "category": None,
    "split": "val",
    "license": "m",
    "terms": "u",
}


def test_any_change_of_a_cell_changes_the_hash() -> None:
    changed = [dataclasses.replace(FULL, **{name: value}) for name, value in CHANGES.items()]  # type: ignore[arg-type]
    assert {f.name for f in dataclasses.fields(FULL)} == {*CHANGES, "example_id", "source"}
    blank = dataclasses.replace(BARE, caption="")
    hashes = hash_rows(examples_to_batch([FULL, *changed, blank, BARE])).tolist()
    assert len(set(hashes)) == len(hashes) == 18
    assert hash_rows(examples_to_batch([BARE, FULL])).tolist() == [hashes[-1], hashes[0]]
    assert hash_rows(examples_to_batch([FULL, BARE, FULL]).slice(1, 2)).tolist() == [hashes[-1], hashes[0]]


def test_hashes_of_texts_do_not_depend_on_their_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["", "a", "b", "ab", "ba", None, "a\0", "\0", "x" * 40, "x" * 41, "", "ab"]
    whole = hash_texts(pa.array(texts)).tolist()
    assert len(set(whole)) == len(set(texts)) == 10
    assert [hash_texts(pa.array([text], pa.string()))[0] for text in texts] == whole
    monkeypatch.setattr(row_hashes, "BLOCK", 3)  # blocks of a few bytes, some texts longer than one
    assert hash_texts(pa.array(texts)).tolist() == whole


def captions(folder: Path, lines: list[str], name: str = "cc12m") -> Manifest:
    folder.mkdir()
    (folder / "cc12m.tsv").write_text("".join(f"u\t{line}\n" for line in lines))
    (folder / "s.toml").write_text(f'[sources.{name}]\nkind = "cc12m"\nroot = "."\n')
    config = load_tree(ManifestConfig, source=folder / "s.toml")
    return Manifest(build_manifest(config, folder / "out", data_root=folder).manifest)


def test_what_came_went_and_changed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"caption {n}" for n in rng.integers(0, 9, 400)]
    before = captions(tmp_path / "a", lines)
    after = captions(tmp_path / "b", ["another", *lines[1:9], "third", *lines[10:], "new", "newer"])
    (change,) = compare_manifests(before, after)
    assert (change.before, change.after) == (400, 402)
    assert (change.added, change.removed, change.changed) == (2, 0, 2)
    assert change.examples == ("+ cc12m/00000400", "+ cc12m/00000401", "~ cc12m/00000000", "~ cc12m/00000009")
    (back,) = compare_manifests(after, before)
    assert (back.added, back.removed, back.changed) == (0, 2, 2)
    assert compare_manifests(before, before)[0].is_same


def test_a_source_that_one_of_them_lacks(tmp_path: Path) -> None:
    one, other = captions(tmp_path / "a", ["x", "y"]), captions(tmp_path / "b", ["x"], "other")
    first, second = compare_manifests(one, other)
    assert (first.source, first.removed, first.added, first.examples) == (
        "cc12m", 2, 0, ("- cc12m/00000000", "- cc12m/00000001")
    )  # fmt: skip
    assert (second.source, second.removed, second.added) == ("other", 0, 1)
