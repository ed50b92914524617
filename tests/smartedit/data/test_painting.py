from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from smartedit.data.examples import ImageRef, Task, TrainingExample
from smartedit.data.masks import encode_mask
from smartedit.data.phrasings import NOTHING_PHRASINGS, PHRASINGS, QUESTION_PHRASINGS, PhrasingError, load_phrasings
from smartedit.data.segmentation import COLORS, AbsentClass, PaintingRules, absent_labels, choose_painting, paint

MASK = encode_mask(np.eye(4, dtype=bool))
NAMES = {value: f"Class{value + 1}" for value in range(182)}


def row(number: int = 0, **fields: object) -> TrainingExample:
    defaults: dict[str, object] = {
        "example_id": f"s/{number}",
        "source": "s",
        "task": Task.SEGMENT,
        "split": "train",
        "license": "x",
        "terms": "y",
    }
    return TrainingExample(**{**defaults, **fields})  # type: ignore[arg-type]


def label_row(number: int = 0, ids: tuple[int, ...] = (0, 16, 123)) -> TrainingExample:
    return row(number, mask_image=ImageRef(path="m.png"), label_ids=ids, phrases=tuple(NAMES[i] for i in ids))


def test_a_draw_follows_from_id_and_visit_alone() -> None:
    example = row(mask_rle=MASK, phrases=("A", "B", "C"))
    assert choose_painting(example) == choose_painting(row(mask_rle=MASK, phrases=("A", "B", "C")))
    visits = {choose_painting(example, visit=v).instruction for v in range(60)}
    assert len(visits) > 40
    first = choose_painting(example)
    assert first == choose_painting(example, visit=0)


def test_all_colors_phrases_and_wordings_are_drawn() -> None:
    drawn = [choose_painting(row(i, mask_rle=MASK, phrases=("The Cat", "Dog"))) for i in range(800)]
    assert Counter(d.color for d in drawn).keys() == COLORS.keys()
    assert {d.phrase for d in drawn} == {"The Cat", "Dog"}
    expected = {p.format(object=o, color=c) for p in PHRASINGS for o in ("the cat", "dog") for c in COLORS}
    seen = {d.instruction for d in drawn}
    assert seen <= expected and len(seen) > 0.9 * len(expected)


def test_questions_stand_before_the_request() -> None:
    named = choose_painting(row(mask_rle=MASK, phrases=("Pumpkin",), instructions=("Which is orange?",)))
    assert named.instruction.startswith("Which is orange? ") and " pumpkin" in named.instruction
    unnamed = choose_painting(row(mask_rle=MASK, instructions=("Which is orange?",)))
    assert unnamed.phrase is None
    assert unnamed.instruction in {f"Which is orange? {q.format(color=unnamed.color)}" for q in QUESTION_PHRASINGS}


def test_classes_of_a_label_map() -> None:
    drawn = [choose_painting(label_row(i), label_names=NAMES) for i in range(1500)]
    assert all(d.phrase == NAMES[d.label_id] for d in drawn if d.label_id is not None)
    absent = [d for d in drawn if d.label_id not in (0, 16, 123)]
    assert 0.17 < len(absent) / len(drawn) < 0.23
    assert {d.label_id for d in drawn} >= {0, 16, 123}
    assert not any(d.label_id in (11, 25, 90) for d in drawn)
    assert all(choose_painting(label_row(i)).label_id in (0, 16, 123) for i in range(200))


def test_classes_outside_of_the_crop_are_neither_present_nor_absent() -> None:
    rules = PaintingRules(empty_share=0.5)
    drawn = [choose_painting(label_row(i), present=[16, 255], label_names=NAMES, rules=rules) for i in range(600)]
    assert {d.label_id for d in drawn} & {0, 123} == set()
    assert 16 in {d.label_id for d in drawn}


@pytest.mark.parametrize("rule", ["exact", "smartedit"])
def test_of_a_stuff_only_map_no_thing_counts_as_absent(rule: AbsentClass) -> None:
    own, rules = (92, 124, 182), PaintingRules(absent_class=rule)
    names = tuple(NAMES[value - 1] for value in own)
    examples = [row(i, mask_image=ImageRef(path="m.png"), label_ids=own, phrases=names) for i in range(1500)]
    drawn = [choose_painting(e, present=[*own, 183, 255], label_names=NAMES, rules=rules) for e in examples]
    absent = {d.phrase for d in drawn if d.label_id not in own}
    assert len(absent) > 60 and absent <= {NAMES[value] for value in range(91, 182)}
    assert rule == "smartedit" or not absent & set(names)
    shifted = [choose_painting(label_row(i, ids=(92, 124)), label_names=NAMES, rules=rules) for i in range(100)]
    assert any(d.label_id is not None and d.label_id < 91 for d in shifted)


def test_nothing_labeled_means_nothing_painted() -> None:
    for painting in (
        choose_painting(label_row(ids=()), label_names=NAMES),
        choose_painting(label_row(), present=[255], label_names=NAMES),
    ):
        assert painting.label_id is None and painting.instruction in NOTHING_PHRASINGS


def test_what_the_authors_loop_leaves_of_the_absent_classes() -> None:
    names = {value: str(value) for value in range(6)}
    assert absent_labels(names, [0, 1, 2, 3], "smartedit") == [1, 3, 4, 5]
    assert absent_labels(names, [0, 1, 2, 3]) == [4, 5]
    assert 11 in absent_labels(NAMES, [0], "smartedit") and 11 not in absent_labels(NAMES, [0])


def test_paint_cuts_down_to_eight_bits() -> None:
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    before = picture.copy()
    mask = np.zeros((16, 16), dtype=bool)
    mask[:8] = True
    for color, rgb in COLORS.items():
        painted = paint(picture, mask, color)
        expected = np.floor(0.5 * picture + 0.5 * np.array(rgb)).astype(np.uint8)
        assert np.array_equal(painted[:8], expected[:8])
        assert np.array_equal(painted[8:], picture[8:])
    assert np.array_equal(picture, before)
    assert np.array_equal(paint(picture, mask, "red", 1.0), picture)
    assert (paint(picture, mask, "purple", 0.0)[:8] == COLORS["purple"]).all()


def test_what_cannot_be_painted() -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        paint(picture, np.zeros((5, 4), bool), "red")
    with pytest.raises(ValueError, match="no colour 'pink'"):
        paint(picture, np.zeros((4, 5), bool), "pink")
    with pytest.raises(ValueError, match="nothing is painted"):
        choose_painting(row(task=Task.EDIT))


def test_wordings_of_a_user(tmp_path: Path) -> None:
    path = tmp_path / "w.txt"
    path.write_text("Make {object} {color}.\n\nIn {color}: {object}\n")
    rules = PaintingRules(phrasings=load_phrasings(path))
    drawn = {choose_painting(row(i, mask_rle=MASK, phrases=("X{",)), rules=rules).instruction for i in range(99)}
    assert "Make x{ red." in drawn and "In blue: x{" in drawn
    for content, match in (("", "holds no line"), ("ok {object} {color}\nno color {object}", "line 2 lacks")):
        path.write_text(content)
        with pytest.raises(PhrasingError, match=match):
            load_phrasings(path)
    with pytest.raises(PhrasingError, match="cannot be read"):
        load_phrasings(tmp_path / "nowhere.txt")
