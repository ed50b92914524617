"""Selection: quotas, variety, the best draw, near duplicates, and a reviewer whose word wins."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from reason_edit.schema import Category
from smartedit.config.loading import ConfigError
from smartedit.config.synthesis import QuotasConfig, SelectionConfig, ThresholdsConfig
from smartedit.synthesis.finish import QuotaError, ReviewError, change_selection, choose, need_quotas
from smartedit.synthesis.funnel import measure_funnel
from smartedit.synthesis.pipeline import work
from smartedit.synthesis.records import Candidate, QualityScores, Rule
from smartedit.synthesis.run_folder import RunFolder, RunFolderError
from smartedit.synthesis.select import KEEP, REJECT, Selection, select
from smartedit.tools.protocols import Operation
from tests.smartedit.synthesis.conftest import DrawnSet, run_all

QUOTAS = QuotasConfig(left_right=0, relative_size=0, mirror=0, color=0, multiple_objects=0, reasoning=0)


def candidate(number: int, kind: str = "apple", picture: str | None = None) -> Candidate:
    return Candidate(
        candidate_id=f"c{number:02d}",
        picture_id=picture or f"p{number}",
        category=Category.COLOR,
        operation=Operation.REPLACE,
        rule=Rule.COLOR,
        kind=kind,
        clue=None,
        clue_origin=None,
        rivals=(),
        context=(),
        replacement="orange",
        variant=0,
    )


def scores(number: int, draw: int = 0, direction: float = 0.3, source: int = 0, target: int = 0) -> QualityScores:
    return QualityScores(
        pair_id=f"c{number:02d}.{draw}",
        candidate_id=f"c{number:02d}",
        clip_target=0.3,
        clip_source_drop=0.1,
        clip_direction=direction,
        target_found=math.nan,
        source_left=math.nan,
        background_error=0.0,
        changed_in_mask=1.0,
        changed_fraction=0.1,
        seam_energy=1.0,
        fill_texture=math.nan,
        source_hash=f"{source or (number + 1) * 0x0F0F_1357_9BDF_0246 % 2**64:016x}",
        target_hash=f"{target or (number + 1) * 0x3C5A_7E91_2468_ACE1 % 2**64:016x}",
    )


def chosen(
    rows: list[QualityScores],
    candidates: list[Candidate],
    quota: int,
    decisions: dict[str, str] | None = None,
    **limits: float,
) -> tuple[list[str], Counter[str], Selection]:
    config = SelectionConfig(
        thresholds=ThresholdsConfig(**limits),  # type: ignore[arg-type]
        quotas=replace(QUOTAS, color=quota),
    )
    selection = select(rows, {c.candidate_id: c for c in candidates}, decisions or {}, config)
    reasons = Counter(r.reason for r in selection.outcome.rejections)
    return [s.pair_id for s in selection.outcome.rows], reasons, selection


def test_quotas_are_filled_with_variety_and_every_pair_is_accounted_for() -> None:
    candidates = [candidate(n, kind="apple" if n < 6 else "banana") for n in range(8)]
    rows = [scores(n) for n in range(8)]
    ids, reasons, selection = chosen(rows, candidates, 4)
    assert len(ids) == 4
    assert sum(i in ("c06.0", "c07.0") for i in ids) == 2
    assert reasons == {"quota full": 4}
    assert [s.sample_id for s in selection.outcome.rows] == ["0000", "0001", "0002", "0003"]
    assert selection.shortfalls == ()


def test_the_best_draw_stands_for_its_candidate() -> None:
    rows = [scores(1, draw=0, direction=0.2), scores(1, draw=1, direction=0.5), scores(1, draw=2, direction=0.4)]
    ids, reasons, _ = chosen(rows, [candidate(1)], 3)
    assert ids == ["c01.1"]
    assert reasons == {"other draw": 2}


def test_a_failed_gate_lets_another_draw_in() -> None:
    rows = [scores(1, draw=0, direction=0.2), replace(scores(1, draw=1, direction=0.5), seam_energy=9.0)]
    ids, reasons, _ = chosen(rows, [candidate(1)], 1)
    assert ids == ["c01.0"]
    assert reasons == {"seam_energy": 1}


def test_near_duplicates_and_crowded_pictures_step_back() -> None:
    same = [scores(n, source=0xFF, target=0xF0 + n % 2) for n in range(2)]
    ids, reasons, _ = chosen(same, [candidate(0), candidate(1)], 2)
    assert ids == ["c00.0"]
    assert reasons == {"near duplicate": 1}
    crowd = [candidate(n, kind=f"kind{n}", picture="p") for n in range(5)]
    ids, reasons, _ = chosen([scores(n) for n in range(5)], crowd, 5)
    assert len(ids) == 3
    assert reasons == {"enough of this picture": 2}


def test_one_edit_in_the_words_of_two_categories_is_taken_once() -> None:
    rows = [scores(n, source=0xFF, target=0xF0) for n in range(2)]
    config = SelectionConfig(quotas=replace(QUOTAS, left_right=1, color=1))
    candidates = {"c00": candidate(0), "c01": replace(candidate(1), category=Category.LEFT_RIGHT)}

    selection = select(rows, candidates, {}, config)

    assert [s.candidate_id for s in selection.outcome.rows] == ["c01"]
    assert [r.reason for r in selection.outcome.rejections] == ["near duplicate"]
    both = select(rows, {**candidates, "c00": candidate(0, kind="pear")}, {}, config)
    assert len(both.outcome.rows) == 2


def test_a_reviewer_wins_over_gates_draws_and_duplicates() -> None:
    rows = [scores(1, draw=0, direction=0.9), scores(1, draw=1, direction=-0.9), scores(2), scores(3)]
    decisions = {"c01.1": KEEP, "c02.0": REJECT}
    ids, reasons, selection = chosen(rows, [candidate(n) for n in (1, 2, 3)], 2, decisions, clip_direction=0.1)
    assert ids == ["c01.1", "c03.0"]
    assert reasons == {"reviewer": 1, "other draw": 1}
    assert [s.reviewed for s in selection.outcome.rows] == [True, False]


def test_unmeasured_columns_pass_and_are_named() -> None:
    rows = [replace(scores(1), clip_direction=math.nan)]
    _, _, selection = chosen(rows, [candidate(1)], 1, clip_direction=0.5)
    assert selection.outcome.rows[0].not_measured == ("clip_direction", "target_found", "fill_texture", "source_left")


def test_quotas_that_cannot_be_met_are_named_with_their_gap(drawn_set: DrawnSet, tmp_path: Path) -> None:
    folder = run_all(drawn_set.pictures, tmp_path / "run", drawn_set.config("selection.quotas.mirror=50", "draws=1"))
    result = choose(folder.root)
    (mirror,) = [s for s in result.shortfalls if s.startswith("mirror")]
    got = int(mirror.split()[1])
    assert mirror == f"mirror: {got} of 50, {50 - got} short"
    assert result.count > 0
    with pytest.raises(QuotaError, match=rf"mirror: {got} of 50.*kept the {result.count}"):
        need_quotas(result, allow_short=False)
    need_quotas(result, allow_short=True)
    change_selection(folder.root, ["quotas.mirror=1", "thresholds.seam_energy=50"])
    assert not any(s.startswith("mirror") for s in choose(folder.root).shortfalls)
    with pytest.raises(ConfigError, match="no section"):
        change_selection(folder.root, ["limits.seam_energy=3"])
    with pytest.raises(ConfigError, match="selection"):
        change_selection(folder.root, ["quotas.mirror=-1"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not a JSON file"),
        ("[]", "expected a mapping"),
        ('{"PAIR": "perhaps"}', "'perhaps' is neither"),
        ('{"unknown": "keep"}', "no such pair"),
    ],
)
def test_broken_decisions_are_refused(
    drawn_set: DrawnSet, finished_run: RunFolder, tmp_path: Path, text: str, problem: str
) -> None:
    import shutil

    root = tmp_path / "run"
    shutil.copytree(finished_run.root, root)
    pair = next(finished_run.all_rows("score", QualityScores)).pair_id
    (root / "decisions.json").write_text(text.replace("PAIR", pair))
    with pytest.raises(ReviewError, match=problem):
        choose(root)
    (root / "decisions.json").write_text(json.dumps({pair: REJECT}))
    choose(root)
    rejected = [r for r in RunFolder(root).all_rejections() if r.reason == "reviewer"]
    assert [r.key for r in rejected] == [pair]


def test_an_unfinished_run_is_not_selected_from(finished_run: RunFolder, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "run"
    shutil.copytree(finished_run.root, root)
    RunFolder(root).table("score", 1).unlink()
    with pytest.raises(RunFolderError, match="score has not done shard 1"):
        choose(root)
    with pytest.raises(RunFolderError, match="score has not done shard 1"):
        measure_funnel(RunFolder(root))
    with pytest.raises(RunFolderError, match="no run here"):
        choose(tmp_path / "none")
    (root / "config.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"config\.json: not the settings of a run"):
        choose(root)


def test_stages_out_of_order_and_shards_out_of_range_are_refused(finished_run: RunFolder, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "run"
    shutil.copytree(finished_run.root, root)
    for stage in ("segment", "inpaint"):
        RunFolder(root).table(stage, 0).unlink()
    with pytest.raises(RunFolderError, match="segment has not done shard 0"):
        work(root, "inpaint", 0)
    for shard in (-1, 99):
        with pytest.raises(RunFolderError, match=f"no shard {shard}; 8 pictures make 3"):
            work(root, "propose", shard)
    assert not RunFolder(root).table("propose", 99).exists()
