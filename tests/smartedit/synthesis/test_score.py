"""For every gate: a pair that passes it, and one that fails it and nothing else."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reason_edit.schema import Category
from smartedit.config.synthesis import GrounderConfig, ScorerConfig, ThresholdsConfig
from smartedit.synthesis.records import Candidate, EditedPair, Instructions, PictureRow, QualityScores, Region, Rule
from smartedit.synthesis.score import fill_texture, score, seam_energy
from smartedit.synthesis.segment import write_mask
from smartedit.synthesis.select import failed_gate, not_measured
from smartedit.synthesis.stage import Pictures
from smartedit.tools.protocols import ChangeRequest, ChangeScores, Detection, GroundingRequest, Operation, ToolError
from tests.smartedit.synthesis.conftest import DrawnSet

BOX = (30, 30, 70, 70)


class Detector:
    """Finds what it was told, wherever it was told."""

    def __init__(self, found: dict[str, tuple[float, tuple[float, float, float, float]]]) -> None:
        self._found = found

    def ground(self, requests: list[GroundingRequest]) -> list[list[Detection]]:
        answers = []
        for request in requests:
            assert request.picture.picture_id is None
            known = self._found.get(request.phrase)
            answers.append([Detection(box=known[1], score=known[0], phrase=request.phrase)] if known else [])
        return answers


class Clip:
    """Gives the same scores to everything, or fails."""

    def __init__(self, scores: ChangeScores | None) -> None:
        self._scores = scores

    def score(self, requests: list[ChangeRequest]) -> list[ChangeScores]:
        if self._scores is None:
            raise ToolError("out of memory")
        return [self._scores] * len(requests)


GOOD_CLIP = ChangeScores(target=0.3, source_drop=0.1, direction=0.25)
GOOD_FOUND = {"orange": (0.8, (32.0, 32.0, 68.0, 68.0))}


def scored(
    drawn_set: DrawnSet,
    root: Path,
    target: np.ndarray,  # type: ignore[type-arg]
    *,
    operation: Operation = Operation.REPLACE,
    clip: Clip | None = None,
    found: dict[str, tuple[float, tuple[float, float, float, float]]] | None = None,
) -> QualityScores:
    """Score one pair made by hand: a gray picture, and `target` in its place."""
    source = gray()
    for folder in ("pictures", "masks", "targets"):
        (root / folder).mkdir(exist_ok=True, parents=True)
    Image.fromarray(source).save(root / "pictures/p.png")
    Image.fromarray(target).save(root / "targets/t.png")
    mask, region = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    mask[35:65, 35:65] = True
    region[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    write_mask(root / "masks/m.png", mask)
    write_mask(root / "masks/r.png", region)
    candidate = Candidate(
        candidate_id="c",
        picture_id="p",
        category=Category.LEFT_RIGHT,
        operation=operation,
        rule=Rule.LEFT,
        kind="apple",
        clue=None,
        clue_origin=None,
        rivals=(),
        context=(),
        replacement=None if operation is Operation.REMOVE else "orange",
        variant=0,
    )
    area = {"mask_fraction": 0.09, "region_fraction": 0.16, "color": "red"}
    region_row = Region(candidate_id="c", mask="masks/m.png", region="masks/r.png", **area)  # type: ignore[arg-type]
    label = None if operation is Operation.REMOVE else "an orange"
    said = Instructions(
        candidate_id="c", texts=("Do it.",), source_label="an apple", target_label=label, writer="template"
    )
    pair = EditedPair(
        pair_id="c.0", candidate_id="c", draw=0, target="targets/t.png", seed=1, tool="exemplar", origin="x"
    )
    row = PictureRow(
        picture_id="p",
        path="pictures/p.png",
        original="p.png",
        original_sha256="",
        original_width=100,
        original_height=100,
        width=100,
        height=100,
        perceptual_hash="0" * 16,
        license="CC0",
        url=None,
    )
    config = drawn_set.config()
    if found is not None:
        config = replace(config, scorer=ScorerConfig(regrounder=GrounderConfig()))
    detector = Detector(found) if found is not None else None
    outcome = score(
        [pair], {"c": candidate}, {"c": region_row}, {"c": said}, Pictures(root, [row]), clip, detector, root, config
    )
    return outcome.rows[0]


def gray() -> np.ndarray:  # type: ignore[type-arg]
    rows = np.linspace(100, 130, 100, dtype=np.uint8)[:, None].repeat(100, axis=1)
    return np.dstack([rows, rows, rows])


def good_target() -> np.ndarray:  # type: ignore[type-arg]
    target = gray()
    target[38:62, 38:62] = (240, 150, 30)
    return target


LIMITS = ThresholdsConfig(clip_target=0.2, clip_source_drop=0.02, clip_direction=0.15)


def test_a_good_pair_passes_every_gate(drawn_set: DrawnSet, tmp_path: Path) -> None:
    row = scored(drawn_set, tmp_path, good_target(), clip=Clip(GOOD_CLIP), found=GOOD_FOUND)
    assert failed_gate(row, LIMITS) is None
    assert not_measured(row, LIMITS) == ("fill_texture",)
    assert (row.target_found, row.source_left, row.background_error) == (0.8, 0.0, 0.0)
    assert row.changed_in_mask == pytest.approx(24 * 24 / 900)
    assert row.changed_fraction == pytest.approx(24 * 24 / 10_000)
    assert row.seam_energy == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["clip_target", "clip_source_drop", "clip_direction"])
def test_each_clip_gate_can_fail(drawn_set: DrawnSet, tmp_path: Path, name: str) -> None:
    scores = replace(GOOD_CLIP, **{name.removeprefix("clip_"): -0.1})
    row = scored(drawn_set, tmp_path, good_target(), clip=Clip(scores), found=GOOD_FOUND)
    assert (failed_gate(row, LIMITS) or ("",))[0] == name


def test_the_new_thing_must_be_found_inside(drawn_set: DrawnSet, tmp_path: Path) -> None:
    nowhere = scored(drawn_set, tmp_path, good_target(), found={})
    elsewhere = scored(drawn_set, tmp_path, good_target(), found={"orange": (0.9, (0.0, 0.0, 25.0, 25.0))})
    for row in (nowhere, elsewhere):
        assert row.target_found == 0.0
        assert (failed_gate(row, LIMITS) or ("",))[0] == "target_found"


def test_the_old_thing_must_be_gone(drawn_set: DrawnSet, tmp_path: Path) -> None:
    still = GOOD_FOUND | {"apple": (0.7, (32.0, 32.0, 68.0, 68.0))}
    row = scored(drawn_set, tmp_path, good_target(), found=still)
    assert (failed_gate(row, LIMITS) or ("",))[0] == "source_left"
    beside = GOOD_FOUND | {"apple": (0.7, (72.0, 32.0, 98.0, 68.0))}
    assert failed_gate(scored(drawn_set, tmp_path, good_target(), found=beside), LIMITS) is None


def test_the_background_must_be_kept(drawn_set: DrawnSet, tmp_path: Path) -> None:
    target = good_target()
    target[5, 5] += 1
    row = scored(drawn_set, tmp_path, target)
    assert row.background_error == 1.0
    assert (failed_gate(row, LIMITS) or ("",))[0] == "background_error"


def test_something_must_change_but_not_everything(drawn_set: DrawnSet, tmp_path: Path) -> None:
    unchanged = scored(drawn_set, tmp_path, gray())
    assert (failed_gate(unchanged, LIMITS) or ("",))[0] == "changed_in_mask"
    repainted = scored(drawn_set, tmp_path, 255 - gray())
    free = replace(LIMITS, background_error=None)
    assert (failed_gate(repainted, free) or ("",))[0] == "changed_fraction"


def test_a_seam_shows(drawn_set: DrawnSet, tmp_path: Path) -> None:
    target = gray()
    target[BOX[1] : BOX[3], BOX[0] : BOX[2]] = (240, 150, 30)
    row = scored(drawn_set, tmp_path, target)
    assert row.seam_energy > 10
    assert (failed_gate(row, LIMITS) or ("",))[0] == "seam_energy"
    assert seam_energy(gray(), target, np.ones((100, 100), bool)) == 1.0


def test_a_smear_is_seen_and_a_like_fill_passes() -> None:
    source = np.random.default_rng(0).integers(90, 160, (100, 100, 3), dtype=np.uint8)
    mask, region = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    mask[35:65, 35:65], region[30:70, 30:70] = True, True
    smear, like = source.copy(), source.copy()
    smear[30:70, 30:70] = 125
    like[30:70, 30:70] = source[:40, :40]
    assert fill_texture(source, smear, mask, region) < 0.05
    assert fill_texture(source, like, mask, region) == pytest.approx(1, abs=0.15)
    flat = np.full((100, 100, 3), 125, np.uint8)
    assert fill_texture(flat, flat, mask, region) == 1.0


def test_a_smeared_removal_fails_its_gate(drawn_set: DrawnSet, tmp_path: Path) -> None:
    row = scored(drawn_set, tmp_path, good_target(), operation=Operation.REMOVE)
    assert failed_gate(row, LIMITS) is None
    assert failed_gate(replace(row, fill_texture=0.1), LIMITS) == ("fill_texture", "fill_texture 0.1000, limit 0.3000")


def test_what_was_not_measured_is_nan_and_said(drawn_set: DrawnSet, tmp_path: Path) -> None:
    bare = scored(drawn_set, tmp_path, good_target())
    assert math.isnan(bare.clip_direction)
    assert not_measured(bare, LIMITS) == (
        "clip_target",
        "clip_source_drop",
        "clip_direction",
        "target_found",
        "fill_texture",
        "source_left",
    )
    failed = scored(drawn_set, tmp_path, good_target(), clip=Clip(None))
    assert math.isnan(failed.clip_target)
    removal = scored(
        drawn_set, tmp_path, good_target(), operation=Operation.REMOVE, clip=Clip(GOOD_CLIP), found=GOOD_FOUND
    )
    assert math.isnan(removal.clip_target)
    assert math.isnan(removal.target_found)
    assert removal.source_left == 0.0
