"""Instructions from templates: several wordings an edit, in the manners of the paper's figures."""

from collections.abc import Sequence

from smartedit.seeding import numpy_generator
from smartedit.tools.protocols import EditFacts, Operation, ToolError

# {it}: the thing with "the"; {new}: what comes, with its article; {place}: "to the right of".
DIRECT: dict[Operation, tuple[str, ...]] = {
    Operation.REPLACE: (
        "Change {it} to {new}.",
        "Replace {it} with {new}.",
        "Turn {it} into {new}.",
        "Swap {it} for {new}.",
        "Make {it} {new}.",
        "Please replace {it} with {new}.",
        "Please change {it} into {new}.",
        "Put {new} where {it} is.",
        "I would like {new} in place of {it}.",
        "Let {new} take the place of {it}.",
        "Could you exchange {it} for {new}?",
        "Where {it} is now, show {new} instead.",
    ),
    Operation.REMOVE: (
        "Remove {it}.",
        "Please remove {it}.",
        "Delete {it} from the picture.",
        "Take {it} away.",
        "Erase {it}.",
        "Get rid of {it}.",
        "Make {it} disappear.",
        "Please take {it} out of the image.",
        "Clear away {it}.",
        "I do not want to see {it} any more.",
        "Could you remove {it}?",
        "Leave out {it}.",
    ),
    Operation.ADD: (
        "Add {new} {place} {it}.",
        "Please add {new} {place} {it}.",
        "Place {new} {place} {it}.",
        "Put {new} {place} {it}.",
        "Draw {new} {place} {it}.",
        "I would like to see {new} {place} {it}.",
        "Let there be {new} {place} {it}.",
        "Could you put {new} {place} {it}?",
    ),
}

ASKING: dict[Operation, tuple[str, ...]] = {
    Operation.REPLACE: (
        "What is {it}? Change it to {new}.",
        "What is {it}? Replace it with {new}.",
        "Find {it} and turn it into {new}.",
        "Look for {it}; swap it for {new}.",
        "Can you see {it}? Please replace it with {new}.",
    ),
    Operation.REMOVE: (
        "What is {it}? Remove it.",
        "What is {it}? Remove this from the picture.",
        "Find {it} and take it away.",
        "Look for {it}, then erase it.",
        "Can you see {it}? Please remove it.",
    ),
    Operation.ADD: (
        "What is {it}? Add {new} {place} it.",
        "Find {it} and put {new} {place} it.",
        "Look for {it}; place {new} {place} it.",
    ),
}


class TemplateWriter:
    """Writes from templates; cannot fail and cannot invent.

    Args:
        count: Instructions an edit.
    """

    def __init__(self, count: int = 4) -> None:
        self._count = count

    def write(self, facts: Sequence[EditFacts]) -> list[tuple[str, ...] | ToolError]:
        """Fill templates drawn by each edit's seed; a clue is also asked for ("What is ...?")."""
        return [self._write(fact) for fact in facts]

    def _write(self, fact: EditFacts) -> tuple[str, ...]:
        generator = numpy_generator("wording", fact.seed)
        templates = list(DIRECT[fact.operation])
        asked = list(ASKING[fact.operation]) if _is_clue(fact) else []
        order = [templates[i] for i in generator.permutation(len(templates))]
        if asked:
            # Every other one of a reasoning edit asks for the thing, as the paper's figures do.
            questions = [asked[i] for i in generator.permutation(len(asked))]
            order = [t for pair in zip(questions, order, strict=False) for t in pair] + order[len(questions) :]
        names = [fact.referring, *fact.others]
        texts = (
            template.format(it=f"the {names[i % len(names)]}", new=fact.replacement_phrase, place=fact.place)
            for i, template in enumerate(order)
        )
        return tuple(dict.fromkeys(texts))[: self._count]


def _is_clue(fact: EditFacts) -> bool:
    return fact.kind not in fact.referring
