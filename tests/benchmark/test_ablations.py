"""Means over seeds, what counts as agreement with the paper, and a report that shows both."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmark.ablations import ROWS, CellScores, Finding, find_agreements, mean_over_seeds
from benchmark.published import published_blocks
from benchmark.records import Score
from benchmark.report.ablations import ablation_report
from benchmark.report.layout import network_notes
from reason_edit.schema import Category, EditSample
from smartedit.training.ablations import VARIANTS

COUNT = 30
SAMPLES = [
    EditSample(
        sample_id=f"{category.value}/{i:03d}",
        category=category,
        instruction="edit",
        target_label="a pear",
        image=Path("a.png"),
        mask=Path("a_mask.png"),
    )
    for category in (Category.COLOR, Category.REASONING)
    for i in range(COUNT)
]


def cell(variant: str, seed: int, psnr: float, metric: str = "background_psnr", spread: float = 0.1) -> CellScores:
    draws = np.random.default_rng([seed, sum(map(ord, variant))]).normal(psnr, spread, len(SAMPLES))
    scores = [
        Score(method=f"{variant}-{seed}", sample_id=s.sample_id, protocol="strict-v1", metric=metric, value=float(v))
        for s, v in zip(SAMPLES, draws, strict=True)
    ]
    return CellScores(variant=variant, seed=seed, scores=scores)


def test_every_row_is_a_variant_and_is_published() -> None:
    assert {variant for rows in ROWS.values() for variant in rows} == set(VARIANTS)
    for block, rows in ROWS.items():
        assert set(rows.values()) == {row.method for row in published_blocks()[block]}


def test_a_mean_rests_on_all_seeds() -> None:
    one, two = cell("plain", 0, 20.0), cell("plain", 1, 30.0)
    two = CellScores(variant="plain", seed=1, scores=two.scores[1:])
    found = {score.sample_id: score for score in mean_over_seeds([one, two])}
    assert len(found) == len(SAMPLES) and {score.method for score in found.values()} == {"plain"}
    assert math.isnan(found[SAMPLES[0].sample_id].value)
    last = SAMPLES[-1].sample_id
    assert found[last].value == pytest.approx((one.scores[-1].value + two.scores[-1].value) / 2)


def test_findings() -> None:
    # The paper, understanding: BIM 22.05 dB, plain 20.98, SimpleCA 19.56.
    cells = [cell("whole", s, 25.0) for s in range(3)]
    cells += [cell("plain", s, 23.0) for s in range(3)]
    cells += [cell("simple-ca", s, 24.0) for s in range(3)]
    found = {(a.first, a.second): a for a in find_agreements(cells, SAMPLES, "smartedit-table-2")}
    assert len(found) == 3
    agreements = [a for a in find_agreements(cells, SAMPLES, "smartedit-table-2") if a.scenario == "understanding"]
    by_pair = {(a.first, a.second): a for a in agreements}
    assert by_pair["plain", "whole"].finding is Finding.AGREES
    assert by_pair["plain", "whole"].paper == pytest.approx(20.975 - 22.049)
    assert by_pair["plain", "simple-ca"].finding is Finding.CONTRADICTS
    assert by_pair["plain", "simple-ca"].seeds == (3, 3)
    wide = [cell("whole", s, 25.0, spread=50.0) for s in range(3)] + cells[3:]
    undecided = find_agreements(wide, SAMPLES, "smartedit-table-2")
    assert {a.finding for a in undecided if "whole" in (a.first, a.second)} == {Finding.UNDECIDED}


def test_one_seed_of_the_other_sign_decides_nothing() -> None:
    cells = [cell("whole", s, 25.0) for s in range(3)]
    cells += [cell("plain", s, 30.0 if s == 2 else 10.0) for s in range(3)]
    found = [a for a in find_agreements(cells, SAMPLES, "smartedit-table-2") if a.scenario == "reasoning"]
    assert found[0].ours.high < 0 and found[0].seeds == (2, 3) and found[0].finding is Finding.UNDECIDED


def test_the_report_holds_ours_the_papers_and_every_seed() -> None:
    cells = [cell(v, s, 20.0 + s) for v in ("edit", "edit-synthetic", "whole") for s in (0, 1)]
    cells += [cell(v, s, 0.5, "judge:exact") for v in ("edit", "whole") for s in (0, 1)]
    # Scores of one cell lie in one run.
    joined = [
        CellScores(variant=v, seed=s, scores=[x for c in cells if (c.variant, c.seed) == (v, s) for x in c.scores])
        for v in ("edit", "edit-synthetic", "whole")
        for s in (0, 1)
    ]
    text = ablation_report(joined, SAMPLES, protocol="strict-v1", dataset="miniature Reason-Edit", notes=["a note"])
    assert "## Table 3: the training data" in text and "## Table 2" not in text
    assert "17.568" in text and "not comparable" in text and "a note" in text
    assert text.count("seed 0 |") == 3 and "judge exact" in text
    assert "edit: 0, 1; edit-synthetic: 0, 1; whole: 0, 1" in text
    assert "undecided" in text


def test_networks_are_named_by_a_run_s_settings() -> None:
    networks = {"lpips": {"name": "squeezenet-miniature", "sha256": "ab" * 32}, "clip": {}}
    settings = {"protocols": {"miniature-v1": {"networks": networks}}}
    assert network_notes(settings, "miniature-v1") == ["Networks: LPIPS is squeezenet-miniature (sha256 abababababab)."]
    assert network_notes(settings, "strict-v1") == []
