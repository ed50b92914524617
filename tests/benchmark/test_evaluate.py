"""The command line end to end: real processes, killed and resumed, and bad input."""

import filecmp
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.edit import edit_run
from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.runs import Run, RunError
from reason_edit.files import file_sha256, sole_holder
from reason_edit.schema import Category
from smartedit.weights import shipped
from tests.reason_edit.folders import draw, draw_mask, write_folder

ROOT = Path(__file__).parents[2]
BENCH = [sys.executable, "-m", "benchmark"]
EDITOR = "tests.benchmark.editors:inverter"
KILLS = int(os.environ.get("SMARTEDIT_TEST_KILLS", "3"))
"""Moments at which a whole evaluation is killed; more of them when asked for."""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def bench(*words: object, check: bool = True) -> Done:
    """The command line in this process, which spares the imports."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert not check or result.exit_code == 0, result.output
    return Done(result.exit_code, result.stdout, result.stderr)


def process(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own, which can be killed."""
    return subprocess.run(
        [*BENCH, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("evaluate") / "set")


def files(run: Path) -> dict[str, bytes]:
    """Every file of a run; `log.jsonl` holds times, and `run.json` the command with the run's own path."""
    names = (p for p in run.rglob("*") if p.is_file() and p.name not in {"log.jsonl", "run.json"})
    return {str(p.relative_to(run)): p.read_bytes() for p in names}


def test_evaluate_edit_score_report(folder: Path, tmp_path: Path) -> None:
    options = ("--dataset", folder, "--method", "copy-input", "--method", "oracle-inpaint", "--protocol", "strict-v1")
    done = bench("evaluate", *options, "--run", tmp_path / "a")
    assert "copy-input" in done.stdout and "report.html" in done.stdout
    run = Run(tmp_path / "a")
    scores = {(s.method, s.sample_id, s.metric): s.value for s in run.scores()}
    assert {s.protocol for s in run.scores()} == {"strict-v1"}
    assert scores["copy-input", "color/001", "background_mse"] == 0
    assert scores["copy-input", "color/001", "background_psnr"] == np.inf
    assert np.isnan(scores["copy-input", "color/001", "clip_score"])
    settings = run.settings()
    assert settings["protocols"]["strict-v1"]["networks"]["clip"].keys() == {"missing"}
    assert settings["dataset"]["samples"] == 8 and settings["environment"]["versions"]["torch"]
    bench("edit", *options[:-2], "--run", tmp_path / "b")
    bench("score", tmp_path / "b", "--protocol", "strict-v1")
    assert filecmp.cmp(tmp_path / "a" / "scores.parquet", tmp_path / "b" / "scores.parquet", shallow=False)
    assert bench("verify", tmp_path / "a").stdout.endswith("agree with the record\n")


def test_shards_give_the_bytes_of_one_process(folder: Path, tmp_path: Path) -> None:
    options = ("--dataset", folder, "--method", f"mine={EDITOR}", "--batch-size", "2")
    bench("edit", *options, "--run", tmp_path / "whole")
    for shard in ("2/3", "1/3", "3/3"):
        bench("edit", *options, "--run", tmp_path / "parts", "--shard", shard)
    assert (tmp_path / "parts" / "edits.parquet").read_bytes() == (tmp_path / "whole" / "edits.parquet").read_bytes()


def test_failed_samples_are_rows_and_end_non_zero(folder: Path, tmp_path: Path) -> None:
    options = ("--dataset", folder, "--method", f"mine={EDITOR}", "--protocol", "strict-v1", "--run", tmp_path / "run")
    done = bench("evaluate", *options, "--set", 'mine.fail_on="002"', check=False)
    assert done.returncode == 1
    assert "2 edits failed" in done.stderr and "mine: left_right/002: RuntimeError: cannot do 002" in done.stderr
    run = Run(tmp_path / "run")
    values = {s.sample_id: s.value for s in run.scores() if s.metric == "background_psnr"}
    assert len(values) == 8 and np.isnan(values["left_right/002"]) and np.isfinite(values["left_right/001"])
    assert any("cannot do 002" in u.reason for u in run.unscored())
    assert "5/6" in done.stdout and "1/2" in done.stdout


def test_results_that_cannot_be_kept_are_their_samples_failures(folder: Path, tmp_path: Path) -> None:
    options = ("--dataset", folder, "--method", "odd=tests.benchmark.editors:odd", "--run", tmp_path / "run")
    done = bench("edit", *options, "--batch-size", "8", check=False)
    assert done.returncode == 1 and "4 edits failed" in done.stderr
    errors = [record.error or "" for record in Run(tmp_path / "run").edits()]
    for error, words in zip(
        errors, ("image file is truncated", "empty image", "dict; it must", "Unicode"), strict=False
    ):
        assert words in error
    assert errors[4:] == [""] * 4


def test_the_record_of_the_picture_that_is_there_counts_whatever_the_shards(folder: Path, tmp_path: Path) -> None:
    run, options = Run(tmp_path / "run"), ("--dataset", folder, "--method", f"mine={EDITOR}", "--run", tmp_path / "run")
    for shard in ("1/2", "2/2"):
        bench("edit", *options, "--shard", shard)
    picture = run.image_path("mine", "color/001")
    Image.new("RGB", (32, 32)).save(picture)  # as a batch that is made anew may come out otherwise
    bench("edit", *options)
    assert {r.sample_id: r.image_sha256 for r in run.edits()}["color/001"] == file_sha256(picture)
    bench("score", run.folder, "--protocol", "strict-v1")


@pytest.mark.parametrize("step", [1, 3])
def test_kill_while_editing_and_resume(folder: Path, tmp_path: Path, step: int) -> None:
    """Killed inside the editor at every batch: the resumed files are those of an undisturbed run."""
    options = ("--dataset", folder, "--method", f"mine={EDITOR}", "--batch-size", "2")
    bench("edit", *options, "--run", tmp_path / "whole")
    killed = process("edit", *options, "--run", tmp_path / "killed", SMARTEDIT_TEST_KILL=str(step + 1))
    assert killed.returncode == -signal.SIGKILL
    bench("edit", *options, "--run", tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_kill_evaluate_at_random_moments(folder: Path, tmp_path: Path) -> None:
    """One run killed again and again, at moments spread over its files, and then finished."""
    options = ("--dataset", folder, "--method", f"mine={EDITOR}", "--method", "oracle-inpaint", "--batch-size", "2")
    assert process("evaluate", *options, "--protocol", "strict-v1", "--run", tmp_path / "whole").returncode == 0
    whole, resumed = tmp_path / "whole", tmp_path / "killed"
    # A moment is a number of files, as the clock says little on a busy machine; later kills come at later moments.
    total = len(files(whole))
    moments = sorted(random.Random(5).randint(1, total - 1) for _ in range(KILLS))
    command = [*BENCH, "evaluate", *map(str, options), "--protocol", "strict-v1", "--run", str(resumed)]
    killed = 0
    for moment in moments:
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None:
            if sum(p.is_file() for p in resumed.rglob("*")) >= moment:
                running.kill()
                killed += 1
                break
            time.sleep(0.002)
        running.wait()
    assert killed
    bench("evaluate", *options, "--protocol", "strict-v1", "--run", tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_killed_before_run_json_resumes(folder: Path, tmp_path: Path) -> None:
    """What is written before `run.json` makes no stranger of the run folder, and no half file stays in it."""
    options = ("--dataset", folder, "--method", "copy-input")
    bench("edit", *options, "--run", tmp_path / "whole")
    killed = tmp_path / "killed"
    (killed / "edits" / "copy-input").mkdir(parents=True)
    for half in (".run.tmp-1.json", ".samples.tmp-2.parquet", "edits/copy-input/.001.tmp-3.png"):
        (killed / half).write_text("half")
    done = bench("edit", *options, "--run", killed, check=False)
    assert done.returncode == 1 and "not empty and no run folder" in done.stderr
    (killed / "edits" / "copy-input" / ".001.tmp-3.png").rename(killed / ".001.tmp-3.png")
    (killed / "edits" / "copy-input").rmdir()
    (killed / "edits").rmdir()
    (killed / "samples.parquet").write_bytes((tmp_path / "whole" / "samples.parquet").read_bytes())
    bench("edit", *options, "--run", killed)
    assert files(killed) == files(tmp_path / "whole")


def test_a_label_that_has_edited_nothing_may_be_mended(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    wrong = ("edit", "--dataset", folder, "--method", f"mine={EDITOR}", "--set", "mine.fail_on=e", "--run", run)
    assert bench(*wrong, check=False).returncode == 1
    assert all(record.error for record in Run(run).edits())
    bench("edit", "--dataset", folder, "--method", f"mine={EDITOR}", "--run", run)
    assert all(record.error is None for record in Run(run).edits())
    done = bench(*wrong, check=False)
    assert done.returncode == 1 and "made with other settings" in done.stderr


def test_settings_of_a_label_that_is_being_edited_stay(folder: Path, tmp_path: Path) -> None:
    run, mine = Run(tmp_path / "run"), f"mine={EDITOR}"
    bench("edit", "--dataset", folder, "--method", mine, "--set", "mine.fail_on=e", "--run", run.folder, check=False)
    again = ("edit", "--dataset", folder, "--method", mine, "--run", run.folder)
    with sole_holder(run.folder / ".edit-mine-1-of-2.lock", ""):
        done = bench(*again, check=False)
    assert done.returncode == 1 and "made with other settings" in done.stderr
    # A process that opened the run before another one mended the label finds that out before it edits.
    (method,) = resolve_methods(MethodWords(methods=[mine], sets=["mine.fail_on=e"]))
    bench(*again)
    with pytest.raises(RunError, match="another process has just given mine other settings"):
        edit_run(run, [method], run.samples(), device="cpu")


def test_a_run_from_before_a_setting_had_a_name_keeps_its_pictures(folder: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    bench("edit", "--dataset", folder, "--method", f"mine={EDITOR}", "--run", run.folder)
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.png")}
    settings = run.settings()
    absent = [name for name, value in settings["methods"]["mine"].items() if value is None]
    kept = {name: value for name, value in settings["methods"]["mine"].items() if name not in absent}
    run.write_settings({**settings, "methods": {"mine": {**kept, "gone": None}}})
    bench("edit", "--dataset", folder, "--method", f"mine={EDITOR}", "--run", run.folder)
    assert before and {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.png")} == before


def test_two_runs_do_not_mix(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench("edit", "--dataset", folder, "--method", f"mine={EDITOR}", "--run", run)
    other = write_folder(tmp_path / "other", {Category.COLOR: ["001"]})
    for options, message in [
        (("--dataset", other, "--method", "copy-input"), "made for another data set"),
        (("--dataset", folder, "--method", "copy-input", "--seed", "1"), "made with seed 0, now 1"),
        (("--dataset", folder, "--method", f"mine={EDITOR}", "--set", "mine.count=fewer"), "made with other settings"),
    ]:
        done = bench("edit", *options, "--run", run, check=False)
        assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("x")
    done = bench("edit", "--dataset", folder, "--method", "copy-input", "--run", full, check=False)
    assert done.returncode == 1 and "not empty and no run folder" in done.stderr
    bench("edit", "--dataset", folder, "--method", "copy-input", "--run", run)
    assert {r.method for r in Run(run).edits()} == {"mine", "copy-input"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "nothing"), "unknown method"),
        (("--method", "copy-input", "--category", "colour"), "--category colour: unknown; there are left_right"),
        (("--method", "copy-input", "--protocol", "v9"), "unknown protocol 'v9'"),
        (("--method", "copy-input", "--pairing", "sorted"), "pairing"),
        (("--method", "copy-input", "--clip-model", "/nowhere"), "CLIP /nowhere"),
        (("--method", "copy-input", "--lpips-backbone", "/nowhere"), "LPIPS backbone /nowhere"),
        (("--method", "copy-input", "--device", "cuda:9"), "--device cuda:9"),
        (("--method", "instruct-pix2pix"), "the hub does not answer"),
        (("--outputs", "/nowhere"), "/nowhere: there is no such folder"),
    ],
)
def test_wrong_options_are_named_at_once(folder: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    done = bench("evaluate", "--dataset", folder, *options, "--run", tmp_path / "run", check=False)
    assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "scores.parquet").exists()


def test_cheap_mistakes_come_before_the_search_for_networks(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: object, **__: object) -> None:
        raise AssertionError("networks were looked for")

    monkeypatch.setattr("benchmark.networks.find_networks", asked)
    for words, message in [
        (("evaluate", "--dataset", folder, "--method", "nothing", "--run", tmp_path / "run"), "unknown method"),
        (("score", tmp_path / "nowhere"), "not a run folder"),
    ]:
        done = bench(*words, check=False)
        assert done.returncode == 1 and message in done.stderr


def test_a_scoring_that_fails_leaves_what_is_said_of_the_scores_that_stand(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench("evaluate", "--dataset", folder, "--method", "copy-input", "--protocol", "miniature-v1", "--run", run)
    described = run / "scores" / "miniature-v1" / "protocol.json"
    before = [Run(run).settings()["protocols"], described.read_text()]
    (run / "edits" / "copy-input" / "color" / "001.png").unlink()
    done = bench("score", run, "--protocol", "miniature-v1", "--clip-model", shipped("clip-miniature"), check=False)
    assert done.returncode == 1 and "001.png: cannot be read" in done.stderr
    assert [Run(run).settings()["protocols"], described.read_text()] == before


def test_awkward_pictures_go_through(tmp_path: Path) -> None:
    """A JPEG named PNG, RGBA, 16 bits, gray, CMYK, one pixel, a large one; an empty mask; a truncated PNG."""
    stems = [f"{n:03d}" for n in range(1, 10)]
    folder = write_folder(tmp_path / "set", {Category.COLOR: stems})
    place = folder / "4-Color"
    draw(1).save(place / "001.png", format="JPEG")
    draw(2).convert("RGBA").save(place / "002.png")
    Image.fromarray(np.asarray(draw(3).convert("L")).astype(np.uint16) * 257).save(place / "003.png")
    draw(4).convert("L").save(place / "004.png")
    draw(5).convert("CMYK").save(place / "005.png", format="JPEG")
    draw(6, (1, 1)).save(place / "006.png")
    draw(7, (8000, 600)).save(place / "007.png")
    Image.new("L", (48, 32)).save(place / "008_mask.jpg")
    content = (place / "009.png").read_bytes()
    (place / "009.png").write_bytes(content[: len(content) // 2])
    options = ("--dataset", folder, "--method", "copy-input", "--method", "oracle-inpaint")
    done = bench("evaluate", *options, "--protocol", "strict-v1", "--run", tmp_path / "run", check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "009.png: cannot be decoded" in done.stderr and "008_mask.jpg: the mask is empty" in done.stderr
    run = Run(tmp_path / "run")
    errors = {(r.method, r.sample_id): r.error for r in run.edits()}
    assert {k for k, v in errors.items() if v} >= {("copy-input", "color/009"), ("oracle-inpaint", "color/008")}
    psnr = {s.sample_id: s.value for s in run.scores() if (s.method, s.metric) == ("copy-input", "background_psnr")}
    assert len(psnr) == 9
    assert all(psnr[f"color/{s}"] == np.inf for s in stems[:5])
    assert np.isnan(psnr["color/009"])
    assert bench("check", folder, check=False).returncode == 1


def test_check_and_inputs(folder: Path, tmp_path: Path) -> None:
    done = bench("check", folder, "--write", tmp_path / "index.parquet")
    assert "nothing is wrong" in done.stdout and "left_right" in done.stdout
    bench("inputs", tmp_path / "index.parquet", "--out", tmp_path / "inputs")
    written = sorted(p.relative_to(tmp_path / "inputs").as_posix() for p in (tmp_path / "inputs").rglob("*.*"))
    assert "left_right/001.png" in written and not any("mask" in name for name in written)
    assert "pear 001" not in "".join(p.read_text() for p in (tmp_path / "inputs").glob("*.*"))
    color = tmp_path / "inputs" / "color" / "001.png"
    before = color.read_bytes()
    draw(77).save(color)
    bench("inputs", folder, "--out", tmp_path / "inputs")
    assert color.read_bytes() == before
    draw(77).save(color.with_name("002.png"))
    done = bench("inputs", folder, "--out", tmp_path / "inputs", check=False)
    assert done.returncode == 1 and "holds 1 other pictures, e.g. color/002.png" in done.stderr
    (folder / "1-Left-Right" / "Left_Right_text.txt").rename(tmp_path / "kept.txt")
    try:
        done = bench("check", folder, check=False)
        assert done.returncode == 1 and "no text file" in done.stdout
    finally:
        (tmp_path / "kept.txt").rename(folder / "1-Left-Right" / "Left_Right_text.txt")


def test_verify_says_what_changed(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench("evaluate", "--dataset", folder, "--method", f"mine={EDITOR}", "--protocol", "strict-v1", "--run", run)
    draw(1).save(run / "edits" / "mine" / "color" / "001.png")
    done = bench("verify", run, check=False)
    assert done.returncode == 1 and "edits/mine/color/001.png: the edited picture changed" in done.stdout


def test_verify_pairs_masks_as_the_run_did(tmp_path: Path) -> None:
    """By sorted position a mask depends on its whole category, of which verify scores no mere part."""
    stems = {Category.COLOR: [str(n) for n in range(1, 12)], Category.MIRROR: ["001", "002", "003"]}
    folder = write_folder(tmp_path / "set", stems)
    draw_mask(size=(60, 32)).crop((12, 0, 60, 32)).save(folder / "4-Color" / "1_mask.jpg")
    run = tmp_path / "run"
    options = ("--dataset", folder, "--method", f"mine={EDITOR}", "--pairing", "positional", "--run", run)
    bench("evaluate", *options, "--protocol", "smartedit-v1")
    done = bench("verify", run, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_full_disk_loses_nothing(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--dataset", folder, "--method", f"mine={EDITOR}", "--batch-size", "2", "--run", run)
    limited = f"ulimit -f 2; exec {' '.join(map(str, [*BENCH, 'edit', *options]))}"
    done = subprocess.run(["bash", "-c", limited], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    whole = [p for p in run.rglob("*.png") if not p.name.startswith(".")]
    for path in whole:
        Image.open(path).load()
    bench("edit", *options)
    assert all(r.error is None for r in Run(run).edits())


def test_help_is_fast() -> None:
    """No heavy library is imported for `--help`; the time itself is measured in benchmarks."""
    code = "import sys, benchmark.cli; print([m for m in ('torch', 'pandas', 'diffusers', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
