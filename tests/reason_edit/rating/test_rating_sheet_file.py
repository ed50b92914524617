import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.commands.rating_study import OpenedStudy
from reason_edit.rating.sheet_file import FORMAT, import_answers, write_sheets
from reason_edit.rating.study import Answer, RatingError
from tests.reason_edit.rating.drawn_run import METHODS


def study_in(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    start = text.index('<script id="study" type="application/json">') + len(
        '<script id="study" type="application/json">'
    )
    content: dict[str, Any] = json.loads(text[start : text.index("</script>", start)])
    return content


def saved(study: OpenedStudy, folder: Path, change: dict[str, Any] | None = None, answer: str = "aligned") -> Path:
    content = study_in(write_sheets(folder, study.store, study.pictures, study.store.raters()[0])[0])
    answers = [
        {"item": i["item"], "answer": answer, "seconds": 2.0, "answered_at": "2026-01-02T03:04:05.678Z"}
        for i in content["items"]
    ]
    body = {"format": FORMAT, "study": content["study"], "sheet": content["sheet"], "answers": answers}
    path = folder / "answers.json"
    path.write_text(json.dumps({**body, **(change or {})}))
    return path


def test_pages_hold_all_items_once_and_no_name(study: OpenedStudy, tmp_path: Path) -> None:
    pages = write_sheets(tmp_path / "out", study.store, study.pictures, study.store.raters()[0], items_per_file=8)
    assert len(pages) == 3
    items = [i["item"] for p in pages for i in study_in(p)["items"]]
    assert len(set(items)) == len(items) == 20
    for page in pages:
        text = page.read_text(encoding="utf-8") + page.name
        assert not [
            w for w in (*METHODS, "attention", "expected", "left_right/", "ann") if f'"{w}' in text or w in page.name
        ]
        assert not [m for m in METHODS if m in text]
        assert "http://" not in text
        assert "https://" not in text


def test_a_source_is_embedded_once(study: OpenedStudy, tmp_path: Path) -> None:
    content = study_in(write_sheets(tmp_path, study.store, study.pictures, study.store.raters()[0])[0])
    assert len(content["sources"]) == 6
    assert all(s.startswith("data:image/png;base64,") for s in content["sources"])


def test_answers_are_taken_in_once(study: OpenedStudy, tmp_path: Path) -> None:
    path = saved(study, tmp_path)
    first, second = import_answers(path, study.store), import_answers(path, study.store)
    assert (first.rater, first.new, first.known, first.older) == ("ann", 20, 0, 0)
    assert (second.new, second.known) == (0, 20)
    assert {v.answer for v in study.store.current(0).values()} == {Answer.ALIGNED}
    assert study.store.current(1) == {}


def test_an_item_left_open_for_days_costs_no_answer(study: OpenedStudy, tmp_path: Path) -> None:
    path = saved(study, tmp_path)
    body = json.loads(path.read_text())
    body["answers"][3]["seconds"] = 90_000.5
    path.write_text(json.dumps(body))
    assert [(i.new, i.known) for i in (import_answers(path, study.store), import_answers(path, study.store))] == [
        (20, 0),
        (0, 20),
    ]
    assert sorted(v.seconds for v in study.store.current(0).values())[-2:] == [2.0, 86_400.0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "smartedit-ratings-9"}, "format"),
        ({"study": "another"}, "answers of study 'another'"),
        ({"sheet": "guess"}, "no rater of this study has this sheet"),
        ({"extra": 1}, "extra"),
        (
            {"answers": [{"item": "0" * 32, "answer": "not", "seconds": 1, "answered_at": "2026-01-01T00:00:00Z"}]},
            "not on the sheet",
        ),
        (
            {"answers": [{"item": "x", "answer": "not", "seconds": 1, "answered_at": "2026-01-01T00:00:00Z"}]},
            r"answers\.0\.item",
        ),
        (
            {"answers": [{"item": "0" * 32, "answer": "no", "seconds": 1, "answered_at": "2026-01-01T00:00:00Z"}]},
            r"answers\.0\.answer",
        ),
        ({"answers": [{"item": "0" * 32, "answer": "not", "seconds": 1, "answered_at": "yesterday"}]}, "answered_at"),
        ({"answers": "all"}, "answers"),
    ],
)
def test_bad_files_are_refused_whole(
    study: OpenedStudy, tmp_path: Path, change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(RatingError, match=complaint):
        import_answers(saved(study, tmp_path, change), study.store)
    assert study.store.history() == []


def test_one_wrong_answer_stops_the_whole_file(study: OpenedStudy, tmp_path: Path) -> None:
    path = saved(study, tmp_path)
    content = json.loads(path.read_text())
    content["answers"].append(content["answers"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(RatingError, match=r"answers\[20\].*answered twice"):
        import_answers(path, study.store)
    content["answers"][-1] = {**content["answers"][0], "answered_at": "2999-01-01T00:00:00Z"}
    content["answers"].pop(0)
    path.write_text(json.dumps(content))
    with pytest.raises(RatingError, match="lies in the future"):
        import_answers(path, study.store)
    assert study.store.history() == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00"])
def test_what_is_no_json_is_refused(study: OpenedStudy, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(RatingError, match=r"broken\.json"):
        import_answers(path, study.store)
    with pytest.raises(RatingError, match="no such file"):
        import_answers(tmp_path / "none.json", study.store)


def test_instructions_cannot_break_out_of_the_page(study: OpenedStudy, tmp_path: Path) -> None:
    from sqlalchemy import update

    from reason_edit.rating.database import ITEMS

    nasty = "</script><script>alert(1)</script> & <b>bold</b>"
    with study.store.writing() as connection:
        connection.execute(update(ITEMS).values(instruction=nasty))
    page = write_sheets(tmp_path, study.store, study.pictures, study.store.raters()[0])[0]
    assert "alert(1)</script>" not in page.read_text(encoding="utf-8")
    assert study_in(page)["items"][0]["instruction"] == nasty
