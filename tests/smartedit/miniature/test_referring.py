from dataclasses import replace

from smartedit.miniature.benchmark_set import Answer
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.knowledge import Clue, clues
from smartedit.miniature.referring import Reference
from smartedit.miniature.scenes import Backdrop, Mirror, Scene, Thing, reflect

ROOM = Backdrop(wall="plain", ground="table", horizon=0.4, tint=0, seed=0)


def thing(kind: str, color: str, x: float, size: float = 0.3) -> Thing:
    return Thing(kind=kind, color=color, x=x, y=0.9, size=size)


def meant(scene: Scene, **parts: object) -> list[int]:
    return Reference(**parts).resolve(scene)  # type: ignore[arg-type]


APPLES = Scene(
    backdrop=ROOM,
    things=(thing("apple", "red", 0.8), thing("apple", "green", 0.2, 0.2), thing("cup", "red", 0.5)),
)


def test_places_count_from_the_named_side() -> None:
    assert meant(APPLES, noun="apple", place="left") == [1]
    assert meant(APPLES, noun="apple", place="right") == [0]
    assert meant(APPLES, noun="apple", place="middle") == []
    three = replace(APPLES, things=(*APPLES.things, thing("apple", "red", 0.5)))
    assert meant(three, noun="apple", place="middle") == [3]
    assert meant(three, noun="apple", place="first from the right") == [0]
    assert meant(three, noun="apple", place="second from the left") == [3]


def test_what_is_too_close_is_neither_left_nor_right() -> None:
    close = replace(APPLES, things=(thing("apple", "red", 0.5), thing("apple", "red", 0.45)))
    assert meant(close, noun="apple", place="left") == []


def test_sizes_have_to_differ_clearly() -> None:
    assert meant(APPLES, noun="apple", size="smaller") == [1]
    assert meant(APPLES, noun="apple", size="biggest") == []
    similar = replace(APPLES, things=(thing("apple", "red", 0.2, 0.3), thing("apple", "red", 0.8, 0.27)))
    assert meant(similar, noun="apple", size="bigger") == []


def test_colors_and_groups() -> None:
    assert meant(APPLES, noun="apple", color="green") == [1]
    assert meant(APPLES, noun="fruit") == [0, 1]
    assert meant(replace(APPLES, things=(*APPLES.things, thing("carrot", "orange", 0.4))), noun="fruit") == []


def test_the_mirror_tells_a_thing_from_its_reflection() -> None:
    mirror = Mirror(plane=0.5, x0=0.54, y0=0.05, x1=0.95, y1=0.9, arched=False, frame="brown")
    cat = thing("cat", "black", 0.25)
    scene = Scene(backdrop=ROOM, things=(cat, reflect(cat, mirror, 0.4)), mirror=mirror)
    assert meant(scene, noun="cat", mirror="in") == [1]
    assert meant(scene, noun="cat", mirror="outside") == [0]
    assert scene.things[1].flip != cat.flip
    assert scene.things[1].x > mirror.plane


def test_a_clue_is_refused_where_it_could_mean_two_things() -> None:
    clue = Clue(kind="knife", text="tool that cuts", held_out=False, also=frozenset({"scissors"}))
    knife = replace(APPLES, things=(*APPLES.things, thing("knife", "black", 0.4)))
    assert Reference(clue=clue).resolve(knife) == [3]
    both = replace(knife, things=(*knife.things, thing("scissors", "red", 0.6)))
    assert Reference(clue=clue).resolve(both) == []
    assert Reference(clue=clue).text == "the tool that cuts"


def test_texts() -> None:
    assert Reference(noun="apple", color="red", size="smaller").text == "the smaller red apple"
    assert Reference(noun="cup", place="second from the left").text == "the second cup from the left"
    assert Reference(noun="dog", mirror="in").text == "the dog in the mirror"
    assert Reference(noun="scissors", place="left").text == "the left pair of scissors"


def test_every_phrase_of_the_benchmark_means_the_thing_and_no_other(answers: list[Answer]) -> None:
    for answer in answers:
        assert answer.reference in answer.instruction
        others = [k for k, t in enumerate(answer.before.things) if k != answer.thing and t.kind == answer.kind]
        if answer.clue is not None:
            clue = next(c for c in clues() if c.text == answer.clue)
            assert Reference(clue=clue).resolve(answer.before) == [answer.thing]
            assert others == []


def test_clues_are_declared_well() -> None:
    assert len(clues()) >= 120
    assert len({clue.text for clue in clues()}) == len(clues())
    for kind in KINDS:
        own = [clue for clue in clues() if clue.kind == kind]
        assert sum(c.held_out for c in own) == 3
        assert sum(not c.held_out for c in own) == 3
        assert all(kind not in clue.also and kind not in clue.text.split() for clue in own)
    surfaces = {"grass", "fence", "hills"}
    assert {name for clue in clues() for name in clue.also} <= set(KINDS) | surfaces
