"""Stage propose: from what kinds of things a picture holds, the edits that might be made in it."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence

from reason_edit.schema import Category
from smartedit.config.synthesis import ProposalsConfig
from smartedit.seeding import numpy_generator, seed_from
from smartedit.synthesis.knowledge import Clue, Knowledge
from smartedit.synthesis.records import Candidate, Rejection, Rule
from smartedit.tools.protocols import Detection, Grounder, GroundingRequest, Operation, Picture

RULES: dict[Category, tuple[Rule, ...]] = {
    Category.LEFT_RIGHT: (Rule.LEFT, Rule.RIGHT, Rule.MIDDLE),
    Category.RELATIVE_SIZE: (Rule.BIGGER, Rule.SMALLER),
    Category.MIRROR: (Rule.IN_MIRROR, Rule.OUTSIDE_MIRROR),
    Category.COLOR: (Rule.COLOR,),
    Category.MULTIPLE_OBJECTS: (Rule.KIND,),
    Category.REASONING: (Rule.CLUE,),
}
"""The rules that practise a category."""

CLUES_A_THING = 3
"""At most so many clues for one thing of one picture."""


def census(pictures: Sequence[Picture], vocabulary: Sequence[str], grounder: Grounder) -> list[dict[str, int]]:
    """How many things of each kind a detector finds in pictures that nobody annotated.

    Args:
        pictures: One call's worth of pictures.
        vocabulary: The kinds to look for.
        grounder: The detector.

    Returns:
        Counts of the kinds that occur, one mapping a picture.
    """
    requests = [GroundingRequest(picture=picture, phrase=kind) for picture in pictures for kind in vocabulary]
    answers: list[list[Detection]] = grounder.ground(requests)
    size = len(vocabulary)
    return [
        {kind: len(found) for kind, found in zip(vocabulary, answers[i * size : (i + 1) * size], strict=True) if found}
        for i in range(len(pictures))
    ]


def propose(
    picture_id: str,
    counts: Mapping[str, int],
    knowledge: Knowledge,
    config: ProposalsConfig,
    *,
    available: Collection[str] | None,
    extra_clues: Mapping[str, Sequence[Clue]] | None = None,
    clue_origin: str = "table",
) -> tuple[list[Candidate], list[Rejection]]:
    """The edits that might be made in one picture.

    Args:
        picture_id: The picture.
        counts: How many things of each kind it holds; kinds that the table does not know are never edited.
        knowledge: Groups, sizes and clues.
        config: Shares of operations, and how many candidates a category.
        available: The kinds that the inpainter can draw; None for any.
        extra_clues: Further clues by kind, from a language model; grounding checks them.
        clue_origin: Where those are from.

    Returns:
        Candidates in a fixed order, and a rejection where nothing can be proposed.
    """
    candidates: list[Candidate] = []
    for category, rules in RULES.items():
        drafts = list(_drafts(picture_id, category, rules, counts, knowledge, config))
        for kind, clues in (extra_clues or {}).items():
            editable = kind in knowledge.things and kind != config.mirror_word
            if category is Category.REASONING and counts.get(kind) == 1 and editable:
                drafts += [(kind, Rule.CLUE, 0, clue, clue_origin) for clue in clues]
        made = [_candidate(picture_id, category, d, counts, knowledge, config, available) for d in drafts]
        usable = [c for c in made if c is not None]
        usable.sort(key=lambda c: seed_from("propose", c.candidate_id))
        candidates += usable[: config.per_picture]
    if candidates:
        return candidates, []
    detail = "kinds: " + (", ".join(sorted(counts)) or "none of the vocabulary")
    reason = "nothing to propose" if counts else "nothing of the vocabulary"
    return [], [
        Rejection(key=picture_id, candidate_id=None, category=None, stage="propose", reason=reason, detail=detail)
    ]


Draft = tuple[str, Rule, int, Clue | None, str | None]


def _drafts(
    picture_id: str,
    category: Category,
    rules: Sequence[Rule],
    counts: Mapping[str, int],
    knowledge: Knowledge,
    config: ProposalsConfig,
) -> Iterator[Draft]:
    mirrors = counts.get(config.mirror_word, 0)
    # What the table does not know (a person, the sky) is never edited; it only stays beside what is.
    kinds = {kind: n for kind, n in counts.items() if kind != config.mirror_word and kind in knowledge.things}
    for kind, n in sorted(kinds.items()):
        if category is Category.REASONING:
            if n != 1:
                continue
            clues = [c for c in knowledge.clues_for(kind) if not any(map(counts.get, c.rivals(kind)))]
            order = numpy_generator("clues", picture_id, kind).permutation(len(clues))
            yield from ((kind, Rule.CLUE, 0, clues[i], "table") for i in order[:CLUES_A_THING])
        elif category is Category.MULTIPLE_OBJECTS:
            if n == 1 and len(kinds) >= 3:
                yield kind, Rule.KIND, 0, None, None
        elif category is Category.MIRROR:
            if mirrors == 1 and n >= 2:
                yield from ((kind, rule, 0, None, None) for rule in rules)
        elif category is Category.COLOR:
            if n >= 2:
                yield from ((kind, Rule.COLOR, variant, None, None) for variant in range(min(n, 3)))
        elif n >= 2:
            yield from ((kind, rule, 0, None, None) for rule in rules if rule is not Rule.MIDDLE or n == 3)


def _candidate(
    picture_id: str,
    category: Category,
    draft: Draft,
    counts: Mapping[str, int],
    knowledge: Knowledge,
    config: ProposalsConfig,
    available: Collection[str] | None,
) -> Candidate | None:
    kind, rule, variant, clue, origin = draft
    keys = ("edit", picture_id, category, kind, rule, variant, clue.text if clue else "")
    generator = numpy_generator(*keys)
    share = generator.random()
    operation = Operation.REPLACE
    if share < config.remove_share:
        operation = Operation.REMOVE
    elif share < config.remove_share + config.add_share and category is not Category.MIRROR:
        operation = Operation.ADD
    replacement = None
    if operation is Operation.REMOVE and not knowledge.may_remove(kind):
        operation = Operation.REPLACE
    if operation is not Operation.REMOVE:
        # A kind that is there already would leave open which one is the new one.
        pool = knowledge.replacements(kind, size_ratio=config.size_ratio, available=available)
        pool = [other for other in pool if other not in counts]
        if pool:
            replacement = pool[int(generator.integers(len(pool)))]
        elif knowledge.may_remove(kind):
            operation = Operation.REMOVE
        else:
            return None
    digest = hashlib.sha256("\x1f".join(str(k) for k in (*keys, operation, replacement)).encode()).hexdigest()[:8]
    return Candidate(
        candidate_id=f"{picture_id}.{category}.{digest}",
        picture_id=picture_id,
        category=category,
        operation=operation,
        rule=rule,
        kind=kind,
        clue=clue.text if clue else None,
        clue_origin=origin,
        rivals=clue.rivals(kind) if clue else (),
        context=tuple(sorted(k for k in counts if k not in (kind, config.mirror_word))),
        replacement=replacement,
        variant=variant,
    )
