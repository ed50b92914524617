"""How cases are put into instructions."""

from smartedit.miniature.cases import Case
from smartedit.miniature.kinds import KINDS

REPLACE = ("Change {it} to {new}.", "Replace {it} with {new}.", "Please replace {it} with {new}.")
REMOVE = ("Remove {it}.", "Please remove {it}.", "Please remove {it}.")
ASK_AND_REPLACE = ("What is {it}? Replace it with {new}.", "What is {it}? Change this {noun} to {new}.")
ASK_AND_REMOVE = ("What is {it}? Remove this {noun}.", "What is {it}? Please remove it.")
"""Short orders as in the figures of the paper; `it` is the phrase that points at the thing."""


def instructions_for(case: Case) -> list[str]:
    """All wordings of a case."""
    clue = case.reference.clue
    templates: tuple[str, ...]
    if case.new_kind is None:
        templates = REMOVE[:2] if clue is None else REMOVE[1:2] + ASK_AND_REMOVE
    else:
        templates = REPLACE if clue is None else REPLACE + ASK_AND_REPLACE
    noun = clue.noun if clue else KINDS[case.scene.things[case.index].kind].name
    return [t.format(it=case.reference.text, new=case.target_words, noun=noun) for t in templates]


def instruction_for(case: Case, seed: int) -> str:
    """One of the wordings."""
    wordings = instructions_for(case)
    return wordings[seed % len(wordings)]
