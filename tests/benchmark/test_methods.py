import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.edit import edit_run
from benchmark.methods.outputs import find_outputs
from benchmark.methods.registry import METHODS, MethodWords, resolve_methods
from benchmark.methods.resolution import working_size
from benchmark.methods.specs import MethodError, Setting, Tag
from benchmark.provenance import describe_dataset, open_run
from benchmark.records import EditRecord
from benchmark.report.content import MethodInfo
from benchmark.runs import Run
from reason_edit.loading import load_reason_edit, read_image, read_mask
from reason_edit.schema import Category
from smartedit.editing import EditRequest
from tests.benchmark.tiny_pipeline import tiny_autoencoder, write_tiny_pipeline
from tests.reason_edit.folders import draw, write_folder

EDITOR = "tests.benchmark.editors:inverter"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("methods") / "set")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_pipeline(tmp_path_factory.mktemp("pipeline"))


def edit(folder: Path, run: Path, batch_size: int = 4, **words: list[str]) -> list[EditRecord]:
    samples = load_reason_edit(folder)
    methods = resolve_methods(MethodWords(**words))
    described = describe_dataset(samples, folder, "test")
    open_run(
        Run(run),
        dataset=described,
        samples=samples,
        methods=methods,
        device="cpu",
        seed=0,
        batch_size=batch_size,
        command=[],
    )
    return edit_run(Run(run), methods, samples, device="cpu", batch_size=batch_size)


def pixels(run: Path, record: EditRecord) -> np.ndarray:
    assert record.image is not None, record.error
    return np.asarray(Image.open(run / record.image))


def test_copy_input_returns_the_picture(folder: Path, tmp_path: Path) -> None:
    for record, sample in zip(edit(folder, tmp_path, methods=["copy-input"]), load_reason_edit(folder), strict=True):
        assert np.array_equal(pixels(tmp_path, record), np.asarray(read_image(sample.image)))


def test_oracle_inpaint_changes_the_mask_only(folder: Path, tmp_path: Path) -> None:
    records = edit(folder, tmp_path, methods=["oracle-inpaint"], sets=["oracle-inpaint.dilation=0"])
    for record, sample in zip(records, load_reason_edit(folder), strict=True):
        changed = (pixels(tmp_path, record) != np.asarray(read_image(sample.image))).any(axis=-1)
        assert changed.any() and not changed[~read_mask(sample.mask)].any()


def test_oracle_target_needs_a_data_set_with_targets(folder: Path, tmp_path: Path) -> None:
    assert all("holds no target" in str(r.error) for r in edit(folder, tmp_path / "a", methods=["oracle-target"]))
    own = write_folder(tmp_path / "set", {Category.COLOR: ["001"]})
    target = own / "answers" / "targets" / "color" / "001.png"
    target.parent.mkdir(parents=True)
    draw(77).save(target)
    records = edit(own, tmp_path / "b", methods=["oracle-target"])
    assert np.array_equal(pixels(tmp_path / "b", records[0]), np.asarray(draw(77)))


def test_vae_round_trip_of_either_autoencoder(folder: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    tiny_autoencoder().save_pretrained(tmp_path / "kl" / "vae")
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).save_pretrained(tmp_path / "tiny")
    records = edit(
        folder,
        tmp_path / "run",
        methods=["kl=vae-roundtrip", "tiny=vae-roundtrip"],
        models=[f"kl={tmp_path / 'kl'}", f"tiny={tmp_path / 'tiny'}"],
    )
    assert {pixels(tmp_path / "run", r).shape for r in records} == {(32, 48, 3)}
    with pytest.raises(MethodError, match="give an AutoencoderKL"):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
        edit(folder, tmp_path / "run2", methods=["vae-roundtrip"], models=[str(tmp_path / "other")])


def test_instruct_pix2pix_runs_the_real_pipeline(folder: Path, pipeline: Path, tmp_path: Path) -> None:
    words = {
        "methods": ["instruct-pix2pix", "magicbrush"],
        "models": [f"instruct-pix2pix={pipeline}", f"magicbrush={pipeline}"],
        "sets": ["instruct-pix2pix.steps=2", "instruct-pix2pix.side=32", "magicbrush.steps=2", "magicbrush.side=32"],
    }
    batched = edit(folder, tmp_path / "a", batch_size=4, **words)
    single = edit(folder, tmp_path / "b", batch_size=1, **words)
    assert {r.error for r in batched} == {None}
    assert Run(tmp_path / "a").settings()["methods"]["magicbrush"]["weights_sha256"]
    for a, b in zip(batched, single, strict=True):
        first, second = pixels(tmp_path / "a", a).astype(int), pixels(tmp_path / "b", b).astype(int)
        assert first.shape == (32, 32, 3) and abs(first - second).max() <= 1
    by_method = {(r.method, r.sample_id): r.image_sha256 for r in batched}
    assert by_method["instruct-pix2pix", "color/001"] == by_method["magicbrush", "color/001"]


def test_the_seed_decides_the_edit(pipeline: Path) -> None:
    (method,) = resolve_methods(
        MethodWords(
            methods=["instruct-pix2pix"],
            models=[str(pipeline)],
            sets=["instruct-pix2pix.steps=1", "instruct-pix2pix.side=16"],
        )
    )
    editor = method.build(Setting(device="cpu"))
    images = [editor.edit([EditRequest(image=draw(1), instruction="x", seed=s)])[0].image for s in (1, 1, 2)]
    first, again, other = (np.asarray(i) for i in images)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(("policy", "expected"), [("square", (256, 256)), ("area", (312, 208)), ("native", (600, 400))])
def test_working_sizes(policy: str, expected: tuple[int, int]) -> None:
    assert working_size((601, 401), policy, 256, 8) == expected
    assert min(working_size((2000, 10), policy, 256, 8)) >= 8


def test_outputs_by_id_and_by_the_authors_folders(folder: Path, tmp_path: Path) -> None:
    samples = load_reason_edit(folder)
    for number, sample in enumerate(samples):
        path = tmp_path / "mine" / f"{sample.sample_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        draw(number).save(path)
    assert set(find_outputs(tmp_path / "mine", samples)) == {s.sample_id for s in samples}
    theirs = tmp_path / "theirs" / "Understand" / "LeftRight_metrics_1"
    theirs.mkdir(parents=True)
    for number in (1, 2):
        draw(number).save(theirs / f"{number:04d}_T7.5_I1.5.png")
    (tmp_path / "theirs" / "Understand" / "LeftRight_1").mkdir()
    draw(3).save(tmp_path / "theirs" / "Understand" / "LeftRight_1" / "0001_T7.5_I1.4.png")
    found = find_outputs(tmp_path / "theirs", samples)
    assert {k: v.name for k, v in found.items()} == {
        "left_right/001": "0001_T7.5_I1.5.png",
        "left_right/002": "0002_T7.5_I1.5.png",
    }


def test_authors_numbers_follow_the_lexicographic_order(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {Category.COLOR: [str(n) for n in range(1, 12)]})
    out = tmp_path / "out" / "Color_metrics_4"
    out.mkdir(parents=True)
    for number in range(1, 12):
        draw(number).save(out / f"{number:04d}_T7.5_I1.5.png")
    found = find_outputs(tmp_path / "out", load_reason_edit(folder))
    assert [found[f"color/{s}"].name[:4] for s in ("1", "10", "11", "2")] == ["0001", "0002", "0003", "0004"]


def test_outputs_that_belong_to_nothing_or_twice_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "color").mkdir()
    for name in ("001.png", "001.jpg", "009.png"):
        draw(1).save(tmp_path / "color" / name)
    with pytest.raises(MethodError) as caught:
        find_outputs(tmp_path, load_reason_edit(folder))
    assert "2 files cannot be paired" in str(caught.value)
    assert "color/009.png: belongs to no sample" in str(caught.value)
    assert "2 pictures for color/001" in str(caught.value)


def test_missing_and_wrong_sized_outputs_are_error_rows(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, size in {
        "color/001": (48, 32),
        "mirror/001": (48, 20),
        "left_right/001": (32, 32),
        "left_right/002": (6, 4),
    }.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        draw(1, size).save(out / f"{name}.png")
    errors = {r.sample_id: r.error for r in edit(folder, tmp_path / "run", outputs=[str(out)])}
    assert errors["color/001"] is None and errors["left_right/001"] is None
    assert "no picture for reasoning/001; save it as reasoning/001.png" in str(errors["reasoning/001"])
    assert "48 x 20, neither the source's shape" in str(errors["mirror/001"])
    assert "less than a quarter" in str(errors["left_right/002"])
    taken = edit(folder, tmp_path / "run2", methods=["theirs"], outputs=[str(out)], sets=["theirs.any_size=true"])
    assert {r.sample_id for r in taken if r.error is None} == {
        "color/001",
        "mirror/001",
        "left_right/001",
        "left_right/002",
    }
    assert {r.method for r in taken} == {"theirs"}


def test_pictures_tagged_by_the_user_are_listed_apart(folder: Path, tmp_path: Path) -> None:
    """The tags decide no picture: a factory gets neither them nor more of a sample than any editor."""
    (tmp_path / "out" / "color").mkdir(parents=True)
    draw(1).save(tmp_path / "out" / "color" / "001.png")
    sets = ["theirs.tags=compositing, prompt-rewrite", "mine.tags=prompt-rewrite", 'served.tags=["mask-given"]']
    words = {"methods": ["theirs", f"mine={EDITOR}", f"plain={EDITOR}"], "outputs": [str(tmp_path / "out")]}
    served = {"methods": ["served=http"], "sets": [*sets[2:], "served.url=http://host/edit"]}
    (one,) = resolve_methods(MethodWords(**served))
    assert one.settings()["tags"] == ["mask-given"]
    records = edit(folder, tmp_path / "run", sets=sets[:2], **words)
    assert sum(r.error is None for r in records if r.method == "mine") == 8
    made = Run(tmp_path / "run").settings()["methods"]
    assert {k: m["tags"] for k, m in made.items()} == {
        "theirs": ["compositing", "prompt-rewrite"],
        "mine": ["prompt-rewrite"],
        "plain": ["direct"],
    }
    assert all("tags" not in m["options"] for m in made.values())
    sections = {k: MethodInfo(label=k, tags=tuple(m["tags"])).section for k, m in made.items()}
    assert sections == {
        "theirs": "Given the mask, or compositing",
        "mine": "Rewriting the prompt",
        "plain": "Editors",
    }
    edit(folder, tmp_path / "run", sets=sets[:2], **words)


def test_outputs_that_are_added_or_mended_are_read_again(folder: Path, tmp_path: Path) -> None:
    """The remedy of a missing picture, followed by the same command, works."""
    out = tmp_path / "out" / "color" / "001.png"
    out.parent.mkdir(parents=True)
    draw(1).save(out)
    assert [r.sample_id for r in edit(folder, tmp_path / "run", outputs=[str(tmp_path / "out")]) if not r.error] == [
        "color/001"
    ]
    draw(2).save(out)
    (tmp_path / "out" / "mirror").mkdir()
    draw(3).save(tmp_path / "out" / "mirror" / "001.png")
    made = {r.sample_id: r for r in edit(folder, tmp_path / "run", outputs=[str(tmp_path / "out")]) if not r.error}
    assert set(made) == {"color/001", "mirror/001"}
    assert np.array_equal(pixels(tmp_path / "run", made["color/001"]), np.asarray(draw(2)))


def test_a_run_follows_its_data_set_to_another_place(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "before")
    edit(tmp_path / "before", tmp_path / "run", methods=["copy-input"])
    (tmp_path / "before").rename(tmp_path / "after")
    edit(tmp_path / "after", tmp_path / "run", methods=["copy-input"])
    assert all(sample.image.is_file() for sample in Run(tmp_path / "run").samples())


def test_parts_of_files_that_changed_do_not_come_back(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "color" / "001.png"
    out.parent.mkdir(parents=True)
    draw(1).save(out)
    edit(folder, tmp_path / "run", outputs=[str(tmp_path / "out")])
    part = tmp_path / "run" / "edits" / "outputs.parquet"
    assert part.is_file()
    shutil.copy(part, part.with_name("outputs.1-of-2.parquet"))
    draw(2).save(out)
    made = {r.sample_id: r for r in edit(folder, tmp_path / "run", outputs=[str(tmp_path / "out")]) if not r.error}
    kept = tmp_path / "run" / str(made["color/001"].image)
    assert made["color/001"].image_sha256 == hashlib.sha256(kept.read_bytes()).hexdigest()
    assert not part.with_name("outputs.1-of-2.parquet").exists()


def test_an_editor_gets_picture_and_instruction_only(folder: Path, tmp_path: Path) -> None:
    records = edit(folder, tmp_path, methods=[f"mine={EDITOR}"])
    assert [r.error for r in records] == [None] * len(records)
    assert records[0].response == "CHANGE THING 001 TO A PEAR."
    assert Tag.DIRECT in resolve_methods(MethodWords(methods=[EDITOR]))[0].spec.tags
    for spec in METHODS.values():
        privileged = spec.name in {"oracle-inpaint", "oracle-target", "outputs"}
        assert (Tag.DIRECT in spec.tags) != privileged


def test_one_bad_sample_takes_no_other_along(folder: Path, tmp_path: Path) -> None:
    records = edit(folder, tmp_path, methods=[f"mine={EDITOR}"], sets=['mine.fail_on="002"'])
    failed = {r.sample_id: r.error for r in records if r.error}
    assert failed == dict.fromkeys(("left_right/002", "reasoning/002"), "RuntimeError: cannot do 002")
    assert len(records) == len(load_reason_edit(folder))


def test_a_wrong_number_of_results_is_an_error(folder: Path, tmp_path: Path) -> None:
    records = edit(folder, tmp_path, methods=[f"mine={EDITOR}"], sets=["mine.count=fewer"])
    assert {r.error for r in records} == {
        "the editor returned 0 results for 1 requests; it must return a list, one for each, in order"
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"methods": ["no-such"]}, "unknown method; one of copy-input"),
        ({"methods": []}, "no method: give --method"),
        ({"methods": ["copy-input", "copy-input"]}, "stands twice"),
        ({"methods": ["outputs"]}, "give --outputs DIR"),
        ({"outputs": ["a", "b"]}, "name each"),
        ({"outputs": ["a=D1", "a=D2"]}, "--outputs a=D2: a is D1 already; give it another label"),
        ({"outputs": ["a=D1"], "sets": ["a.tags=composited"]}, "'composited': Input should be 'direct', 'mask-given'"),
        ({"methods": ["copy-input"], "models": ["x"]}, "none of them take a model"),
        ({"methods": ["copy-input"], "sets": ["other.a=1"]}, "no method 'other'"),
        ({"methods": ["instruct-pix2pix"], "sets": ["instruct-pix2pix.stepps=3"]}, "instruct-pix2pix.stepps"),
        ({"methods": ["instruct-pix2pix"], "sets": ["instruct-pix2pix.steps=0"]}, "instruct-pix2pix.steps"),
        ({"methods": ["vae-roundtrip"]}, "vae-roundtrip: needs model; give --model vae-roundtrip=MODEL or --set"),
    ],
)
def test_wrong_words_are_named(words: dict[str, list[str]], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        resolve_methods(MethodWords(**words))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no.such.module:factory", "No module named"),
        ("tests.benchmark.editors:nothing", "no attribute 'nothing'"),
        ("tests.benchmark.editors:raises", "the factory raised OSError: no weights here"),
        ("tests.benchmark.editors:no_editor", "has no edit"),
        (
            "tests.benchmark.broken_editors:any",
            "importing tests.benchmark.broken_editors raised RuntimeError: a module",
        ),
    ],
)
def test_factories_that_fail_are_named(name: str, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        resolve_methods(MethodWords(methods=[name]))[0].settings()
        resolve_methods(MethodWords(methods=[name]))[0].build(Setting(device="cpu"))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/no/such/folder", "there is no such folder"),
        ("owner/model", "not in the cache, and the hub does not answer; fetch it where there is a network"),
        ("a b/c", "neither a folder nor a hub id"),
    ],
)
def test_weights_that_are_not_there_fail_at_once(model: str, message: str) -> None:
    with pytest.raises(MethodError, match=message):
        resolve_methods(MethodWords(methods=["instruct-pix2pix"], models=[model]))[0].settings()
