import hashlib
import shutil
from collections import Counter
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from reason_edit.schema import Category
from smartedit.commands.miniature import app
from smartedit.miniature.benchmark_set import COUNTS, FOLDERS, Answer, benchmark_cases, write_reason_edit
from smartedit.miniature.drawing import draw
from smartedit.miniature.folders import DatasetFolderError, claimed
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.knowledge import clues, is_held_out
from smartedit.miniature.layout import stands_free


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_the_layout_is_the_authors(miniature: Path) -> None:
    assert sum(COUNTS.values()) == 219
    for category, (folder, text_name) in FOLDERS.items():
        stems = [f"{k:03d}" for k in range(1, COUNTS[category] + 1)]
        assert sorted(p.name for p in (miniature / folder).iterdir()) == sorted(
            [f"{s}.png" for s in stems] + [f"{s}_mask.jpg" for s in stems] + [text_name]
        )
        lines = (miniature / folder / text_name).read_text().splitlines()
        assert len(lines) == COUNTS[category]
        assert all(len(line.split(" CLIP: ")) == 2 and all(line.split(" CLIP: ")) for line in lines)
    assert sorted(p.name for p in miniature.iterdir()) == sorted([f for f, _ in FOLDERS.values()] + ["answers"])


def test_lines_belong_to_files(miniature: Path, answers: list[Answer]) -> None:
    for category, (folder, text_name) in FOLDERS.items():
        rows = [a for a in answers if a.category is category]
        lines = (miniature / folder / text_name).read_text().splitlines()
        assert lines == [f"{a.instruction} CLIP: {a.target_label}" for a in rows]
        assert [a.sample_id for a in rows] == [f"{category.value}/{k:03d}" for k in range(1, len(rows) + 1)]


def test_pictures_are_the_scenes(miniature: Path, answers: list[Answer]) -> None:
    for answer in answers[::10]:
        stem = answer.sample_id.partition("/")[2]
        source = pixels(miniature / FOLDERS[answer.category][0] / f"{stem}.png")
        before, after = draw(answer.before, 64), draw(answer.after, 64)
        assert np.array_equal(source, before.image)
        exact = before.footprints[answer.thing] | (after.footprints[answer.thing] if answer.new_kind else False)
        assert np.array_equal(pixels(miniature / FOLDERS[answer.category][0] / f"{stem}_mask.jpg") >= 128, exact)
        assert np.array_equal(pixels(miniature / "answers" / answer.target), draw(answer.after, 64).image)


def test_source_and_target_differ_inside_the_mask_only(miniature: Path, answers: list[Answer]) -> None:
    for answer in answers:
        stem = answer.sample_id.partition("/")[2]
        folder = miniature / FOLDERS[answer.category][0]
        mask = pixels(folder / f"{stem}_mask.jpg") >= 128
        changed = (pixels(folder / f"{stem}.png") != pixels(miniature / "answers" / answer.target)).any(axis=2)
        assert mask.mean() > 0.02, answer.sample_id
        assert mask.mean() < 0.5, answer.sample_id
        assert not (changed & ~mask).any(), answer.sample_id
        assert changed[mask].mean() > 0.5, answer.sample_id


def test_the_thing_is_in_full_view_and_nothing_is_hidden(answers: list[Answer]) -> None:
    for answer in answers[::3]:
        together = draw(answer.before, 64).coverage
        for k, thing in enumerate(answer.before.things):
            alone = draw(
                type(answer.before)(backdrop=answer.before.backdrop, things=(thing,), mirror=answer.before.mirror), 64
            )
            assert together[k].sum() > 0.97 * alone.coverage[0].sum(), (answer.sample_id, thing.kind)
            assert together[k].sum() > 40, (answer.sample_id, thing.kind)


def test_only_the_thing_changes(answers: list[Answer]) -> None:
    for answer in answers:
        before, after = list(answer.before.things), list(answer.after.things)
        thing = before.pop(answer.thing)
        assert (thing.kind, thing.color) == (answer.kind, answer.color)
        if answer.action == "replace":
            new = after.pop(answer.thing)
            assert (new.kind, new.color) == (answer.new_kind, answer.new_color)
            assert (new.x, new.y, new.size, new.in_mirror) == (thing.x, thing.y, thing.size, thing.in_mirror)
            assert answer.new_kind not in {t.kind for t in answer.before.things}
            assert stands_free(answer.after, answer.thing)
        assert before == after
        assert answer.before.backdrop == answer.after.backdrop
        assert answer.before.mirror == answer.after.mirror


def test_what_is_held_out_is_used_and_nothing_else(answers: list[Answer]) -> None:
    held_out = {clue.text for clue in clues() if clue.held_out}
    reasoning = [a for a in answers if a.category is Category.REASONING]
    assert Counter(a.clue for a in reasoning) == Counter(held_out)
    assert not any(is_held_out(a.kind, a.new_kind) for a in reasoning)
    understanding = [a for a in answers if a.category is not Category.REASONING]
    assert all(is_held_out(a.kind, a.new_kind) for a in understanding)
    assert {a.clue for a in understanding} == {None}


def test_every_kind_is_asked_for(answers: list[Answer]) -> None:
    assert {a.kind for a in answers} == set(KINDS)
    actions = Counter(a.action for a in answers)
    assert actions["remove"] > 70
    assert actions["replace"] > 100


def test_removal_labels_name_what_comes_to_light(answers: list[Answer]) -> None:
    for answer in answers:
        if answer.action == "remove" and answer.before.things[answer.thing].in_mirror:
            assert answer.target_label == "the mirror"
        if answer.action == "remove" and answer.before.backdrop.ground == "snow":
            assert "snow" in answer.target_label
        if answer.action == "replace":
            assert str(answer.new_kind) in answer.target_label


def test_the_same_bytes_after_an_interruption(miniature: Path, tmp_path: Path) -> None:
    expected = content(miniature)
    again = tmp_path / "again"
    shutil.copytree(miniature, again)
    (again / "answers" / "scenes.parquet").unlink()
    for folder in ("3-Mirror", "6-Reasoning", "answers/targets/color"):
        shutil.rmtree(again / folder)
    (again / "1-Left-Right" / ".007.tmp-abc.png").write_bytes(b"half a picture")
    write_reason_edit(again, seed=0, size=64)
    assert content(again) == expected


def test_what_is_complete_is_left_alone(miniature: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in miniature.rglob("*")}
    write_reason_edit(miniature, seed=0, size=64)
    assert {path: path.stat().st_mtime_ns for path in miniature.rglob("*")} == before


def test_another_seed_and_other_clues_give_other_scenes(answers: list[Answer]) -> None:
    prints = {a.before.fingerprint for a in answers}
    assert len(prints) == 219
    other = {case.scene.fingerprint for case in benchmark_cases(Category.MIRROR, 1)}
    assert len(other) == 30
    assert not other & prints
    seen = [case.reference.clue for case in benchmark_cases(Category.REASONING, 0, seen_clues=True)]
    assert {clue.text for clue in seen if clue} == {clue.text for clue in clues() if not clue.held_out}


def test_two_writers_take_turns(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with claimed(tmp_path / "set", "marker.json", "{}"):
            order.append("second")

    with claimed(tmp_path / "set", "marker.json", "{}"):
        thread = Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    with pytest.raises(DatasetFolderError, match="not empty"):
        write_reason_edit(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_other_settings_are_refused(miniature: Path) -> None:
    result = CliRunner().invoke(app, ["reason-edit", str(miniature), "--seed", "5", "--size", "64"])
    assert result.exit_code == 1
    assert "other settings" in result.output
    assert "Traceback" not in result.output


def test_contact_sheet(miniature: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["contact-sheet", str(miniature), "-o", str(tmp_path / "sheet.png"), "--most", "3", "--side", "64"]
    )
    assert result.exit_code == 0, result.output
    assert pixels(tmp_path / "sheet.png").std() > 20
    result = CliRunner().invoke(app, ["contact-sheet", str(tmp_path), "-o", str(tmp_path / "x.png")])
    assert result.exit_code == 1
    assert "scenes.parquet" in result.output
