"""Planted copies are found and named, strangers are not, and what was found can be left out."""

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from typer.testing import CliRunner

from reason_edit.tables import read_rows
from smartedit.cli import app
from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.agreement import AGREEMENT, best_agreement
from smartedit.data.audit import Audit, AuditOptions, Kind, Overlap, audit_manifest
from smartedit.data.audit_exclusion import _metadata, exclude
from smartedit.data.audit_report import OVERLAPS, PAGE
from smartedit.data.audit_texts import TextTable, find_repeated, find_shared, normalize
from smartedit.data.build import build_manifest
from smartedit.data.duplicates import find_near, find_near_inside
from smartedit.data.fingerprints import MIRROR, fingerprint, views
from smartedit.data.manifest import Manifest
from tests.reason_edit.folders import write_folder

SIDE = 160


def scene(seed: int, size: tuple[int, int] = (SIDE, 128)) -> Image.Image:
    """A picture with coarse and fine features of its own."""
    generator = np.random.default_rng(seed)
    layers = [
        Image.fromarray(generator.integers(0, 256, (n, n + 1, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        for n in (4, 9, 22)
    ]
    return Image.fromarray(np.mean([np.asarray(layer) for layer in layers], axis=0).astype(np.uint8))


def compressed(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=40)
    return Image.open(buffer).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized": lambda p: p.resize((97, 61), Image.Resampling.LANCZOS),
    "recompressed": compressed,
    "cropped": lambda p: p.crop((5, 1, 157, 123)),
    "mirrored": ImageOps.mirror,
    "recoloured": lambda p: Image.fromarray(np.asarray(p)[..., [2, 0, 1]]),
    "grey": lambda p: p.convert("L").convert("RGB"),
    "brighter": lambda p: ImageEnhance.Brightness(p).enhance(1.15),
    "mirrored and small": lambda p: compressed(ImageOps.mirror(p.resize((80, 64)))),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A benchmark of eight pictures, and a synthetic set with one exact copy, copies of each kind, and strangers."""
    folder = tmp_path_factory.mktemp("audited")
    benchmark = write_folder(folder / "benchmark")
    pictures = sorted(p for p in benchmark.rglob("*.png"))
    for number, path in enumerate(pictures):
        scene(number).save(path)
    root = folder / "SyntheticData"
    root.mkdir()
    shown: dict[str, Image.Image] = {"exact": scene(0)}
    shown |= {name: copy(scene(number % 8)) for number, (name, copy) in enumerate(COPIES.items())}
    shown |= {f"stranger {n}": scene(100 + n) for n in range(20)}
    shown["plain"] = Image.new("RGB", (64, 64), "teal")
    pairs: dict[str, object] = {}
    for number, (name, picture) in enumerate(shown.items()):
        picture.save(root / f"{number}.png")
        picture.crop((0, 0, 40, 40)).save(root / f"{number}-after.png")
        text = "change THING 001 to a pear" if name == "stranger 0" else f"do {name}"
        paths = {"origin_img_path": f"./dataset/{number}.png", "target_img_path": f"./dataset/{number}-after.png"}
        pairs[f"{number:04d}"] = {**paths, "instruction": [text], "category": name}
    (root / "SyntheticData_info_new.json").write_text(json.dumps(pairs))
    (folder / "sources.toml").write_text('[sources.synthetic]\nroot = "SyntheticData"\n')
    config = load_tree(ManifestConfig, source=folder / "sources.toml")
    build_manifest(config, folder / "out", data_root=folder)
    return folder


@pytest.fixture(scope="module")
def audit(folder: Path) -> Audit:
    options = AuditOptions(cache=folder / "cache")
    return audit_manifest(Manifest(folder / "out"), folder / "benchmark", options)


def categories(folder: Path, audit: Audit, kind: Kind) -> set[str | None]:
    return {row.category for row in Manifest(folder / "out").take(sorted(audit.leaking_rows([kind])))}


def test_every_planted_copy_is_found_and_no_stranger(folder: Path, audit: Audit) -> None:
    assert categories(folder, audit, Kind.EXACT) == {"exact"}
    assert categories(folder, audit, Kind.NEAR) == set(COPIES)
    assert categories(folder, audit, Kind.ALIKE) == set()
    assert audit.rows == 30 and audit.samples == 8 and audit.faults == {}
    assert audit.plain >= 1


def test_the_sample_that_was_copied_is_named(folder: Path, audit: Audit) -> None:
    (exact,) = [o for o in audit.overlaps if o.kind is Kind.EXACT and not o.inside]
    assert (exact.example_id, exact.other_id, exact.role) == ("synthetic/0000", "left_right/001", "image")


def test_instructions_are_compared_by_their_words(folder: Path, audit: Audit) -> None:
    same = [o for o in audit.overlaps if o.kind is Kind.SAME_TEXT]
    assert {(o.text, o.other_text) for o in same} == {("change thing 001 to a pear", "Change thing 001 to a pear.")}
    assert categories(folder, audit, Kind.SAME_TEXT) == {"stranger 0"}
    assert not {"stranger 0"} & categories(folder, audit, Kind.NEAR)


def test_fingerprints_are_read_from_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a picture was opened again")

    options = AuditOptions(cache=folder / "second", inside_threshold=None)
    manifest = Manifest(folder / "out")
    before = audit_manifest(manifest, None, options)
    monkeypatch.setattr("smartedit.data.fingerprint_cache.fingerprint", refuse)
    assert audit_manifest(manifest, None, options) == before
    (folder / "SyntheticData/5.png").touch()
    with pytest.raises(AssertionError, match="opened again"):
        audit_manifest(manifest, None, options)


def test_a_picture_is_read_again_when_another_of_its_size_and_time_takes_its_place(tmp_path: Path) -> None:
    root = tmp_path / "SyntheticData"
    root.mkdir()
    for name, seed in {"a": 1, "b": 2}.items():
        scene(seed).save(root / f"{name}.bmp")
    pair = {"origin_img_path": "a.bmp", "target_img_path": "b.bmp", "instruction": ["do"]}
    (root / "SyntheticData_info_new.json").write_text(json.dumps({"0000": pair, "0001": pair}))
    (tmp_path / "sources.toml").write_text('[sources.synthetic]\nroot = "SyntheticData"\n')
    config = load_tree(ManifestConfig, source=tmp_path / "sources.toml")
    manifest = Manifest(build_manifest(config, tmp_path / "out", data_root=tmp_path).manifest)
    options = AuditOptions(cache=tmp_path / "cache")
    assert audit_manifest(manifest, None, options).count(Kind.EXACT, inside=True) == 0
    before = (root / "b.bmp").stat()
    shutil.copy(root / "a.bmp", root / "b.bmp")
    os.utime(root / "b.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (root / "b.bmp").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert audit_manifest(manifest, None, options).count(Kind.EXACT, inside=True) == 1


def test_unreadable_pictures_are_named_and_not_kept(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "SyntheticData", tmp_path / "SyntheticData")
    (tmp_path / "SyntheticData/3.png").write_bytes(b"no picture")
    moved = Manifest(folder / "out", data_root=tmp_path)
    options = AuditOptions(cache=tmp_path / "cache")
    found = audit_manifest(moved, folder / "benchmark", options)
    assert (
        list(found.faults) == ["SyntheticData/3.png"] and "no readable picture" in found.faults["SyntheticData/3.png"]
    )
    shutil.copy(folder / "SyntheticData/3.png", tmp_path / "SyntheticData/3.png")
    assert audit_manifest(moved, folder / "benchmark", options).faults == {}


def test_an_unreadable_picture_is_like_no_other_and_hides_no_pair(tmp_path: Path) -> None:
    root = tmp_path / "SyntheticData"
    root.mkdir()
    for name, picture in {
        **{f"{n}": scene(n) for n in range(4)},
        **{f"t{n}": scene(10 + n) for n in range(4)},
        "3": compressed(scene(1)),
    }.items():
        picture.save(root / f"{name}.png")
    pairs = {
        f"{n:04d}": {"origin_img_path": f"d/{n}.png", "target_img_path": f"d/t{n}.png", "instruction": [f"do {n}"]}
        for n in range(4)
    }
    (root / "SyntheticData_info_new.json").write_text(json.dumps(pairs))
    (tmp_path / "sources.toml").write_text('[sources.synthetic]\nroot = "SyntheticData"\n')
    config = load_tree(ManifestConfig, source=tmp_path / "sources.toml")
    manifest = Manifest(build_manifest(config, tmp_path / "out", data_root=tmp_path).manifest)
    (root / "0.png").unlink()
    found = audit_manifest(manifest, None, AuditOptions(cache=tmp_path / "cache"))
    assert list(found.faults) == ["SyntheticData/0.png"]
    assert [(o.kind, o.example_id, o.other_id) for o in found.overlaps] == [
        (Kind.NEAR, "synthetic/0001", "synthetic/0003")
    ]


def test_pictures_are_compared_upright(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "SyntheticData"
    root.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    turned = scene(0).transpose(Image.Transpose.ROTATE_90)
    turned.save(root / "same.png", exif=exif)
    turned.save(root / "near.jpg", exif=exif, quality=40)
    note = exif.tobytes()
    turned.save(root / "damaged.webp", exif=note.replace(b"MM", b"XX"), lossless=True)
    pair = {"origin_img_path": "d/same.png", "target_img_path": "d/near.jpg", "instruction": ["turn"]}
    damaged = {"origin_img_path": "d/damaged.webp", "target_img_path": "d/same.png", "instruction": ["do"]}
    (root / "SyntheticData_info_new.json").write_text(json.dumps({"0000": pair, "0001": damaged}))
    (tmp_path / "sources.toml").write_text('[sources.synthetic]\nroot = "SyntheticData"\n')
    config = load_tree(ManifestConfig, source=tmp_path / "sources.toml")
    manifest = Manifest(build_manifest(config, tmp_path / "out", data_root=tmp_path).manifest)
    found = audit_manifest(manifest, folder / "benchmark", AuditOptions(cache=tmp_path / "cache"))
    assert {(o.kind, o.example_id, o.role) for o in found.overlaps if o.other_id == "left_right/001"} == {
        (Kind.EXACT, "synthetic/0000", "image"),
        (Kind.EXACT, "synthetic/0001", "target"),
        (Kind.NEAR, "synthetic/0000", "target"),
    }
    assert list(found.faults) == ["SyntheticData/damaged.webp"]


def test_what_was_found_can_be_left_out(folder: Path, audit: Audit, tmp_path: Path) -> None:
    manifest = Manifest(folder / "out")
    without = exclude(manifest, audit, tmp_path / "clean", kinds=(Kind.EXACT, Kind.NEAR, Kind.SAME_TEXT))
    clean = Manifest(without.manifest)
    assert (without.rows, without.left, len(clean)) == (10, 20, 20)
    kept = {row.category for row in clean.examples()}
    assert kept == {f"stranger {n}" for n in range(1, 20)} | {"plain"}
    again = audit_manifest(clean, folder / "benchmark", AuditOptions(cache=folder / "cache"))
    assert again.leaking_rows(list(Kind)) == set()
    with pytest.raises(ValueError, match="the manifest itself"):
        exclude(manifest, audit, folder / "out")


def test_copies_inside_are_pairs_but_source_and_target_of_a_row_are_none(tmp_path: Path) -> None:
    root = tmp_path / "SyntheticData"
    root.mkdir()
    for name, picture in {"a": scene(1), "b": scene(2), "c": ImageOps.mirror(scene(1)), "d": scene(3)}.items():
        picture.save(root / f"{name}.png")
        compressed(picture).save(root / f"{name}2.png")
    pairs = {
        f"{n:04d}": {"origin_img_path": f"d/{p}.png", "target_img_path": f"d/{p}2.png", "instruction": [f"do {p}"]}
        for n, p in enumerate("abcd")
    }
    (root / "SyntheticData_info_new.json").write_text(json.dumps(pairs))
    (tmp_path / "sources.toml").write_text('[sources.synthetic]\nroot = "SyntheticData"\n')
    config = load_tree(ManifestConfig, source=tmp_path / "sources.toml")
    manifest = Manifest(build_manifest(config, tmp_path / "out", data_root=tmp_path).manifest)
    found = audit_manifest(manifest, None, AuditOptions(cache=tmp_path / "cache"))
    pairs_found = {frozenset((o.example_id, o.other_id)) for o in found.overlaps if o.inside}
    assert pairs_found == {frozenset(("synthetic/0000", "synthetic/0002"))}
    without = exclude(manifest, found, tmp_path / "clean", inside=True)
    assert [row.example_id for row in Manifest(without.manifest).examples()] == [
        "synthetic/0000",
        "synthetic/0001",
        "synthetic/0003",
    ]


def test_of_a_copy_every_row_goes_and_two_selections_are_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "SyntheticData"
    root.mkdir()
    for name, picture in {
        "a": scene(1),
        "b": scene(2),
        "copy": scene(1),
        **{f"t{n}": scene(10 + n) for n in range(6)},
    }.items():
        picture.save(root / f"{name}.png")
    sources = ["a", "b", "copy", "copy", "a", "copy"]
    pairs = {
        f"{n:04d}": {"origin_img_path": f"d/{s}.png", "target_img_path": f"d/t{n}.png", "instruction": [f"do {n}"]}
        for n, s in enumerate(sources)
    }
    (root / "SyntheticData_info_new.json").write_text(json.dumps(pairs))
    (tmp_path / "sources.toml").write_text('[sources.synthetic]\nroot = "SyntheticData"\n')
    config = load_tree(ManifestConfig, source=tmp_path / "sources.toml")
    manifest = Manifest(build_manifest(config, tmp_path / "out", data_root=tmp_path).manifest)
    found = audit_manifest(manifest, None, AuditOptions(cache=tmp_path / "cache"))
    without = exclude(manifest, found, tmp_path / "clean", inside=True)
    kept = [row.example_id for row in Manifest(without.manifest).examples()]
    assert kept == ["synthetic/0000", "synthetic/0001", "synthetic/0004"]
    keys = {_metadata(manifest, tmp_path, {"synthetic": {"edit": 5}}, {row})["smartedit.key"] for row in range(3)}
    assert len(keys) == 3


def test_crops_inside_are_found_by_a_second_look_and_strangers_are_not(tmp_path: Path) -> None:
    root = tmp_path / "SyntheticData"
    root.mkdir()
    shown = {f"whole{n}": scene(n) for n in range(8)} | {f"stranger{n}": scene(50 + n) for n in range(8)}
    for n in range(8):
        width, height = shown[f"whole{n}"].size
        x, y = (n % 3) * 4, (n // 3) * 3
        shown[f"crop{n}"] = shown[f"whole{n}"].crop((x, y, x + round(0.95 * width), y + round(0.95 * height)))
    pairs = {}
    for number, (name, picture) in enumerate(shown.items()):
        picture.save(root / f"{name}.png")
        Image.new("RGB", (20, 20), "teal").save(root / "plain.png")
        paths = {"origin_img_path": f"{name}.png", "target_img_path": "plain.png"}
        pairs[f"{number:04d}"] = {**paths, "instruction": ["do"], "category": name}
    (root / "SyntheticData_info_new.json").write_text(json.dumps(pairs))
    (tmp_path / "sources.toml").write_text('[sources.synthetic]\nroot = "SyntheticData"\n')
    config = load_tree(ManifestConfig, source=tmp_path / "sources.toml")
    manifest = Manifest(build_manifest(config, tmp_path / "out", data_root=tmp_path).manifest)

    def found(looks: int) -> tuple[set[tuple[str | None, str | None]], int]:
        audit = audit_manifest(manifest, None, AuditOptions(cache=tmp_path / "cache", inside_looks=looks))
        names = [row.category for row in manifest.examples()]
        return {(names[o.row], names[o.other_row or 0]) for o in audit.overlaps}, audit.not_looked

    pairs_found, left_out = found(1000)
    assert pairs_found <= {(f"whole{n}", f"crop{n}") for n in range(8)} and left_out == 0
    assert len(pairs_found) >= 6  # the others share no 16 bits in a row with their picture
    without, left_out = found(0)
    assert without < pairs_found and left_out >= len(pairs_found) - len(without)


def test_mirroring_turns_known_bits() -> None:
    picture = scene(5)
    hashes = [np.frombuffer(fingerprint(p).luma, dtype=np.uint64) for p in (picture, ImageOps.mirror(picture))]
    assert np.bitwise_count(hashes[0] ^ MIRROR ^ hashes[1]).sum() <= 4
    assert np.bitwise_count(hashes[0] ^ hashes[1]).sum() > 40


def test_agreement_tells_crops_from_strangers() -> None:
    picture = scene(6)
    crop = picture.crop((9, 4, 155, 120))
    assert best_agreement(picture, crop) > AGREEMENT and best_agreement(crop, picture) > AGREEMENT
    assert best_agreement(picture, scene(7)) < AGREEMENT - 0.2


def test_words_count_and_short_texts_only_as_a_whole() -> None:
    import pyarrow as pa

    unique = normalize(pa.array(["Remove the dog!", "Please make the big red car blue", "Ändere  es."]))
    assert unique.to_pylist() == ["remove the dog", "please make the big red car blue", "ändere es"]
    table = TextTable(rows=np.array([0, 1, 2, 3]), texts=np.array([0, 1, 2, 0]), unique=unique)
    found = find_shared(table, ["remove the cat", "make the big red car blue", "ändere es"])
    assert [(m.text, m.other, round(m.similarity, 2)) for m in found] == [(1, 1, 0.8), (2, 2, 1.0)]
    count, top = find_repeated(table, 5)
    assert count == 1 and [(t.text, t.rows) for t in top] == [("remove the dog", 2)]


def test_command_fails_above_the_limit_and_shows_pairs(folder: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "report", tmp_path / "clean"
    command = ["manifest", "audit", str(folder / "out"), "--cache", str(folder / "cache"), "--out", str(out)]
    against = ["--against", str(folder / "benchmark")]
    failed = CliRunner().invoke(app, [*command, *against, "--exclude", str(clean)])
    assert failed.exit_code == 1
    assert "9 rows with pictures of the benchmark, 0 allowed" in failed.output
    page = (out / PAGE).read_text(encoding="utf-8")
    assert "9 of 30 rows show a picture of the benchmark" in page and 'src="data:image/jpeg' in page
    assert "http" not in page.replace("http-equiv", "")
    rows = read_rows(out / OVERLAPS, Overlap)
    assert sum(row.kind is Kind.NEAR and not row.inside for row in rows) >= len(COPIES)
    passed = CliRunner().invoke(app, [*command, *against, "--max-leaks", "9"])
    assert passed.exit_code == 0, passed.output
    command[2] = str(clean)
    assert CliRunner().invoke(app, [*command, *against]).exit_code == 0
    nowhere = CliRunner().invoke(app, [*command, "--against", str(tmp_path / "nowhere")])
    assert nowhere.exit_code == 2 and "no such file or folder" in nowhere.output


def test_near_search_by_buckets_misses_nothing_that_shares_a_band() -> None:
    from smartedit.data.duplicates import Prints

    generator = np.random.default_rng(0)
    luma, edges = (generator.integers(0, 2**64, (4000, 2), dtype=np.uint64) for _ in range(2))
    luma[3999] = luma[17] ^ np.array([0b111, 0], dtype=np.uint64)
    edges[2000] = edges[5] ^ MIRROR
    middle = luma.copy()
    middle[1000] = luma[2] ^ MIRROR
    middle[30] = luma[40] ^ np.array([0, 0b1], dtype=np.uint64)
    prints = Prints(
        pixels=np.zeros(4000, dtype="V32"),
        luma=luma,
        edges=edges,
        middle_luma=middle,
        middle_edges=edges,
        is_usable=np.ones(4000, dtype=bool),
        is_read=np.ones(4000, dtype=bool),
    )
    inside = find_near_inside(prints, np.arange(4000), 12)
    assert list(zip(inside.pairs.first, inside.pairs.second, inside.pairs.distance, strict=True)) == [
        (2, 1000, 0),
        (5, 2000, 0),
        (17, 3999, 3),
        (30, 40, 1),
    ]
    assert inside.cut_short == 0
    picture = scene(9)
    near = find_near([views(picture)], prints)
    assert len(near.first) == 0


def test_an_image_model_finds_neighbours(folder: Path, tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes)).save_pretrained(tmp_path / "model")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    options = AuditOptions(cache=tmp_path, inside_threshold=None, image_model=str(tmp_path / "model"), similarity=-1.0)
    manifest = Manifest(folder / "out")
    found = audit_manifest(manifest, folder / "benchmark", options)
    alike = [o for o in found.overlaps if o.kind is Kind.ALIKE]
    known = {(o.row, o.role, o.other_id) for o in found.overlaps if o.kind in (Kind.EXACT, Kind.NEAR)}
    assert len(alike) == 60 * 8 - len(known)
    assert not {(o.row, o.role, o.other_id) for o in alike} & known
    assert all(-1 <= o.score <= 1.0001 for o in alike) and len({round(o.score, 6) for o in alike}) > 100
    vectors = sorted(tmp_path.glob("vectors-*.npy"))
    before = [path.stat().st_mtime_ns for path in vectors]
    assert audit_manifest(manifest, folder / "benchmark", options) == found
    assert vectors and [path.stat().st_mtime_ns for path in vectors] == before
    with pytest.raises(ValueError, match="no image model of transformers"):
        audit_manifest(manifest, folder / "benchmark", AuditOptions(cache=tmp_path, image_model=str(folder)))


def test_an_image_model_without_a_benchmark_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="looks for neighbours of a benchmark, and none is given"):
        audit_manifest(Manifest(folder / "out"), None, AuditOptions(image_model="somewhere"))


@pytest.mark.parametrize(
    "wrong",
    [{"threshold": -1}, {"threshold": 129}, {"inside_threshold": 500}, {"inside_looks": -1}, {"similarity": 1.5},
     {"similarity": float("nan")}],
)  # fmt: skip
def test_limits_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} = "):
        AuditOptions(**wrong)  # type: ignore[arg-type]
    AuditOptions(threshold=0, inside_threshold=128, inside_looks=0, similarity=-1.0)
