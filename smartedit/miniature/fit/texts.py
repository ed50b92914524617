"""What the miniature's language model reads before it sees an edit: knowledge, talk about scenes, requests."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from smartedit.miniature.captions import caption
from smartedit.miniature.expressions import clue_references, references
from smartedit.miniature.fit.pairs import SPACE, names_kind_alone, scene_pairs
from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.knowledge import Clue, clues
from smartedit.miniature.questions import conversation
from smartedit.miniature.scenes import Scene
from smartedit.miniature.stock import Stock
from smartedit.model.prompts import read_prompts
from smartedit.training.captions import CAPTION_PROMPTS

ASK_KIND = (
    "What is the {clue}?",
    "Name the {clue}.",
    "Which thing is the {clue}?",
    "The {clue}: what is meant?",
    "I am thinking of the {clue}. What is it?",
)
SAY_KIND = ("It is the {kind}.", "The {kind}.", "That is the {kind}.")
ASK_CLUE = ("What do you know about the {kind}?", "Tell me something about the {kind}.", "What is the {kind}?")
SAY_CLUE = ("It is the {clue}.", "The {kind} is the {clue}.")
PLAIN_REQUESTS = (
    "Bring me {it}.",
    "Look at {it}.",
    "Point at {it}.",
    "Please fetch {it}.",
    "Show me {it}.",
    "Hold {it} for a moment.",
    "Put {it} beside {other}.",
    "Compare {it} with {other}.",
    "Carry {it} to {other}.",
)
"""Requests that are no edits: in them every clue may occur, in editing instructions only those not held out."""
SAY_AGAIN = ("Say it in plain words: {request}", "What does this mean: {request}")
REWORD = (SAY_AGAIN[0], "{request} Which thing is meant?", SAY_AGAIN[1])
CLUE_SHARE = 0.5
"""How often a thing that is called by its kind alone is called by a clue instead."""
BARE_SHARE = 0.6
"""How often an order comes in the words in which SmartEdit is asked, so that what follows is read as after `[IMG]`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One question with its answer.

    Attributes:
        question: What the person says.
        answer: What the assistant says.
    """

    question: str
    answer: str


def knowledge(rng: np.random.Generator) -> Exchange:
    """A question about one clue, or a request to say in plain words what it means; every clue may occur."""
    clue = clues()[int(rng.integers(len(clues())))]
    words = {"clue": clue.text, "kind": clue.kind}
    choice = rng.random()
    if choice < 0.4:
        return Exchange(question=_one(rng, ASK_KIND).format(**words), answer=_one(rng, SAY_KIND).format(**words))
    if choice < 0.5:
        return Exchange(question=_one(rng, ASK_CLUE).format(**words), answer=_one(rng, SAY_CLUE).format(**words))
    return _reworded(clue, rng)


def said_back(plain: str, request: str, rng: np.random.Generator) -> Exchange:
    """An editing order to be said back in plain words, behind a picture or without one.

    Args:
        plain: The order; a thing called by its kind alone may be called by a clue in the question, never by one that
            is held out.
        request: The words in which SmartEdit is asked, with `[cap]` in the order's place.
        rng: Draws.
    """
    asked = with_clue(plain, rng)
    if rng.random() < BARE_SHARE:
        return Exchange(question=request.replace("[cap]", asked), answer=plain)
    return Exchange(question=_one(rng, SAY_AGAIN).format(request=asked), answer=plain)


def with_clue(order: str, rng: np.random.Generator) -> str:
    """An order with a clue in place of a kind that is named without any other word; held-out clues are never taken.

    "The orange animal" names no orange, so it stays.
    """
    if not names_kind_alone(order):
        return order
    found = [clue for clue in clues() if not clue.held_out and f"the {clue.kind} " in f"{order.rstrip('.')} "]
    if not found or rng.random() >= CLUE_SHARE:
        return order
    clue = found[int(rng.integers(len(found)))]
    return order.replace(f"the {clue.kind}", f"the {clue.text}", 1)


def _reworded(clue: Clue, rng: np.random.Generator) -> Exchange:
    request, ask = _one(rng, PLAIN_REQUESTS), _one(rng, REWORD)
    kind = str(rng.choice(list(KINDS)))
    color = str(rng.choice(KINDS[kind].colors)) if KINDS[kind].colorful and rng.random() < 0.3 else ""
    other = with_article(f"{color} {kind}".strip()) if rng.random() < 0.5 else f"the {color} {kind}".replace("  ", " ")
    hidden = request.format(it=f"the {clue.text}", other=other)
    plain = request.format(it=f"the {clue.kind}", other=other)
    if "Which thing" in ask:
        return Exchange(question=ask.format(request=hidden), answer=f"The {clue.kind}.")
    return Exchange(question=ask.format(request=hidden), answer=plain)


def described(scene: Scene, rng: np.random.Generator) -> Exchange:
    """A scene in words and a question about one of its things, which may be called by a clue."""
    parts, answers = [], []
    for index, thing in enumerate(scene.things):
        if thing.in_mirror:
            continue
        place = "on the left" if thing.x < 0.4 else "on the right" if thing.x > 0.6 else "in the middle"
        named = with_article(f"{thing.color} {thing.kind}" if KINDS[thing.kind].colorful else thing.kind)
        parts.append(f"{named} {place}")
        held_out = bool(rng.random() < 0.5)
        names = [r.text for r in clue_references(scene, index, held_out)] if rng.random() < 0.7 else []
        plain = [
            r.text for r in references(scene, index) if r.noun == thing.kind and not (r.color or r.place or r.size)
        ]
        if not (names or plain):
            continue
        it = str(rng.choice(names or plain))
        answers.append(Exchange(question=f"Where is {it}?", answer=f"The {thing.kind} is {place}."))
        if KINDS[thing.kind].colorful:
            answers.append(Exchange(question=f"What color is {it}?", answer=f"The {thing.kind} is {thing.color}."))
    told = f"There is {', '.join(parts)}."
    if not answers:
        return Exchange(question=f"{told} How many things are there?", answer=str(len(parts)))
    chosen = answers[int(rng.integers(len(answers)))]
    return Exchange(question=f"{told} {chosen.question}", answer=chosen.answer)


def seen(scene: Scene, rng: np.random.Generator) -> Exchange:
    """A question about a picture of the scene."""
    turn = conversation(scene, rng, turns=2)[0]
    return Exchange(question=turn.question, answer=turn.answer)


def echoed(text: str) -> Exchange:
    """Anything said is repeated: so the model learns to keep what it reads."""
    return Exchange(question=f"Repeat: {text}", answer=text)


def orders(stock: Stock, number: int) -> list[str]:
    """Editing instructions of one drawn scene; no clue and no held-out combination is in them."""
    return [pair.instruction for pair in scene_pairs(stock, number)[1]]


def captions(stock: Stock, count: int) -> Iterator[str]:
    """What a crawl of the miniature's web would bring: captions, and orders that people wrote."""
    for number in range(count):
        rng = stock.rng(SPACE, "captions", number)
        if number % 3 == 0:
            yield caption(stock.scene(SPACE, "captions", number), rng)
        else:
            found = orders(stock, 10**6 + number)
            yield found[int(rng.integers(len(found)))]


def sample_texts(stock: Stock, count: int) -> Iterator[str]:
    """Texts of every sort, for the tokenizers; every clue is among them."""
    for clue in clues():
        yield f"The {clue.text} is the {clue.kind}."
    for prompts in (read_prompts("brief"), CAPTION_PROMPTS):
        for phrasing in prompts.phrasings:
            yield from [f"{phrasing.request} USER: ASSISTANT: {phrasing.answer}", read_prompts("brief").system] * 20
    for number in range(count):
        rng = stock.rng(SPACE, "sample", number)
        scene = stock.scene(SPACE, "sample", number)
        yield caption(scene, rng)
        yield from orders(stock, 2 * 10**6 + number)
        for exchange in (knowledge(rng), described(scene, rng), seen(scene, rng)):
            yield f"{exchange.question} {exchange.answer}"


def _one(rng: np.random.Generator, texts: tuple[str, ...]) -> str:
    return texts[int(rng.integers(len(texts)))]
