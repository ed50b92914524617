import pytest

from benchmark.judges.replies import QUESTION, Reply, opinion_of
from reason_edit.rating.study import Answer


def read(text: str | None, refusal: str | None = None) -> tuple[Answer | None, str | None]:
    opinion = opinion_of(Reply(text=text, refusal=refusal, served_model=None))
    assert (opinion.answer is None) == (opinion.reason is not None)
    return opinion.answer, opinion.reason


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", Answer.ALIGNED),
        ("Yes.", Answer.ALIGNED),
        (" **Yes**", Answer.ALIGNED),
        ("YES, the apple became an orange.", Answer.ALIGNED),
        ("no", Answer.NOT_ALIGNED),
        ("No - the wrong apple was changed", Answer.NOT_ALIGNED),
        ("no\n", Answer.NOT_ALIGNED),
        ('"No"', Answer.NOT_ALIGNED),
    ],
)
def test_clear_replies_are_read(text: str, answer: Answer) -> None:
    assert read(text) == (answer, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "No doubt it does",
        "Yes and no",
        "Yes, but no, not really",
        "I would say yes",
        "Not aligned",
        "Nope",
        "yesterday",
        "The edit is fine",
        "是",
        "1",
        "no: unsure",
        "yes yesyes no",
    ],
)
def test_unclear_replies_are_no_answer(text: str) -> None:
    answer, reason = read(text)
    assert answer is None
    assert "unreadable reply" in str(reason)


def test_unsure_and_refused_say_so() -> None:
    assert read("Unsure.") == (None, "the judge is unsure")
    assert read(None, "policy") == (None, "refused: policy")


def test_the_question_holds_the_instruction_as_it_is() -> None:
    assert "\npaint {it} 'red'\n" in QUESTION.format(instruction="paint {it} 'red'")
