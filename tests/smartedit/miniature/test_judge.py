"""The exact judge on right edits and on edits with one planted error."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smartedit.miniature.benchmark_set import FOLDERS, Answer
from smartedit.miniature.candidates import FOOT, LOOKS, SIDE, compare_looks, drawn_looks
from smartedit.miniature.drawing import draw
from smartedit.miniature.judge import AnswersError, judge_edit, read_answers, scenes_hash
from smartedit.miniature.planted import plant
from smartedit.miniature.scene_truth import WrongScene, truth_of
from smartedit.miniature.scenes import replaced


def source_of(folder: Path, answer: Answer) -> np.ndarray:
    stem = answer.sample_id.partition("/")[2]
    with Image.open(folder / FOLDERS[answer.category][0] / f"{stem}.png") as image:
        return np.array(image)


def test_planted_errors_are_found_and_right_edits_pass(miniature: Path, answers: list[Answer]) -> None:
    wrong: list[tuple[str, str, str, tuple[str, ...]]] = []
    seen: Counter[str] = Counter()
    for answer in answers[3::44]:
        truth = truth_of(answer, source_of(miniature, answer))
        for planted in plant(answer, 64, seed=7, finishes=1):
            seen[planted.variety] += 1
            verdict = judge_edit(answer, truth, planted.image)
            assert verdict.aligned is (not verdict.faults)
            if verdict.aligned is not planted.aligned:
                wrong.append((answer.sample_id, planted.variety, planted.finish, verdict.faults))
    assert len(seen) >= 14
    assert len(wrong) <= 0.02 * seen.total(), wrong


@pytest.mark.parametrize("index", [2, 40, 100])
def test_the_fault_is_named(miniature: Path, answers: list[Answer], index: int) -> None:
    answer = next(a for a in answers[index:] if a.new_kind is not None)
    source = source_of(miniature, answer)
    truth = truth_of(answer, source)

    def faults(edited: np.ndarray) -> str:
        return "; ".join(judge_edit(answer, truth, edited).faults)

    assert faults(draw(answer.after, 64).image) == ""
    assert faults(source) == "not edited"
    kind = "elephant" if answer.new_kind != "elephant" else "car"
    other = draw(replaced(answer.before, answer.thing, kind, "blue"), 64).image
    assert faults(other) == f"the place shows blue {kind}"
    assert "background" in faults(draw(replace(answer.after, backdrop=_another(answer)), 64).image)


def _another(answer: Answer):  # type: ignore[no-untyped-def]
    wall, ground = ("seaside", "sand") if answer.before.backdrop.wall != "seaside" else ("brick", "cloth")
    return replace(answer.before.backdrop, wall=wall, ground=ground)


def test_any_color_is_right_unless_one_is_named(miniature: Path, answers: list[Answer]) -> None:
    free = next(a for a in answers if a.new_kind == "car" and not a.color_named)
    truth = truth_of(free, source_of(miniature, free))
    green = draw(replaced(free.before, free.thing, "car", "green"), 64).image
    assert judge_edit(free, truth, green).aligned
    asked = replace(free, color_named=True, new_color="red")
    assert judge_edit(asked, truth, green).faults == ("the place shows green car",)


def test_one_matrix_product_is_the_difference_of_the_pictures() -> None:
    looks = drawn_looks(14, 64, False, 0.7)
    rng = np.random.default_rng(0)
    edited, bare = (rng.random((SIDE, SIDE, 3)).astype(np.float32) for _ in range(2))
    found = compare_looks(looks, edited, bare, FOOT, 1)
    height, width = looks.passed.shape[1:]
    for k, shift in ((5, 0), (100, 7), (len(LOOKS) - 1, 8)):
        top, left = FOOT[0] + shift // 3 - 1 - looks.up, FOOT[1] + shift % 3 - 1 - looks.left
        e, b = (a[top : top + height, left : left + width] for a in (edited, bare))
        drawn = b * looks.passed[k][:, :, None] + looks.own[k]
        assert found[k, shift] == pytest.approx(((e - drawn) ** 2).sum() - ((e - b) ** 2).sum(), abs=1e-3)


def test_a_source_of_another_scene_is_refused(miniature: Path, answers: list[Answer]) -> None:
    with pytest.raises(WrongScene, match=r"not the scene"):
        truth_of(answers[0], source_of(miniature, answers[1]))


def test_other_data_sets_are_refused(tmp_path: Path, miniature: Path, answers: list[Answer]) -> None:
    with pytest.raises(AnswersError, match="knows only the miniature"):
        read_answers([tmp_path])
    with pytest.raises(AnswersError, match="2 data sets"):
        read_answers([miniature, tmp_path])
    known = read_answers([miniature])
    assert len(known) == len(answers) == 219
    changed = {**known, "color/001": replace(known["color/001"], after=known["color/001"].before)}
    assert scenes_hash(known) == scenes_hash(dict(reversed(known.items()))) != scenes_hash(changed)
