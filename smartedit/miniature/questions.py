"""Questions about a scene with their answers, also such as need knowledge; here every clue may occur."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from smartedit.miniature.captions import NUMBERS, caption, inventory, reflected, surroundings
from smartedit.miniature.expressions import clue_references, references
from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.scenes import Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A question and its answer."""

    question: str
    answer: str


def conversation(scene: Scene, rng: np.random.Generator, turns: int = 6) -> list[Turn]:
    """A random choice of questions, at least one of them about knowledge where the scene allows one."""
    knowing = _about_clues(scene, rng)
    seeing = [*_about_content(scene, rng), *_about_colors(scene), *_about_places(scene), *_about_counts(scene, rng)]
    seeing += _about_the_mirror(scene)
    chosen = [knowing[k] for k in rng.permutation(len(knowing))[: max(1, turns // 2)]]
    chosen += [seeing[k] for k in rng.permutation(len(seeing))[: turns - len(chosen)]]
    return [chosen[k] for k in rng.permutation(len(chosen))]


def _about_clues(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    """From a clue to the thing, and from the thing to a clue."""
    turns: list[Turn] = []
    for index, thing in enumerate(scene.things):
        for reference in clue_references(scene, index, False) + clue_references(scene, index, True):
            assert reference.clue is not None
            kind, noun = thing.kind, reference.clue.noun
            where = _place_words(scene, index)
            turns.append(
                Turn(question=f"Which {noun} in the picture is {reference.text}?", answer=f"The {kind}{where}.")
            )
            turns.append(Turn(question=f"What is {reference.text}?", answer=f"It is the {kind}."))
            if rng.random() < 0.3:
                turns.append(Turn(question=f"What do you know about the {kind}?", answer=f"It is {reference.text}."))
    return turns


def _place_words(scene: Scene, index: int) -> str:
    x = scene.things[index].x
    return " on the left" if x < 0.4 else " on the right" if x > 0.6 else " in the middle"


def _about_content(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    present = sorted({thing.kind for thing in scene.things})
    absent = [str(kind) for kind in rng.choice([k for k in KINDS if k not in present], size=2, replace=False)]
    asked = str(rng.choice(present)) if present else absent[0]
    return [
        Turn(question="What does the picture show?", answer=caption(scene, rng)),
        Turn(
            question="What things are there?", answer=f"There {'are' if len(present) > 1 else 'is'} {inventory(scene)}."
        ),
        Turn(question="What is in the background?", answer=f"The things stand {surroundings(scene)}."),
        Turn(question=f"Is there {with_article(asked)}?", answer="Yes." if asked in present else "No."),
        Turn(question=f"Is there {with_article(absent[0])}?", answer="No."),
        Turn(question=f"Can you see {with_article(absent[1])}?", answer=f"No, there is no {absent[1]}."),
    ]


def _about_colors(scene: Scene) -> list[Turn]:
    turns = []
    for index, thing in enumerate(scene.things):
        if KINDS[thing.kind].colorful:
            phrases = [r.text for r in references(scene, index) if r.color is None]
            verb = "are" if thing.kind == "scissors" else "is"
            turns += [
                Turn(question=f"What color {verb} {p}?", answer=f"{thing.color.capitalize()}.") for p in phrases[:2]
            ]
    return turns


def _about_places(scene: Scene) -> list[Turn]:
    """Which one is left, which one is bigger: two things of a kind, told apart by their color."""
    turns = []
    for index, thing in enumerate(scene.things):
        phrases = references(scene, index)
        if any(r.color and not r.place and not r.size and r.noun == thing.kind for r in phrases):
            for r in phrases:
                if r.color is None and r.place in ("left", "right", "middle"):
                    turns.append(Turn(question=f"What color has {r.text}?", answer=f"It is {thing.color}."))
                if r.color is None and r.size is not None:
                    turns.append(Turn(question=f"Which {thing.kind} is {r.size}?", answer=f"The {thing.color} one."))
        plain = [r for r in phrases if r.noun == thing.kind and not (r.color or r.place or r.size or r.mirror)]
        turns += [Turn(question=f"Where is {r.text}?", answer=f"It is{_place_words(scene, index)}.") for r in plain]
    return turns


def _about_counts(scene: Scene, rng: np.random.Generator) -> list[Turn]:
    counts = Counter(thing.kind for thing in scene.things if not thing.in_mirror)
    where = " outside the mirror" if scene.mirror is not None else ""
    turns = []
    for kind, count in counts.items():
        name = f"pairs of {kind}" if kind == "scissors" else KINDS[kind].plural
        turns.append(Turn(question=f"How many {name} are there{where}?", answer=f"{NUMBERS[count].capitalize()}."))
    return turns


def _about_the_mirror(scene: Scene) -> list[Turn]:
    if scene.mirror is None:
        return [Turn(question="Is there a mirror?", answer="No.")]
    side = "right" if scene.mirror.x0 > 0.4 else "left"
    turns = [
        Turn(question="Is there a mirror?", answer=f"Yes, on the {side}."),
        Turn(question="What can be seen in the mirror?", answer=f"The mirror shows {reflected(scene)}."),
    ]
    for thing in scene.things:
        if not thing.in_mirror:
            answer = (
                f"In front of it, on the {'left' if side == 'right' else 'right'}; the mirror shows its reflection."
            )
            turns.append(Turn(question=f"Where is the real {thing.kind}, and where its reflection?", answer=answer))
    return turns
