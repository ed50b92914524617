"""The knowledge table that ships is large, sound, and its clues are used only where they are unambiguous."""

from pathlib import Path

import pytest

from smartedit.config.synthesis import ProposalsConfig
from smartedit.synthesis.knowledge import Clue, KnowledgeError, read_knowledge
from smartedit.synthesis.propose import propose
from smartedit.synthesis.records import Rule
from smartedit.tools.protocols import Operation
from smartedit.tools.wording import names_word

COCO = """
bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, parking
meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv,
laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase,
scissors, teddy bear, hair drier, toothbrush
"""


def coco_things() -> list[str]:
    return [name.strip() for name in COCO.replace("\n", " ").split(",")]


def test_the_table_is_as_large_as_asked_and_covers_coco() -> None:
    table = read_knowledge()
    assert len(table.things) >= 150
    assert len(table.clues) >= 400
    assert len(coco_things()) == 79  # all of COCO but person
    assert set(coco_things()) <= set(table.things)
    assert all(len(table.clues_for(kind)) >= 2 for kind in table.things)
    assert all(table.replacements(kind, size_ratio=4, available=None) for kind in coco_things())


def test_clues_read_as_noun_phrases() -> None:
    for clue in read_knowledge().clues:
        assert not clue.text.lower().startswith(("the ", "a ", "an ", "what ", "it "))
        assert not clue.text.endswith((".", "?"))
        assert 12 <= len(clue.text) <= 90
        assert not set(clue.things) & set(clue.doubtful)


def test_what_the_table_does_not_know_is_not_edited_by_an_invented_clue_either() -> None:
    config = ProposalsConfig(per_picture=50)
    extra = {
        kind: [Clue(text=f"a thing like no other {kind[0]}", things=(kind,))] for kind in ("person", "mirror", "apple")
    }
    counts = {"person": 1, "mirror": 1, "apple": 1}
    candidates, _ = propose("p", counts, read_knowledge(), config, available=None, extra_clues=extra)
    assert {c.kind for c in candidates} <= {"apple"}
    assert any(c.clue == "a thing like no other a" for c in candidates)


def test_a_clue_is_not_used_beside_a_rival() -> None:
    table, config = read_knowledge(), ProposalsConfig(per_picture=50)

    def clues(counts: dict[str, int]) -> set[str | None]:
        candidates, _ = propose("p", counts, table, config, available=None)
        return {c.clue for c in candidates if c.rule is Rule.CLUE and c.kind == "clock"}

    alone = set().union(*(clues({"clock": 1, "vase": n}) for n in (1, 2, 3)))
    assert alone
    assert "object that can tell the time" not in clues({"clock": 1, "wristwatch": 1})
    assert "object that can tell the time" not in clues({"clock": 1, "cell phone": 2})
    assert clues({"clock": 2}) == set()


def test_replacements_are_alike_absent_and_not_withheld(tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(
        '[things]\ncat = { group = "a", size = 10, withheld = ["dog", "nothing"] }\ndog = { group = "a", size = 12 }\n'
        'cow = { group = "a", size = 15 }\nwhale = { group = "a", size = 900 }\ncup = { group = "b", size = 10 }\n'
    )
    table = read_knowledge(tmp_path / "t.toml")
    assert table.replacements("cat", size_ratio=4, available=None) == ["cow"]
    assert table.replacements("dog", size_ratio=4, available={"cat", "cup"}) == ["cat"]
    assert table.replacements("person", size_ratio=4, available=None) == []
    config = ProposalsConfig(remove_share=1.0, add_share=0.0)
    candidates, _ = propose("p", {"cat": 2, "dog": 2}, table, config, available=None)
    kinds = {(c.kind, c.operation) for c in candidates}
    assert ("dog", Operation.REMOVE) in kinds
    assert ("cat", Operation.REMOVE) not in kinds
    both_there, _ = propose("p", {"cat": 2, "cow": 1}, table, ProposalsConfig(remove_share=0), available=None)
    assert not any(c.kind == "cat" for c in both_there)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("clues = [", "broken TOML"),
        ("[other]\n", r"no \[things"),
        ("[things]\ncat = { size = 3 }\n", "things.cat: group and size"),
        ('[things]\ncat = { group = "a", size = 3, colour = 1 }\n', "unknown field 'colour'"),
        ('clues = [{ text = "x y", things = ["dog"] }]\n[things]\ncat = { group = "a", size = 3 }\n', "'dog' is not"),
        (
            'clues = [{ text = "a cat", things = ["cat"] }]\n[things]\ncat = { group = "a", size = 3 }\n',
            "names its answer",
        ),
        ('[things]\n"salt/pepper" = { group = "a", size = 3 }\n', "salt/pepper: a name holds letters"),
        ('[things]\n"../cat" = { group = "a", size = 3 }\n', "a name holds letters"),
        ('[things]\ncat = { group = "a", size = -3 }\n', "things.cat: size is -3"),
        ('[things]\ncat = { group = "a", size = "big" }\n', "things.cat: size is 'big'"),
        ('[things]\ncat = { group = "a", size = 3, also = "puss" }\n', "things.cat: also is 'puss'; write a list"),
        ('[things]\ncat = { group = "a", size = 3, withheld = "nothing" }\n', "withheld is 'nothing'"),
        ("[things]\ncat = 3\n", "things.cat is 3; write a section"),
        ("things = 3\n", "things are sections"),
        ('clues = ["what purrs"]\n[things]\ncat = { group = "a", size = 3 }\n', "clue 'what purrs': write"),
    ],
)
def test_broken_tables_are_refused_by_name(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(text)
    with pytest.raises(KnowledgeError, match=problem):
        read_knowledge(path)
    with pytest.raises(KnowledgeError, match="no such knowledge table"):
        read_knowledge(tmp_path / "none.toml")


def test_words_are_found_in_the_plural_but_not_inside_others() -> None:
    assert names_word("Two Clocks here", "clock")
    assert not names_word("clockwork", "clock")
