"""All numbers of the authors' script, per sample and in total, through `score_run`; SMARTEDIT_GOLDEN names the set."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.pairing import mispaired, positional_masks
from benchmark.protocols import PROTOCOLS, Pairing, Protocol
from benchmark.records import Score
from benchmark.runs import Run
from benchmark.score import score_run
from reason_edit.released_layout import category_of
from reason_edit.schema import Category, Scenario
from tests.benchmark.golden_runs import golden_run, official, sample_id_of

pytestmark = pytest.mark.parity

NAMES = {
    "psnr": "background_psnr",
    "ssim": "background_ssim",
    "lpips": "background_lpips",
    "mse": "background_mse",
    "clip_score": "clip_score",
}


@pytest.fixture(scope="module")
def folder(golden: Path) -> Path:
    return golden / "reason_edit_dev"


@pytest.fixture(scope="module")
def scored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Protocol, Pairing], Run]:
    runs: dict[str, Run] = {}

    def score(protocol: Protocol, pairing: Pairing = "id") -> Run:
        key = f"{protocol.name} {pairing}"
        if key not in runs:
            run = golden_run(folder, tmp_path_factory.mktemp("run"))
            score_run(
                run,
                protocol,
                clip_model=str(folder / "nets" / "clip"),
                lpips_backbone=str(folder / "nets" / "squeezenet1_1_features_fp16.safetensors"),
                device="cpu",
                pairing=pairing,
            )
            runs[key] = run
        return runs[key]

    return score


def by_sample(scores: list[Score]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for score in scores:
        table.setdefault(score.sample_id, {})[score.metric] = score.value
    return table


def near(metric: str, expected: Any) -> Any:
    """1e-5 relative, CLIP 1e-3 absolute; an LPIPS moves by up to 1e-9 with the number of threads alone."""
    tolerance = {"clip": {"abs": 1e-3, "rel": 0}, "lpips": {"rel": 1e-5, "abs": 1e-9}}
    chosen = tolerance.get(metric.partition("_")[0], {"rel": 1e-5, "abs": 0})
    return pytest.approx(float(expected), nan_ok=True, **chosen)


def check_rows(rows: list[dict[str, Any]], values: dict[str, dict[str, float]], names: dict[str, str]) -> None:
    for row in rows:
        ours = values[row["sample_id"]]
        for theirs, name in names.items():
            assert ours[name] == near(theirs, row[theirs]), (row["sample_id"], name)


def with_ids(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "sample_id": sample_id_of(row)} for row in rows]


def test_pictures_labels_and_masks_are_read_as_the_script_reads_them(folder: Path, scored: Any) -> None:
    """A label's outer spaces are no part of it for CLIP, whose tokenizers drop them."""
    rows = {r["sample_id"]: r for r in with_ids(official(folder)["samples"])}
    samples = {s.sample_id: s for s in scored(PROTOCOLS["smartedit-v1"], "positional").samples()}
    masks = positional_masks(list(samples.values()))
    assert set(samples) == set(rows)
    assert {k: s.target_label for k, s in samples.items()} == {k: r["clip_text"].strip() for k, r in rows.items()}
    assert {k: m.name for k, m in masks.items()} == {k: Path(r["mask"]).name for k, r in rows.items()}


def test_every_number_of_a_sample_with_masks_paired_as_the_script_does(folder: Path, scored: Any) -> None:
    run = scored(PROTOCOLS["smartedit-v1"], "positional")
    rows = with_ids(official(folder)["samples"])
    assert {s.protocol for s in run.scores()} == {"smartedit-v1-positional"}
    assert len(rows) == len(run.samples()) > 0
    check_rows(rows, by_sample(run.scores()), NAMES)


def test_every_total(folder: Path, scored: Any) -> None:
    run = scored(PROTOCOLS["smartedit-v1"], "positional")
    values, reference = by_sample(run.scores()), official(folder)

    def mean(metric: str, chosen: Callable[[Category], bool]) -> float:
        return float(np.mean([values[s.sample_id][metric] for s in run.samples() if chosen(s.category)]))

    for theirs, name in NAMES.items():
        for category, means in reference["per_category_mean"].items():
            wanted = category_of(category)
            assert mean(name, lambda c, w=wanted: c is w) == near(theirs, means[theirs])
        for scenario in (Scenario.UNDERSTANDING, Scenario.REASONING):
            expected = reference[f"{scenario}_total"][theirs]
            assert mean(name, lambda c, s=scenario: c.scenario is s) == near(theirs, expected), (scenario, name)


def test_what_the_unmodified_script_printed(folder: Path, scored: Any) -> None:
    """Its printed totals carry all digits; it never reaches the reasoning category."""
    values = by_sample(scored(PROTOCOLS["smartedit-v1"], "positional").scores())
    printed = json.loads((folder / "official_metrics.json").read_text())["unmodified_run"]["printed"]
    understood = [v for k, v in values.items() if not k.startswith("reasoning/")]
    totals = {line[0].removeprefix("Understanding total ").rstrip(":").lower(): line[1] for line in printed if
              line[0].startswith("Understanding total")}  # fmt: skip
    assert set(totals) == {"psnr", "lpips", "mse", "ssim", "clip"}
    for name, total in totals.items():
        metric = NAMES["clip_score" if name == "clip" else name]
        assert float(np.mean([v[metric] for v in understood])) == near(name, total)


def test_pairing_by_id_differs_exactly_where_the_script_swaps_masks(folder: Path, scored: Any) -> None:
    run = scored(PROTOCOLS["smartedit-v1"], "id")
    rows = with_ids(official(folder)["samples"])
    swapped = {r["sample_id"] for r in rows if Path(r["mask"]).stem != f"{Path(r['original']).stem}_mask"}
    assert set(mispaired(run.samples())) == swapped
    described = json.loads((run.folder / "scores" / "smartedit-v1" / "protocol.json").read_text())
    assert set(described["masks_that_the_script_swaps"]) == swapped
    values = by_sample(run.scores())
    check_rows([r for r in rows if r["sample_id"] not in swapped], values, NAMES)
    positional = by_sample(scored(PROTOCOLS["smartedit-v1"], "positional").scores())
    assert {k for k in values if values[k] != positional[k]} == swapped


def test_ssim_with_its_border_is_what_later_libraries_return(folder: Path, scored: Any) -> None:
    protocol = replace(PROTOCOLS["smartedit-v1-positional"], name="whole-ssim-map", ssim_border=0)
    rows = json.loads((folder / "official_metrics_modern_stack.json").read_text())["samples"]
    check_rows(with_ids(rows), by_sample(scored(protocol).scores()), NAMES)


def corrected(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "corrected_metrics.json").read_text())
    content["samples"] = [{**s, "sample_id": f"{category_of(s['category'])}/{s['stem']}"} for s in content["samples"]]
    return content


def test_strict_background_is_the_mean_over_background_pixels(folder: Path, scored: Any) -> None:
    reference = corrected(folder)
    run = scored(PROTOCOLS["strict-v1"])
    values = by_sample(run.scores())
    names = {"psnr_background_only": "background_psnr", "mse_background_only": "background_mse"}
    check_rows(reference["samples"], values, names)
    for scenario in (Scenario.UNDERSTANDING, Scenario.REASONING):
        ids = [s.sample_id for s in run.samples() if s.category.scenario is scenario]
        for theirs, name in names.items():
            expected = reference[f"{scenario}_total"][theirs]
            assert float(np.mean([values[i][name] for i in ids])) == near(theirs, expected)


def test_the_parts_of_strict_in_the_reference_s_combination(folder: Path, scored: Any) -> None:
    """The reference fills with zeros, averages the whole picture and does not pad the crop."""
    protocol = replace(
        PROTOCOLS["strict-v1"], name="reference-form", fill="zero", average="image", ssim_border=5, square_crop=False
    )
    names = {
        "psnr_whole_masked_image": "background_psnr",
        "ssim_masked": "background_ssim",
        "lpips_masked": "background_lpips",
        "clip_score": "clip_score",
    }
    check_rows(corrected(folder)["samples"], by_sample(scored(protocol).scores()), names)
