import stat
import threading
from pathlib import Path

import pytest

from benchmark.commands.rating_study import OpenedStudy
from reason_edit.rating.returns import read_returns
from reason_edit.rating.store import AnsweredElsewhere, Store, Vote
from reason_edit.rating.study import Answer, RatingError


def vote(item: int, answer: Answer, nonce: str, at: str = "2026-01-01T00:00:00.000+00:00") -> Vote:
    return Vote(item=item, answer=answer, seconds=2.5, nonce=nonce, answered_at=at)


def test_sending_an_answer_twice_stores_it_once(study: OpenedStudy) -> None:
    assert study.store.vote(0, vote(3, Answer.ALIGNED, "n1"), believed=None)
    assert not study.store.vote(0, vote(3, Answer.ALIGNED, "n1"), believed=None)
    assert len(study.store.history()) == 1


def test_a_changed_answer_counts_and_the_first_is_kept(study: OpenedStudy) -> None:
    study.store.vote(0, vote(3, Answer.ALIGNED, "n1"), believed=None)
    study.store.vote(0, vote(3, Answer.NOT_ALIGNED, "n2"), believed=Answer.ALIGNED)
    assert study.store.current(0)[3].answer is Answer.NOT_ALIGNED
    assert [v.answer for _, v in study.store.history()] == [Answer.ALIGNED, Answer.NOT_ALIGNED]
    assert read_returns(study.store).raters[0].changed == 1


def test_a_second_tab_cannot_overwrite_unseen(study: OpenedStudy) -> None:
    study.store.vote(0, vote(3, Answer.ALIGNED, "n1"), believed=None)
    with pytest.raises(AnsweredElsewhere) as caught:
        study.store.vote(0, vote(3, Answer.NOT_ALIGNED, "n2"), believed=None)
    assert caught.value.current is Answer.ALIGNED
    assert study.store.current(0)[3].answer is Answer.ALIGNED
    assert study.store.vote(0, vote(3, Answer.ALIGNED, "n3"), believed=None)


def test_an_old_answer_sent_again_neither_returns_nor_complains(study: OpenedStudy) -> None:
    study.store.vote(0, vote(3, Answer.ALIGNED, "n1"), believed=None)
    study.store.vote(0, vote(3, Answer.NOT_ALIGNED, "n2"), believed=Answer.ALIGNED)
    assert not study.store.vote(0, vote(3, Answer.ALIGNED, "n1"), believed=None)
    assert study.store.current(0)[3].answer is Answer.NOT_ALIGNED


def test_raters_do_not_touch_one_another(study: OpenedStudy) -> None:
    study.store.vote(0, vote(3, Answer.ALIGNED, "same"), believed=None)
    assert study.store.vote(1, vote(3, Answer.NOT_ALIGNED, "same"), believed=None)
    assert study.store.current(0)[3].answer is Answer.ALIGNED


def test_of_many_tabs_at_once_one_wins_and_nothing_is_lost(study: OpenedStudy) -> None:
    outcomes: list[str] = []

    def send(i: int) -> None:
        answer = list(Answer)[i % 3]
        try:
            outcomes.append("stored" if study.store.vote(0, vote(1, answer, f"n{i}"), believed=None) else "known")
        except AnsweredElsewhere:
            outcomes.append("conflict")

    threads = [threading.Thread(target=send, args=(i,)) for i in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    history = study.store.history()
    assert outcomes.count("stored") == len(history) == 4
    assert len({v.answer for _, v in history}) == 1


def test_a_commit_is_on_disk(study: OpenedStudy) -> None:
    with study.store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_only_the_owner_can_read_the_votes_and_links(study: OpenedStudy) -> None:
    for path in Path(study.location).parent.glob("study.sqlite*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_links_are_long_random_and_stay(study: OpenedStudy) -> None:
    ann = study.store.invite("ann")
    assert ann == study.store.raters()[0]
    assert len(ann.token) == 32
    assert len({r.token for r in study.store.raters()}) == 2
    assert study.store.rater_of(ann.token) == ann
    assert study.store.rater_of(ann.token[:-1]) is None


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 201])
def test_odd_names_are_refused(study: OpenedStudy, name: str) -> None:
    with pytest.raises(RatingError, match="printable"):
        study.store.invite(name)


def test_a_sheet_is_taken_in_whole_and_later_answers_win(study: OpenedStudy) -> None:
    early, late = "2026-01-01T00:00:00.000+00:00", "2026-01-02T00:00:00.000+00:00"
    assert study.store.take_in(0, [vote(1, Answer.ALIGNED, "a", late), vote(2, Answer.ALIGNED, "b", early)]) == (2, 0)
    assert study.store.take_in(0, [vote(1, Answer.ALIGNED, "a", late), vote(2, Answer.ALIGNED, "b", early)]) == (0, 0)
    assert study.store.take_in(0, [vote(1, Answer.NOT_ALIGNED, "c", early)]) == (0, 1)
    assert study.store.current(0)[1].answer is Answer.ALIGNED


def test_no_study_and_no_database_are_plain_errors(tmp_path: Path) -> None:
    with pytest.raises(RatingError, match="no study here"):
        Store.open(str(tmp_path / "none.sqlite"))
    broken = tmp_path / "broken.sqlite"
    broken.write_bytes(b"certainly not a database" * 50)
    with pytest.raises(RatingError, match=r"broken\.sqlite.*cannot be opened"):
        Store.open(str(broken))
    with pytest.raises(RatingError, match="not a database path or URL"):
        Store.open("nonsense://x")


def test_a_study_is_begun_once(study: OpenedStudy) -> None:
    with pytest.raises(RatingError, match="there is a study already"):
        Store.create(study.location, study.store.items(), study.store.panel())


def test_items_come_back_as_they_went_in(study: OpenedStudy) -> None:
    assert study.store.items() == list(study.pictures.keys)
    assert [k.number for k in study.store.items()] == list(range(20))
