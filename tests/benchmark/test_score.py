"""Scoring a run: one row of everything, resume to the same bytes, reasons for what has no number."""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import benchmark.batches
from benchmark.networks import Located, NetworkError, find_networks
from benchmark.protocols import METRICS, PROTOCOLS, ProtocolError
from benchmark.records import EditRecord, Score, Unscored
from benchmark.runs import Run
from benchmark.score import ScoreError, score_run
from reason_edit.files import file_sha256
from reason_edit.schema import Category
from reason_edit.tables import write_rows
from tests.benchmark.drawn_runs import Pixels, drawn_run, noisy, picture, save

MINIATURE, AUTHORS, STRICT = (PROTOCOLS[n] for n in ("miniature-v1", "smartedit-v1", "strict-v1"))
NETWORK_METRICS = {"background_lpips", "clip_score"}


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def values(run: Run, protocol: str) -> dict[tuple[str, str, str], float]:
    return {(s.method, s.sample_id, s.metric): s.value for s in run.scores() if s.protocol == protocol}


def reasons(run: Run) -> dict[tuple[str, str, str], str]:
    return {(u.method, u.sample_id, u.metric): u.reason for u in run.unscored()}


def test_every_method_sample_and_metric_has_exactly_one_row(tmp_path: Path) -> None:
    run = drawn_run(tmp_path)
    seen: list[tuple[int, int]] = []
    protocol = score_run(run, MINIATURE, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert protocol is MINIATURE
    keys = [(s.method, s.sample_id, s.metric) for s in run.scores()]
    expected = {(m, s.sample_id, k) for m in ("one", "two") for s in run.samples() for k in METRICS}
    assert set(keys) == expected
    assert len(keys) == len(expected)
    assert seen[-1] == (10, 10)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_the_networks_that_ship_score_and_are_named(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2)
    score_run(run, MINIATURE)
    assert all(math.isfinite(value) for value in values(run, "miniature-v1").values())
    assert not reasons(run)
    named = find_networks(MINIATURE)
    assert isinstance(named.clip, Located) and named.clip.name == "clip-miniature"
    assert isinstance(named.lpips, Located) and named.lpips.name == "squeezenet-miniature"


def test_networks_that_do_not_ship_give_nan_with_the_reason_and_never_a_number(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2)
    score_run(run, replace(MINIATURE, clip_model=None, lpips_backbone=None))
    for (method, sample_id, metric), value in values(run, "miniature-v1").items():
        assert math.isnan(value) == (metric in NETWORK_METRICS)
        assert ((method, sample_id, metric) in reasons(run)) == (metric in NETWORK_METRICS)
    assert all("no trained small network ships for miniature-v1" in r for r in reasons(run).values())


def test_a_network_that_was_named_and_is_not_there_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2)
    with pytest.raises(NetworkError, match=r"nowhere\.pth"):
        score_run(run, MINIATURE, lpips_backbone="nowhere.pth")
    assert not run.scores_path.exists()


def test_a_failed_edit_is_nan_with_its_error_and_hurts_no_other(tmp_path: Path) -> None:
    def edit(method: str, i: int, source: Pixels) -> Pixels | None:
        return None if (method, i) == ("one", 1) else noisy(source, i)

    run = drawn_run(tmp_path, count=4, edit=edit)
    score_run(run, MINIATURE, batch_size=3)
    failed = run.samples()[1].sample_id
    for (method, sample_id, metric), value in values(run, "miniature-v1").items():
        if (method, sample_id) == ("one", failed):
            assert math.isnan(value)
            assert reasons(run)[method, sample_id, metric] == "no edited picture: it broke"
        elif metric not in NETWORK_METRICS:
            assert math.isfinite(value)


def test_a_sample_that_was_not_edited_yet_is_nan(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=3, methods=["one"])
    write_rows(run.edits_path, run.edits()[:2], EditRecord)
    score_run(run, MINIATURE)
    last = run.samples()[2].sample_id
    assert reasons(run)["one", last, "background_psnr"] == "no edited picture: not edited yet (no row in edits.parquet)"


def test_an_identity_edit_is_infinite_and_says_why(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2, methods=["copy"], edit=lambda method, i, source: source)
    score_run(run, AUTHORS)
    for sample in run.samples():
        row = {m: values(run, "smartedit-v1")["copy", sample.sample_id, m] for m in METRICS}
        assert row["background_psnr"] == row["background_psnr_registered"] == math.inf
        assert row["background_mse"] == 0
        assert (row["registration_dx"], row["registration_dy"], row["registration_scale"]) == (0, 0, 1)
        assert reasons(run)["copy", sample.sample_id, "background_psnr"] == (
            "the background is identical to the source's"
        )


def test_scores_of_another_protocol_and_of_people_are_kept(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2)
    score_run(run, MINIATURE)
    human = Score(method="one", sample_id="color/000", protocol="miniature-v1", metric="ins_align", value=1.0)
    why = Unscored(method="two", sample_id="color/000", protocol="ratings", metric="ins_align", reason="nobody rated")
    run.write_scores([*run.scores(), human], [*run.unscored(), why])
    score_run(run, STRICT)
    before = values(run, "miniature-v1")
    score_run(run, MINIATURE)
    assert {s.protocol for s in run.scores()} == {"miniature-v1", "strict-v1"}
    assert human in run.scores()
    assert why in run.unscored()
    np.testing.assert_equal(values(run, "miniature-v1"), before)
    assert len(run.scores()) == 2 * 2 * 2 * len(METRICS) + 1


def test_unchanged_work_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = drawn_run(tmp_path, count=5)
    score_run(run, MINIATURE, batch_size=2)
    compared: list[Any] = []
    measure = benchmark.batches.compare
    monkeypatch.setattr(
        benchmark.batches, "compare", lambda *arguments: (compared.append(arguments), measure(*arguments))[1]
    )
    first = files(run.folder)
    score_run(run, MINIATURE, batch_size=2)
    assert compared == []
    assert files(run.folder) == first
    sample = run.samples()[0].sample_id
    path = save(run.image_path("two", sample), noisy(picture(0), 77))
    records = [
        replace(r, image_sha256=file_sha256(path)) if (r.method, r.sample_id) == ("two", sample) else r
        for r in run.edits()
    ]
    write_rows(run.edits_path, records, EditRecord)
    before = values(run, "miniature-v1")
    score_run(run, MINIATURE, batch_size=2)
    assert len(compared) == 2
    changed = {k[:2] for k, v in values(run, "miniature-v1").items() if v != before[k] and not math.isnan(v)}
    assert changed == {("two", sample)}


def test_a_changed_mask_or_label_or_protocol_is_scored_again(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2, methods=["one"])
    score_run(run, MINIATURE)
    kept = set(files(run.folder / "scores"))
    save(run.samples()[0].mask, np.zeros((64, 64), np.uint8))
    before = values(run, "miniature-v1")
    score_run(run, MINIATURE)
    key = ("one", run.samples()[0].sample_id, "background_psnr")
    assert values(run, "miniature-v1")[key] != before[key]
    run.write_samples([replace(s, target_label="another") for s in run.samples()])
    score_run(run, MINIATURE)
    assert len(set(files(run.folder / "scores")) - kept) == 2


def test_more_workers_and_a_resume_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = drawn_run(tmp_path / "a", count=7), drawn_run(tmp_path / "b", count=7)
    score_run(one, MINIATURE, batch_size=3, workers=1)

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 7:
            raise StopError

    with pytest.raises(StopError):
        score_run(other, MINIATURE, batch_size=3, workers=4, progress=stop)
    assert not other.scores_path.exists()
    score_run(other, MINIATURE, batch_size=3, workers=4)
    assert files(one.folder) == files(other.folder)


def test_a_killed_run_resumes_to_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    undisturbed, killed = drawn_run(tmp_path / "a", count=12), drawn_run(tmp_path / "b", count=12)
    score_run(undisturbed, STRICT, batch_size=2)
    code = (
        "import sys\nfrom pathlib import Path\nfrom benchmark.protocols import PROTOCOLS\n"
        "from benchmark.runs import Run\nfrom benchmark.score import score_run\n"
        "score_run(Run(Path(sys.argv[1])), PROTOCOLS['strict-v1'], batch_size=2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", code, str(killed.folder)], env=environment)
    folder = killed.folder / "scores" / "strict-v1"
    deadline = time.monotonic() + 60
    while len(list(folder.glob("*/*.parquet"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (folder / "one" / ".left.tmp-x1.parquet").write_bytes(b"half")
    score_run(killed, STRICT, batch_size=2)
    assert files(killed.folder) == files(undisturbed.folder)


def test_a_broken_finished_batch_is_scored_again(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2, methods=["one"])
    score_run(run, MINIATURE)
    whole = files(run.folder)
    finished = next((run.folder / "scores").rglob("*.parquet"))
    finished.write_bytes(finished.read_bytes()[:100])
    score_run(run, MINIATURE)
    assert files(run.folder) == whole


def test_edits_that_do_not_fit_the_samples_are_refused_by_name(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=2, methods=["one"])
    records = run.edits()
    write_rows(run.edits_path, [*records, records[0]], EditRecord)
    with pytest.raises(ScoreError, match=r"edits\.parquet: two rows for one on color/000"):
        score_run(run, MINIATURE)
    write_rows(run.edits_path, [*records, replace(records[0], sample_id="color/999")], EditRecord)
    with pytest.raises(ScoreError, match="one has color/999, which is no sample of this run"):
        score_run(run, MINIATURE)
    write_rows(run.edits_path, records, EditRecord)
    path = save(run.image_path("one", records[0].sample_id), picture(50))
    with pytest.raises(ScoreError, match=r"000\.png: not the picture that edits\.parquet records; run .*edit. again"):
        score_run(run, MINIATURE)
    path.unlink()
    with pytest.raises(ScoreError, match=r"000\.png: cannot be read .*; run `smartedit-bench edit` again"):
        score_run(run, MINIATURE)
    assert not run.scores_path.exists()


def test_broken_pictures_and_masks_cost_their_own_rows_only(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=4, methods=["one"])
    samples, records = run.samples(), run.edits()
    samples[0].mask.write_bytes(b"no picture")
    samples[1].image.unlink()
    cut = run.folder / (records[2].image or "")
    cut.write_bytes(cut.read_bytes()[:200])
    records[2] = replace(records[2], image_sha256=file_sha256(cut))
    write_rows(run.edits_path, records, EditRecord)
    score_run(run, MINIATURE)
    found = [reasons(run).get(("one", s.sample_id, "background_psnr"), "") for s in samples]
    assert found[0].startswith("no source to compare with: ")
    assert "000_mask.png: cannot be decoded" in found[0]
    assert "001.png: cannot be read" in found[1]
    assert "002.png: cannot be decoded" in found[2]
    assert found[3] == ""
    assert math.isfinite(values(run, "miniature-v1")["one", samples[3].sample_id, "background_psnr"])


@pytest.mark.parametrize("protocol", [AUTHORS, STRICT, MINIATURE], ids=lambda p: p.name)
def test_pictures_and_masks_at_the_edge_of_sense_never_crash(tmp_path: Path, protocol: Any, golden: Path) -> None:
    nets = golden / "reason_edit_dev" / "nets"
    run = drawn_run(tmp_path, count=5, methods=["one"])
    samples = run.samples()
    empty, full, dot = np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8), np.zeros((256, 256), np.uint8)
    dot[100, 100] = 255
    for sample, mask in zip(samples, (empty, full, dot), strict=False):
        save(sample.mask, mask)
    save(samples[3].image, np.full((1, 1, 3), 7, np.uint8))
    save(samples[3].mask, np.full((1, 1), 0, np.uint8))
    run.write_samples([replace(s, target_label="" if i == 4 else s.target_label) for i, s in enumerate(samples)])
    score_run(
        run,
        protocol,
        clip_model=str(nets / "clip"),
        lpips_backbone=str(nets / "squeezenet1_1_features_fp16.safetensors"),
        device="cpu",
    )
    scores, why = values(run, protocol.name), reasons(run)
    ids = [s.sample_id for s in samples]
    assert all(((k in why) == (not math.isfinite(v))) for k, v in scores.items())
    assert why["one", ids[0], "clip_score"].startswith("the mask is empty")
    assert math.isfinite(scores["one", ids[0], "background_lpips"])
    if protocol is AUTHORS:
        assert scores["one", ids[1], "background_psnr"] == math.inf
        assert scores["one", ids[1], "background_lpips"] == 0
        assert why["one", ids[2], "clip_score"].endswith("the protocol loses the box's last row and column")
    else:
        assert math.isnan(scores["one", ids[1], "background_psnr"])
        assert math.isnan(scores["one", ids[1], "background_lpips"])
        assert why["one", ids[1], "background_psnr"].startswith("the mask covers the whole picture")
    if protocol is STRICT:
        assert math.isfinite(scores["one", ids[2], "clip_score"])
    if protocol is MINIATURE:
        assert why["one", ids[3], "background_lpips"] == "LPIPS needs pictures of 32 px or more; this is 1x1"
    assert why["one", ids[4], "clip_score"] == "the sample has no target label (nothing stands behind 'CLIP:')"


def unpadded_run(tmp_path: Path) -> Run:
    """Pictures that sort as 1, 10, 2, with masks that sort as 10, 1, 2."""
    run = drawn_run(tmp_path, count=6, methods=["one"])
    color = [s for s in run.samples() if s.category is Category.COLOR]
    renamed, records = [], {r.sample_id: r for r in run.edits()}
    for sample, stem in zip(color, ("1", "10", "2"), strict=True):
        image, mask = sample.image.with_name(f"{stem}.png"), sample.mask.with_name(f"{stem}_mask.png")
        sample.image.rename(image)
        sample.mask.rename(mask)
        renamed.append(replace(sample, sample_id=f"color/{stem}", image=image, mask=mask))
    run.write_samples(renamed)
    edits = [replace(records[old.sample_id], sample_id=new.sample_id) for old, new in zip(color, renamed, strict=True)]
    write_rows(run.edits_path, edits, EditRecord)
    return run


def test_masks_are_paired_by_id_and_by_position_on_demand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = unpadded_run(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert score_run(run, AUTHORS).name == "smartedit-v1"
    assert "gives 2 samples another sample's mask, e.g. color/1 gets 10_mask.png" in caplog.text
    assert score_run(run, AUTHORS, pairing="positional").name == "smartedit-v1-positional"
    by_id, by_place = values(run, "smartedit-v1"), values(run, "smartedit-v1-positional")
    differing = {k[1] for k, v in by_id.items() if by_place[k] != v and not math.isnan(v)}
    assert differing == {"color/1", "color/10"}
    with pytest.raises(ProtocolError, match="strict-v1 pairs masks by id only"):
        score_run(run, STRICT, pairing="positional")


def test_the_same_edits_score_the_same_beside_any_other_method(tmp_path: Path) -> None:
    alone, beside = drawn_run(tmp_path / "a", methods=["one"]), drawn_run(tmp_path / "b", methods=["one", "two"])
    for run in (alone, beside):
        score_run(run, MINIATURE)
    shared = {k: v for k, v in values(beside, "miniature-v1").items() if k[0] == "one"}
    np.testing.assert_equal(shared, values(alone, "miniature-v1"))


def test_edits_of_another_size_and_mode_are_brought_to_the_frame(tmp_path: Path) -> None:
    run = drawn_run(tmp_path, count=1, methods=["one"])
    path = run.folder / (run.edits()[0].image or "")
    large = Image.fromarray(picture(0)).resize((640, 640), Image.Resampling.BICUBIC)
    for mode in ("RGB", "RGBA", "P", "L"):
        large.convert(mode).save(path)
        write_rows(run.edits_path, [replace(run.edits()[0], image_sha256=file_sha256(path))], EditRecord)
        score_run(run, AUTHORS)
        assert values(run, "smartedit-v1")["one", "color/000", "background_psnr"] > 10
