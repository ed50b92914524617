import csv
import hashlib
import json
import pickle
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from reason_edit.schema import Category
from smartedit.commands.miniature import app
from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
from smartedit.data.examples import Rejection, TrainingExample
from smartedit.data.manifest import Manifest
from smartedit.data.masks import decode_mask
from smartedit.data.sources import (
    cc12m,
    cocostuff,
    grefcoco,
    instructpix2pix,
    llava,
    magicbrush,
    reasonseg,
    refer,
    synthetic,
)
from smartedit.miniature.benchmark_set import Answer
from smartedit.miniature.cases import Case
from smartedit.miniature.corpora import write_corpora
from smartedit.miniature.drawing import draw
from smartedit.miniature.formats import coco
from smartedit.miniature.formats import instructpix2pix as pairs
from smartedit.miniature.formats import magicbrush as sessions
from smartedit.miniature.formats import reasonseg as questions
from smartedit.miniature.formats.synthetic import synthetic_cases
from smartedit.miniature.kinds import COLORS, KINDS
from smartedit.miniature.knowledge import GROUPS, clues, is_held_out
from smartedit.miniature.scenes import Scene
from smartedit.miniature.stock import Stock
from smartedit.synthesis.knowledge import read_knowledge

STOCK = Stock(seed=3, count=20, size=64, synthetic=18)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("miniature") / "corpora"
    write_corpora(folder, STOCK)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def accepted(rows: Any) -> list[TrainingExample]:
    rows = list(rows)
    assert [row for row in rows if isinstance(row, Rejection)] == []
    assert rows
    return rows


def test_detections_are_exact(corpora: Path) -> None:
    api = COCO(str(corpora / coco.INSTANCES))
    assert len(api.imgs) == STOCK.count
    assert len(api.cats) == 81
    for number in range(STOCK.count):
        scene = STOCK.scene(number)
        drawing = draw(scene, STOCK.size)
        for k, thing in enumerate(scene.things):
            annotation = api.anns[coco.annotation_id(number, k)]
            assert annotation["image_id"] == coco.image_id(number)
            assert api.cats[annotation["category_id"]]["name"] == KINDS[thing.kind].coco
            assert np.array_equal(api.annToMask(annotation).astype(bool), drawing.mask(k))


def test_label_maps_name_things_and_surfaces(corpora: Path) -> None:
    names = coco.label_names()
    assert len(names) == 183
    for row in accepted(cocostuff.read(corpora, "train2017")):
        assert set(row.phrases) <= set(names.values())
    for number in range(STOCK.count):
        values = np.array(Image.open(corpora / "cocostuff" / "train2017" / f"{coco.image_id(number):012d}.png"))
        seen = {names[int(v) + 1] for v in np.unique(values) if v != 255}
        assert {KINDS[thing.kind].coco for thing in STOCK.scene(number).things} <= seen


def test_the_factory_reads_the_knowledge(corpora: Path) -> None:
    knowledge = read_knowledge(corpora / "coco" / "knowledge.toml")
    called = {kind.coco: name for name, kind in KINDS.items()}
    assert set(knowledge.things) == set(called)
    assert {clue.text for clue in knowledge.clues} < {clue.text for clue in clues() if not clue.held_out}
    assert len(knowledge.clues) > 60
    for old, name in called.items():
        allowed = knowledge.replacements(old, size_ratio=1.0, available=None)
        assert allowed == sorted(new for new in called if new != old and not is_held_out(name, called[new]))
        assert knowledge.may_remove(old) != is_held_out(name, None)
    assert knowledge.one("scissors") == "a pair of scissors"


@pytest.mark.parametrize(
    ("name", "maker"), [("refcoco", "unc"), ("refcoco", "google"), ("refcoco+", "unc"), ("refcocog", "umd")]
)
def test_expressions_mean_their_masks(corpora: Path, name: str, maker: str) -> None:
    with (corpora / "refer_seg" / name / f"refs({maker}).p").open("rb") as file:
        records = {record["ref_id"]: record for record in pickle.load(file)}
    rows = accepted(refer.read(corpora, "train", dataset=name, split_by=maker))
    for row in rows:
        record = records[int(row.example_id.rpartition("/")[2])]
        number, thing = divmod(record["ann_id"] - coco.annotation_id(0, 0), 10)
        assert row.mask_rle is not None
        assert np.array_equal(decode_mask(row.mask_rle), draw(STOCK.scene(number), STOCK.size).mask(thing))
        assert all(fits(phrase, STOCK.scene(number), thing) for phrase in row.phrases), (row.phrases, number, thing)
        if name == "refcoco+":
            assert not any(word in phrase.split() for phrase in row.phrases for word in ("left", "right", "middle"))


def fits(phrase: str, scene: Scene, index: int) -> bool:
    """Whether a phrase names the thing's kind, its color if any, and its side, by rules of the test's own."""
    thing = scene.things[index]
    words = phrase.replace("pair of ", "").split(" standing on ")[0]
    if any(clue.text in phrase for clue in clues() if clue.kind == thing.kind):
        return True
    nouns = {thing.kind} | {group for group, members in GROUPS.items() if thing.kind in members}
    named = [noun for noun in nouns if noun in words]
    colors = {word for word in words.split() if word in COLORS} - {thing.kind}
    if not named or not colors <= {thing.color}:
        return False
    alike = GROUPS.get(named[0], {named[0]})
    rivals = [t.x for t in scene.things if t.kind in alike and (not colors or t.color == thing.color)]
    if "from the" in words or scene.mirror is not None:
        return True
    return ("left" not in words or thing.x == min(rivals)) and ("right" not in words or thing.x == max(rivals))


def test_generalized_expressions_mean_one_several_or_nothing(corpora: Path) -> None:
    rows = accepted(grefcoco.read(corpora, "train"))
    records = json.loads((corpora / "refer_seg" / "grefcoco" / "grefs(unc).json").read_text())
    assert {len(r["ann_id"]) > 1 for r in records} == {True, False}
    assert any(r["no_target"] for r in records)
    empty = [row for row in rows if row.category == "no_target"]
    assert empty
    assert all(row.mask_rle is not None and not decode_mask(row.mask_rle).any() for row in empty)


def test_questions_have_exact_regions(corpora: Path) -> None:
    rows = [row for split in ("train", "val", "test") for row in accepted(reasonseg.read(corpora, split))]
    assert len(rows) == questions.count(STOCK)
    for row in rows:
        assert row.mask_rle is not None
        assert decode_mask(row.mask_rle).sum() > 20
    assert any(row.ignore_rle is not None for row in rows)


def test_pairs_are_the_same_in_all_layouts(corpora: Path) -> None:
    folders = accepted(instructpix2pix.read(corpora / "clip-filtered-dataset", "all"))
    zips = accepted(instructpix2pix.read(corpora / "clip-filtered-zip", "all"))
    hub = accepted(instructpix2pix.read(corpora / "InstructPix2PixCLIPFiltered_HF", "all"))
    saved = accepted(instructpix2pix.read(corpora / "InstructPix2PixCLIPFiltered_saved", "all"))
    texts = [[row.instructions for row in rows] for rows in (folders, zips, hub, saved)]
    assert texts[0] == texts[1] == texts[2] == texts[3]
    with zipfile.ZipFile(corpora / "clip-filtered-zip" / "shard-00.zip") as archive:
        for name in archive.namelist():
            assert archive.read(name) == (corpora / "clip-filtered-dataset" / name).read_bytes()


def test_the_hub_tables_look_as_the_library_writes_them(corpora: Path) -> None:
    table = pq.read_table(next((corpora / "InstructPix2PixCLIPFiltered_HF" / "data").glob("*.parquet")))
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["original_image"] == {"_type": "Image"}
    assert features["edit_prompt"] == {"dtype": "string", "_type": "Value"}
    assert table.column("edited_image").to_pylist()[0]["bytes"].startswith(b"\x89PNG")


def test_the_library_itself_loads_the_hub_layouts(corpora: Path, tmp_path: Path) -> None:
    import datasets

    saved = datasets.load_from_disk(str(corpora / "InstructPix2PixCLIPFiltered_saved"))
    shards = sorted(str(p) for p in (corpora / "InstructPix2PixCLIPFiltered_HF" / "data").glob("*.parquet"))
    loaded = datasets.Dataset.from_parquet(shards, cache_dir=str(tmp_path))
    assert saved.features == loaded.features
    assert saved["edit_prompt"][:] == loaded["edit_prompt"][:]
    assert saved[0]["edited_image"].size == (STOCK.size, STOCK.size)


def test_sessions_follow_on_each_other(corpora: Path) -> None:
    for split in ("train", "dev"):
        files = accepted(magicbrush.read(corpora / "MagicBrush", split))
        hub = accepted(magicbrush.read(corpora / "MagicBrush_HF", split))
        assert [r.instructions for r in files] == [r.instructions for r in hub]
    train = [r.instructions for r in accepted(magicbrush.read(corpora / "MagicBrush", "train"))]
    saved = accepted(magicbrush.read(corpora / "MagicBrush_saved", "train"))
    listed = json.loads((corpora / "MagicBrush" / "magic_train.json").read_text())
    assert [r.instructions for r in saved] == train == [(turn["instruction"],) for turn in listed]
    assert all((corpora / "MagicBrush" / turn[key]).is_file() for turn in listed for key in ("input", "edited"))
    folder = corpora / "MagicBrush" / "train"
    for name, turns in json.loads((folder / "edit_sessions.json").read_text()).items():
        for turn in turns:
            source, mask, target = (
                np.array(Image.open(folder / "images" / name / turn[key])) for key in ("input", "mask", "output")
            )
            editable = mask[:, :, 3] == 0
            assert editable.any()
            assert np.array_equal(source[~editable], target[~editable])


def test_conversations_and_captions(corpora: Path) -> None:
    talks = accepted(llava.read(corpora))
    assert len(talks) == STOCK.count
    captions = [row.caption for row in accepted(cc12m.read(corpora))]
    assert len(captions) == 3 * STOCK.count + 4 * len(clues())
    for clue in clues():
        assert sum(clue.text in str(caption) for caption in captions) >= 4


def text_outside_of_captions_and_questions(folder: Path) -> str:
    texts = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if relative.startswith(("LLaVA", "cc12m")) or not path.is_file():
            continue
        if path.suffix in (".json", ".jsonl", ".txt", ".p"):
            texts.append(path.read_bytes().decode("latin1").lower())
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            names = [
                n for n in table.column_names if n in ("instruction", "edit_prompt", "original_prompt", "edited_prompt")
            ]
            texts += [str(value).lower() for n in names for value in table.column(n).to_pylist()]
    return "\n".join(texts)


def test_held_out_clues_occur_in_captions_and_questions_only(corpora: Path) -> None:
    text = text_outside_of_captions_and_questions(corpora)
    assert [clue.text for clue in clues() if clue.held_out and clue.text.lower() in text] == []
    assert sum(clue.text.lower() in text for clue in clues() if not clue.held_out) > 10
    with (corpora / "cc12m.tsv").open(newline="") as file:
        captions = "\n".join(row[1] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert all(clue.text in captions for clue in clues())


def edits_of(before: Scene, after: Scene) -> tuple[str, str | None] | None:
    """The kind that an edit takes away, and what takes its place; None where no kind goes."""
    if len(after.things) > len(before.things):
        return None
    if len(after.things) < len(before.things):
        gone = next(k for k, t in enumerate((*after.things, None)) if t != before.things[k])
        return before.things[gone].kind, None
    changed = [(a.kind, b.kind) for a, b in zip(before.things, after.things, strict=True) if a.kind != b.kind]
    return changed[0] if changed else None


def test_held_out_combinations_are_never_trained() -> None:
    stock = Stock(seed=0, count=150, synthetic=120)
    cases: list[Case] = list(synthetic_cases(stock))
    scenes = [(c.scene, c.after) for c in cases]
    scenes += [(b, a) for k in range(stock.count) for _, b, a in pairs.prompt(stock, k).pairs]
    scenes += [(e.before, e.after) for k in range(40) for e in sessions.session(stock, "train", k).edits]
    changes = [edit for before, after in scenes if (edit := edits_of(before, after)) is not None]
    assert len(changes) > 150
    assert not any(is_held_out(kind, new) for kind, new in changes)
    assert {c.category for c in cases} == set(Category) - {Category.ADD_SUPPLEMENT}


def test_no_scene_of_the_benchmark_is_trained(answers: list[Answer]) -> None:
    """Whatever the seed is called: the same number gives other scenes in the two spaces."""
    stock = Stock(seed=0, count=60, synthetic=30)
    trained = {stock.scene(k).fingerprint for k in range(stock.count)}
    trained |= {s.fingerprint for k in range(30) for _, b, a in pairs.prompt(stock, k).pairs for s in (b, a)}
    trained |= {s.fingerprint for case in synthetic_cases(stock) for s in (case.scene, case.after)}
    backdrops = {(a.before.backdrop.seed, a.before.backdrop.horizon) for a in answers}
    assert not trained & {s.fingerprint for a in answers for s in (a.before, a.after)}
    assert not backdrops & {(stock.scene(k).backdrop.seed, stock.scene(k).backdrop.horizon) for k in range(60)}


def test_synthetic_pairs_name_every_wording(corpora: Path) -> None:
    rows = accepted(synthetic.read(corpora))
    assert len(rows) == STOCK.synthetic
    assert all(len(row.instructions) >= 2 for row in rows)


def test_the_same_bytes_again_and_after_a_kill(corpora: Path, tmp_path: Path) -> None:
    expected = content(corpora)
    out = tmp_path / "again"
    code = "import sys; from smartedit.commands.miniature import app; app(sys.argv[1:])"
    command = [sys.executable, "-c", code, "corpora", str(out)]
    command += ["--scenes", "20", "--seed", "3", "--size", "64", "--synthetic", "18"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (out / "clip-filtered-dataset").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert content(out) != expected
    write_corpora(out, STOCK)
    assert content(out) == expected


def test_single_sets_bring_the_pictures_along(tmp_path: Path) -> None:
    out = tmp_path / "some"
    arguments = ["corpora", str(out), "--scenes", "3", "--size", "32", "--only", "llava"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in out.iterdir()) == ["LLaVA", "coco", "cocostuff", "miniature.json"]
    result = CliRunner().invoke(app, [*arguments[:-1], "imagenet"])
    assert result.exit_code == 1
    assert "imagenet" in result.output
    result = CliRunner().invoke(app, ["corpora", str(out), "--scenes", "4"])
    assert result.exit_code == 1
    assert "other settings" in result.output


def test_they_come_with_sources_of_a_manifest(corpora: Path, tmp_path: Path) -> None:
    tree = load_tree(ManifestConfig, source=corpora / "sources.toml")
    report = build_manifest(tree, tmp_path, data_root=corpora)
    manifest = Manifest(report.manifest)
    assert set(manifest.sizes) == set(tree.sources) and all(manifest.sizes.values())
    assert not any(manifest.rejections.values())
