import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reason_edit.files import BusyError
from reason_edit.tables import read_metadata, read_rows
from smartedit.config.loading import ConfigError, load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data import build as build_module
from smartedit.data import parts, row_groups
from smartedit.data.build import MANIFEST, REJECTIONS, BuildError, build_manifest
from smartedit.data.examples import Reason, Rejection, TrainingExample
from smartedit.data.manifest import Manifest, ManifestError
from smartedit.data.sources.registry import READERS, find_source
from tests.smartedit.data.trees import save_json, save_picture, write_reasonseg

COUNTS = {
    "refcoco": {"segment": 2},
    "grefcoco": {"segment": 2},
    "cocostuff": {"segment": 1},
    "reasonseg": {"segment": 1},
    "instructpix2pix": {"edit": 2},
    "pairs-of-the-hub": {"edit": 2},
    "magicbrush": {"edit": 2},
    "llava": {"answer": 2},
    "cc12m": {"caption": 2},
    "synthetic": {"edit": 1},
}
REJECTED = {
    "refcoco": {"bad_polygon": 1},
    "grefcoco": {"all_crowd": 1},
    "cocostuff": {"label_map_mode": 1},
    "pairs-of-the-hub": {"empty_text": 1},
    "cc12m": {"bad_line": 1},
}


def config_of(corpus: Path, *overrides: str) -> ManifestConfig:
    return load_tree(ManifestConfig, source=corpus / "sources.toml", overrides=overrides)


def build(corpus: Path, out: Path, *overrides: str) -> Manifest:
    build_manifest(config_of(corpus, *overrides), out, data_root=corpus / "data")
    return Manifest(out)


def digests(out: Path) -> tuple[str, ...]:
    return tuple(hashlib.sha256((out / name).read_bytes()).hexdigest() for name in (MANIFEST, REJECTIONS))


@pytest.fixture(scope="module")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return build(corpus, tmp_path_factory.mktemp("built") / "out")


def test_every_kind_of_source_is_in_the_corpus(corpus: Path) -> None:
    kinds = {source.kind for source in config_of(corpus).sources.values()}
    assert kinds | {"refcoco+", "refcocog"} == READERS.keys()


def test_counts_and_rejections(built: Manifest) -> None:
    assert dict(built.counts) == COUNTS
    assert {name: dict(r) for name, r in built.rejections.items() if r} == REJECTED
    rejected = read_rows(built.path.parent / REJECTIONS, Rejection)
    assert [(r.source, r.reason.value) for r in rejected] == [
        (n, reason) for n, rs in REJECTED.items() for reason in rs
    ]
    assert all(isinstance(r.reason, Reason) and r.detail for r in rejected)


def test_rows_are_what_the_readers_gave(corpus: Path, built: Manifest) -> None:
    expected = [
        item
        for name, source in config_of(corpus).sources.items()
        for item in find_source(name, source, corpus / "data").rows()
        if isinstance(item, TrainingExample)
    ]
    assert list(built.examples()) == expected
    assert read_rows(built.path, TrainingExample) == expected
    assert built.take([16, 0, 5]) == [expected[i] for i in (16, 0, 5)]
    assert list(built.examples("llava")) == [expected[i] for i in built.rows("llava")]
    assert len({row.example_id for row in expected}) == len(expected) == len(built) == 17
    for row in expected:
        for ref in (row.image, row.target, row.mask_image):
            assert ref is None or (built.data_root / ref.path).is_file()


def test_metadata(built: Manifest) -> None:
    assert built.metadata["smartedit.schema_version"] == "1"
    assert built.value("sources") == list(COUNTS)
    terms = built.value("terms")
    assert terms["cocostuff"]["license"] == "CC-BY-4.0" and "Flickr" in terms["cocostuff"]["terms"]
    assert terms["pairs-of-the-hub"]["license"] == "as I was told"
    assert {row.license for row in built.examples("pairs-of-the-hub")} == {"as I was told"}
    assert built.value("config")["refcoco"]["overlap"] == "union"
    captions = built.value("inputs")["cc12m"]
    content = (built.data_root / "cc12m.tsv").read_bytes()
    assert [(d["path"], d["sha256"]) for d in captions] == [("cc12m.tsv", hashlib.sha256(content).hexdigest())]
    assert "edit_sessions.json in MagicBrush/dev" in built.value("layouts")["magicbrush"]
    assert built.label_names["cocostuff"][16] == "class17"
    assert not any(str(built.data_root.resolve()) in text for text in built.metadata.values())


def test_other_programs_read_it(built: Manifest, tmp_path: Path) -> None:
    frame = pd.read_parquet(built.path)
    assert frame.groupby("source").size().to_dict() == {name: sum(tasks.values()) for name, tasks in COUNTS.items()}
    assert frame.loc[frame.example_id == "cc12m/00000001", "caption"].item() == '"Quote'
    table = pq.read_table(built.path, columns=["example_id", "mask_rle"])
    assert table["mask_rle"][0].as_py()["height"] == 30
    loaded = datasets.load_dataset("parquet", data_files=str(built.path), split="train", cache_dir=str(tmp_path))
    row = loaded[len(loaded) - 1]
    assert row["instructions"] == ["do", "so"] and row["image"]["path"] == "SyntheticData/a.png"
    assert loaded[0]["mask_rle"]["counts"] == table["mask_rle"][0].as_py()["counts"]


def test_same_files_give_the_same_bytes_wherever_they_lie(corpus: Path, built: Manifest, tmp_path: Path) -> None:
    copy = tmp_path / "moved" / "corpus"
    shutil.copytree(corpus, copy)
    build(copy, tmp_path / "moved" / "built" / "out")
    first = {**built.metadata, "smartedit.root": ""}
    again = {**Manifest(tmp_path / "moved" / "built" / "out").metadata, "smartedit.root": ""}
    assert first == again
    build(corpus, built.path.parent.parent / "twin")
    assert digests(built.path.parent.parent / "twin") == digests(built.path.parent)


def test_built_again_nothing_is_written(corpus: Path, tmp_path: Path) -> None:
    config = config_of(corpus)
    first = build_manifest(config, tmp_path, data_root=corpus / "data")
    assert (first.reused, first.up_to_date) == ((), False)
    before = (tmp_path / MANIFEST).stat().st_mtime_ns
    assert build_manifest(config, tmp_path, data_root=corpus / "data").up_to_date
    assert (tmp_path / MANIFEST).stat().st_mtime_ns == before


@pytest.fixture
def own_corpus(corpus: Path, tmp_path: Path) -> Path:
    shutil.copytree(corpus, tmp_path / "corpus")
    return tmp_path / "corpus"


def change_json(corpus: Path) -> None:
    path = corpus / "data/LLaVA/llava_instruct_150k.json"
    save_json(path, json.loads(path.read_text())[:1])


def add_record(corpus: Path) -> None:
    write_reasonseg(corpus / "data/ReasonSeg/train", "b", [{"label": "target", "points": [[1, 1], [5, 1], [5, 5]]}])


def remove_picture(corpus: Path) -> None:
    (corpus / "data/clip-filtered-dataset/0000132/1_1.jpg").unlink()


def swap_picture(corpus: Path) -> None:
    save_picture(corpus / "data/MagicBrush/dev/images/34/34-output1.png", (9, 9))


def change_prompt(corpus: Path) -> None:
    path = corpus / "data/clip-filtered-dataset/0000132/prompt.json"
    before = path.stat()
    path.write_text(path.read_text().replace("edit 0000132", "turn 0000132"))
    assert path.stat().st_size == before.st_size


def change_caption(corpus: Path) -> None:
    path = corpus / "data/cc12m.tsv"
    path.write_text(path.read_text().replace("A box", "A cat"))


@pytest.mark.parametrize(
    ("change", "source"),
    [
        (change_json, "llava"),
        (add_record, "reasonseg"),
        (remove_picture, "instructpix2pix"),
        (change_prompt, "instructpix2pix"),
        (change_caption, "cc12m"),
        (swap_picture, "magicbrush"),
    ],
)
def test_only_what_changed_is_read_again(own_corpus: Path, change: Callable[[Path], None], source: str) -> None:
    out, data_root = own_corpus / "out", own_corpus / "data"
    build_manifest(config_of(own_corpus), out, data_root=data_root)
    before = digests(out)
    change(own_corpus)
    report = build_manifest(config_of(own_corpus), out, data_root=data_root)
    assert set(COUNTS) - set(report.reused) == {source}
    assert digests(out) != before
    build(own_corpus, own_corpus / "fresh")
    assert digests(out) == digests(own_corpus / "fresh")
    assert len(list((out / ".parts").glob("*.parquet"))) == 2 * len(COUNTS)


def test_data_that_was_moved_is_found_where_it_lies_now_and_not_read_again(own_corpus: Path) -> None:
    out = own_corpus / "out"
    build(own_corpus, out)
    (own_corpus / "data").rename(own_corpus / "moved")
    report = build_manifest(config_of(own_corpus), out, data_root=own_corpus / "moved")
    assert (set(report.reused), report.up_to_date) == (set(COUNTS), False)
    assert Manifest(out).data_root.resolve() == own_corpus / "moved"
    assert build_manifest(config_of(own_corpus), out, data_root=own_corpus / "moved").up_to_date


def test_links_that_lead_nowhere_cost_their_own_records(own_corpus: Path) -> None:
    out, data_root, folder = own_corpus / "out", own_corpus / "data", own_corpus / "data/ReasonSeg/train"
    for name in ("b", "c"):
        write_reasonseg(folder, name, [{"label": "target", "points": [[1, 1], [5, 1], [5, 5]]}])
    picture = (folder / "b.jpg").rename(own_corpus / "b.jpg")
    (folder / "b.jpg").symlink_to("nowhere.jpg")
    (folder / "c.json").unlink()
    (folder / "c.json").symlink_to("nowhere.json")
    for place in ("SyntheticData", "coco/train2017", "clip-filtered-dataset/0000132"):
        (data_root / place / "around.jpg").symlink_to("around.jpg")
    manifest = build(own_corpus, out)
    assert manifest.counts == COUNTS
    assert manifest.rejections["reasonseg"] == {"missing_image": 1, "missing_annotation": 1}
    assert build_manifest(config_of(own_corpus), out, data_root=data_root).up_to_date
    (folder / "b.jpg").unlink()
    (folder / "b.jpg").symlink_to(picture)
    assert set(COUNTS) - set(build_manifest(config_of(own_corpus), out, data_root=data_root).reused) == {"reasonseg"}
    assert Manifest(out).sizes["reasonseg"] == 2


def test_two_builds_in_one_folder_do_not_meet(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / ".parts").mkdir()
    with (tmp_path / ".parts/lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="another build is writing there"):
            build(corpus, tmp_path)
    assert len(build(corpus, tmp_path)) == 17


def test_a_changed_option_reads_one_source_again(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path)
    config = config_of(corpus, "sources.refcoco.overlap=smartedit")
    assert set(COUNTS) - set(build_manifest(config, tmp_path, data_root=corpus / "data").reused) == {"refcoco"}


def test_a_source_with_nothing_in_it_is_an_error_and_keeps_the_others(own_corpus: Path) -> None:
    (own_corpus / "data/cc12m.tsv").write_text("no tab\n\n")
    save_json(own_corpus / "data/SyntheticData/SyntheticData_info_new.json", {})
    out = own_corpus / "out"
    with pytest.raises(BuildError) as error:
        build(own_corpus, out)
    assert "source 'cc12m': no usable record; left out: 2 bad_line" in str(error.value)
    assert "source 'synthetic': no usable record; it holds no record at all" in str(error.value)
    assert not (out / MANIFEST).exists()
    (own_corpus / "data/cc12m.tsv").write_text("a\tb\n")
    config = config_of(own_corpus)
    del config.sources["synthetic"]
    report = build_manifest(config, out, data_root=own_corpus / "data")
    assert set(COUNTS) - set(report.reused) == {"synthetic", "cc12m"}


def test_all_sources_that_are_not_found_are_named(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as error:
        build(
            corpus,
            tmp_path,
            "sources.refcoco.root=nowhere",
            "sources.llava.file=x.json",
            "sources.magicbrush.split=test",
        )
    lines = str(error.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["source 'refcoco'", "source 'magicbrush'", "source 'llava'"]
    with pytest.raises(BuildError, match="names no source"):
        build_manifest(ManifestConfig(), tmp_path, data_root=tmp_path)
    with pytest.raises(BuildError, match="holds no slash"):
        source = config_of(corpus).sources["llava"]
        build_manifest(ManifestConfig(sources={"a/b": source}), tmp_path, data_root=tmp_path)


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("sources.refcoco.overlp=union", r"sources\.refcoco.*overlp"),
        ("sources.refcoco.overlap=xor", r"sources\.refcoco.*overlap.*'union' or 'smartedit'"),
        ("sources.reasonseg.mask_threshold=0", r"sources\.reasonseg.*mask_threshold.*greater than or equal to 1"),
        ("sources.reasonseg.mask_threshold=256", r"sources\.reasonseg.*mask_threshold.*less than or equal to 255"),
        ("sources.new.root=x", r"sources\.new.*'new'"),
        ("sources.llava.kind=lava", r"sources\.llava.*'lava'"),
        ("rot=x", "rot"),
    ],
)
def test_mistakes_in_the_configuration_are_named(corpus: Path, override: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        config_of(corpus, override)


def test_broken_pictures_are_left_out_where_they_are_checked(own_corpus: Path) -> None:
    path = own_corpus / "data/clip-filtered-dataset/0000132/1_1.jpg"
    path.write_bytes(path.read_bytes()[:300])
    out = own_corpus / "out"
    assert build(own_corpus, out).rejections["instructpix2pix"] == {}
    checked = build(
        own_corpus, out, *(f"sources.{name}.check_pictures=true" for name in ("instructpix2pix", "magicbrush"))
    )
    assert checked.rejections["instructpix2pix"] == {"unreadable_image": 1}
    assert checked.counts["magicbrush"] == {"edit": 2}


def test_a_second_record_of_an_id_is_left_out(own_corpus: Path) -> None:
    path = own_corpus / "data/clip-filtered-dataset/seeds.json"
    save_json(path, [["0000132", ["1", "2", "1"]]])
    manifest = build(own_corpus, own_corpus / "out")
    assert manifest.counts["instructpix2pix"] == {"edit": 2}
    assert manifest.rejections["instructpix2pix"] == {"duplicate_id": 1}


def test_row_groups_do_not_depend_on_batches(
    corpus: Path, built: Manifest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "c").mkdir()
    lines = "".join(f"u\tcaption {i}\n" for i in range(25)) + "no tab\n" * 11
    (tmp_path / "c/cc12m.tsv").write_text(lines)
    (tmp_path / "sources.toml").write_text('[sources.cc12m]\nroot = "c"\n[sources.again]\nkind = "cc12m"\nroot = "c"\n')
    monkeypatch.setattr(row_groups, "ROWS", 10)
    made = set()
    for batch in (1, 3, 4096):
        monkeypatch.setattr(parts, "BATCH", batch)
        monkeypatch.setattr("smartedit.data.sources.cc12m.BLOCK", 7 * batch)
        config = load_tree(ManifestConfig, source=tmp_path / "sources.toml")
        out = tmp_path / f"out{batch}"
        build_manifest(config, out, data_root=tmp_path)
        metadata = pq.read_metadata(out / MANIFEST)
        assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [10, 10, 5, 10, 10, 5]
        made.add(digests(out))
    assert len(made) == 1
    manifest = Manifest(tmp_path / "out3")
    assert [row.example_id for row in manifest.take([0, 24, 25, 49])] == [
        "cc12m/00000000", "cc12m/00000024", "again/00000000", "again/00000024"
    ]  # fmt: skip
    assert sum(batch.num_rows for batch in manifest.batches("again", ["caption"])) == 25


def test_batches_that_span_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_groups, "ROWS", 10)
    schema = pa.schema([("n", pa.int64())])
    with row_groups.RowGroupWriter(tmp_path / "a.parquet", schema) as writer:
        for start, stop in ((0, 25), (25, 32), (32, 32), (32, 33)):
            writer.add(pa.RecordBatch.from_arrays([pa.array(range(start, stop), pa.int64())], schema=schema))
        writer.end_group()
        writer.add(pa.RecordBatch.from_arrays([pa.array([33], pa.int64())], schema=schema))
    metadata = pq.read_metadata(tmp_path / "a.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [10, 10, 10, 3, 1]
    assert pq.read_table(tmp_path / "a.parquet")["n"].to_pylist() == list(range(34))


KILLER = """
import os, signal, sys
from pathlib import Path
from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
corpus, folder = Path(sys.argv[1]), Path(sys.argv[2])
config = load_tree(ManifestConfig, source=corpus / "sources.toml")
for name in sorted(set(config.sources) - {"refcoco", "llava", "cc12m"}):
    del config.sources[name]

def build_until(moment, out):
    # In a child process: build, and be killed when the file system is touched for that many times.
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.chmod") and str(arguments[0]).startswith(str(out)):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    build_manifest(config, out, data_root=corpus / "data")
    (folder / "count").write_text(str(count))
    os._exit(0)

assert build_until(0, folder / "whole") == 0
total = int((folder / "count").read_text())
for i in range(10):
    moment = 1 + (total - 2) * i // 9
    assert build_until(moment, folder / str(moment)) == signal.SIGKILL
print(total)
"""


def test_killed_at_ten_moments_the_same_command_gives_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLER, str(corpus), str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 20
    expected = digests(tmp_path / "whole")
    killed = [path for path in tmp_path.iterdir() if path.name.isdigit()]
    assert len(killed) == 10
    assert sum((out / MANIFEST).exists() for out in killed) < 3
    config = config_of(corpus)
    for name in set(COUNTS) - {"refcoco", "llava", "cc12m"}:
        del config.sources[name]
    for out in killed:
        build_manifest(config, out, data_root=corpus / "data")
        assert digests(out) == expected, f"killed at event {out.name} of {run.stdout}"
        assert not [path for path in out.rglob("*") if ".tmp-" in path.name]


def test_a_manifest_that_is_none(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        Manifest(tmp_path)
    (tmp_path / MANIFEST).write_bytes(b"x")
    with pytest.raises(ManifestError, match="not a readable Parquet file"):
        Manifest(tmp_path)
    pq.write_table(pq.read_table(corpus / "data/InstructPix2PixCLIPFiltered_HF/data"), tmp_path / MANIFEST)
    with pytest.raises(ManifestError, match=r"manifest\.parquet: is no manifest"):
        Manifest(tmp_path)
    monkeypatch.setattr(build_module, "SCHEMA_VERSION", "0")
    with pytest.raises(ManifestError, match="schema version 0, this program reads 1"):
        build(corpus, tmp_path / "old")


def test_rows_that_are_not_there(built: Manifest) -> None:
    for number in (-1, len(built)):
        with pytest.raises(IndexError, match="there is no row"):
            built.take([number])
    with pytest.raises(ManifestError, match="no source 'x'; there are refcoco"):
        built.rows("x")
    assert read_metadata(built.path)["smartedit.key"]
