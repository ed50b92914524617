"""Background metrics against torchmetrics, and the properties that a protocol promises."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from benchmark.metrics.background import BackgroundScores, compare, fill_edited, fill_source
from benchmark.metrics.pictures import SourceFrame, UInt8
from benchmark.protocols import PROTOCOLS, Protocol
from tests.benchmark.drawn_runs import noisy, picture

AUTHORS, STRICT = PROTOCOLS["smartedit-v1"], PROTOCOLS["strict-v1"]


def soft_frame(seed: int = 3, size: tuple[int, int] = (90, 70)) -> SourceFrame:
    weights = np.random.default_rng(seed).random(size[::-1], np.float32)
    weights[20:40, 30:60] = 0
    return SourceFrame(image=picture(seed, size), weights=weights, box=(30, 20, 60, 40))


def hard_frame(weights: np.ndarray | None = None, seed: int = 3) -> SourceFrame:
    if weights is None:
        weights = np.ones((64, 64), np.float32)
        weights[20:40, 30:60] = 0
    return SourceFrame(image=picture(seed), weights=weights, box=(30, 20, 60, 40))


def score(frame: SourceFrame, edited: UInt8, protocol: Protocol) -> BackgroundScores:
    source = fill_source(frame, protocol)
    return compare(source, fill_edited(source, edited, protocol), protocol)


def test_the_authors_form_is_what_torchmetrics_returns_on_masked_pictures() -> None:
    frame = soft_frame()
    edited = noisy(frame.image, 1)
    ours = score(frame, edited, AUTHORS)
    one, other = (
        torch.from_numpy(p.astype(np.float32) / 255 * frame.weights[..., None]).permute(2, 0, 1)[None]
        for p in (frame.image, edited)
    )
    _, ssim_map = structural_similarity_index_measure(other, one, data_range=1.0, return_full_image=True)
    assert ours.psnr == pytest.approx(float(peak_signal_noise_ratio(other, one, data_range=1.0)), rel=1e-6)
    assert ours.mse == pytest.approx(float((one - other).square().mean()), rel=1e-6)
    assert ours.ssim == pytest.approx(float(ssim_map[..., 5:-5, 5:-5].mean()), rel=1e-6)


def test_strict_averages_the_ssim_map_over_the_background_only() -> None:
    frame = hard_frame()
    edited = noisy(frame.image, 1)
    filled = np.where(frame.weights[..., None] > 0, edited, frame.image)
    one, other = (torch.from_numpy(p.astype(np.float32) / 255).permute(2, 0, 1)[None] for p in (frame.image, filled))
    _, ssim_map = structural_similarity_index_measure(other, one, data_range=1.0, return_full_image=True)
    expected = ssim_map[0].mean(dim=0)[torch.from_numpy(frame.weights > 0)].mean()
    assert score(frame, edited, STRICT).ssim == pytest.approx(float(expected), rel=1e-5)


def test_nothing_inside_the_mask_moves_a_strict_score() -> None:
    frame = hard_frame()
    edited = noisy(frame.image, 1)
    painted = edited.copy()
    painted[20:40, 30:60] = (255, 0, 128)
    assert score(frame, edited, STRICT) == score(frame, painted, STRICT)


def test_the_same_noise_scores_the_same_whatever_the_mask_s_area_in_strict_only() -> None:
    wide = np.ones((64, 64), np.float32)
    wide[:, 20:] = 0
    edited = hard_frame().image ^ np.uint8(8)
    psnrs = {p.name: [score(hard_frame(w), edited, p).psnr for w in (None, wide)] for p in (AUTHORS, STRICT)}
    assert psnrs["strict-v1"][0] == pytest.approx(psnrs["strict-v1"][1], abs=1e-4)
    assert psnrs["smartedit-v1"][1] - psnrs["smartedit-v1"][0] > 3


def test_an_identical_background_is_infinite_in_psnr_and_zero_in_mse() -> None:
    for protocol in (AUTHORS, STRICT):
        scores = score(hard_frame(), hard_frame().image, protocol)
        assert scores.psnr == math.inf
        assert scores.mse == 0
        assert scores.ssim == pytest.approx(1, abs=1e-4)


def test_a_mask_over_everything_is_the_authors_infinity_and_strict_s_nan() -> None:
    frame = hard_frame(np.zeros((64, 64), np.float32))
    theirs, strict = (score(frame, noisy(frame.image, 1), p) for p in (AUTHORS, STRICT))
    assert (theirs.psnr, theirs.mse) == (math.inf, 0)
    assert theirs.ssim == pytest.approx(1, abs=1e-9)
    assert all(math.isnan(v) for v in (strict.psnr, strict.mse, strict.ssim))


@pytest.mark.parity
def test_edge_cases_agree_with_what_the_authors_code_did(golden: Path) -> None:
    cases = json.loads((golden / "metric_edge_cases.json").read_text(encoding="utf-8"))
    frame = soft_frame()
    same = score(frame, frame.image, AUTHORS)
    everything = score(hard_frame(np.zeros((64, 64), np.float32)), noisy(frame.image[:64, :64], 1), AUTHORS)
    assert same.psnr == float(cases["psnr identical images"])
    assert same.mse == cases["mse identical"]
    assert same.ssim == pytest.approx(cases["ssim identical"], abs=2e-4)
    assert everything.psnr == float(cases["psnr mask covers everything"])
    assert everything.ssim == pytest.approx(cases["ssim mask covers everything"], abs=1e-9)
