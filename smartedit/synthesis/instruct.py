"""Stage instruct: say every edit in several ways, and refuse wordings that are wrong or give the answer away."""

from collections.abc import Mapping, Sequence

from reason_edit.schema import Category
from smartedit.config.synthesis import SynthesisConfig
from smartedit.seeding import seed_from
from smartedit.synthesis.knowledge import Knowledge
from smartedit.synthesis.records import Candidate, Grounding, Instructions, Rule
from smartedit.synthesis.stage import Outcome
from smartedit.tools.protocols import EditFacts, InstructionWriter, ToolError
from smartedit.tools.wording import fault


def instruct(
    groundings: Sequence[Grounding],
    candidates: Mapping[str, Candidate],
    writer: InstructionWriter,
    knowledge: Knowledge,
    config: SynthesisConfig,
) -> Outcome[Instructions]:
    """Write the instructions of every edit that has a region.

    Args:
        groundings: What is meant, and the words for it.
        candidates: By id.
        writer: Puts it into sentences.
        knowledge: Articles, and the words that a clue must not use.
        config: How many instructions.

    Returns:
        Instructions; rejections "writer failed" and "wording refused".
    """
    outcome: Outcome[Instructions] = Outcome()
    known = frozenset(name.lower() for name in knowledge.things)
    facts = [edit_facts(candidates[g.candidate_id], g, knowledge, known) for g in groundings]
    for grounding, fact, answer in zip(groundings, facts, writer.write(facts), strict=True):
        candidate = candidates[grounding.candidate_id]
        if isinstance(answer, ToolError):
            outcome.reject(candidate, "instruct", "writer failed", str(answer))
            continue
        wrong = next((problem for text in answer if (problem := fault(text, fact))), None)
        if wrong or len(set(answer)) < len(answer) or not answer:
            outcome.reject(candidate, "instruct", "wording refused", wrong or "no text, or the same text twice")
            continue
        outcome.rows.append(
            Instructions(
                candidate_id=candidate.candidate_id,
                texts=answer,
                source_label=knowledge.one(candidate.kind),
                target_label=fact.replacement_phrase,
                writer=config.writer.name,
            )
        )
    return outcome


def edit_facts(
    candidate: Candidate, grounding: Grounding, knowledge: Knowledge, known: frozenset[str] = frozenset()
) -> EditFacts:
    """What a writer may say about an edit; `known` are the things that it would have made up if it named them."""
    reasoning = candidate.category is Category.REASONING
    kind = candidate.replacement
    return EditFacts(
        operation=candidate.operation,
        kind=candidate.kind,
        referring=grounding.referring,
        attribute=grounding.attribute,
        forbidden=knowledge.forbidden(candidate.kind) if reasoning else (),
        replacement=kind,
        replacement_phrase=knowledge.one(kind) if kind is not None else None,
        place=grounding.place,
        seed=seed_from("instruct", candidate.candidate_id),
        others=_other_names(candidate, grounding),
        known=known.union(kind.lower() for kind in candidate.context),
    )


def _other_names(candidate: Candidate, grounding: Grounding) -> tuple[str, ...]:
    kind = candidate.kind
    if candidate.rule in (Rule.LEFT, Rule.RIGHT) and grounding.of <= 3:
        return (f"{kind} on the {grounding.attribute}",)
    if candidate.rule is Rule.MIDDLE:
        return (f"{kind} in the middle",)
    if candidate.rule is Rule.IN_MIRROR:
        return (f"reflected {kind}", f"{kind} that shows in the mirror")
    if candidate.rule is Rule.OUTSIDE_MIRROR:
        return (f"{kind} that is not in the mirror", f"real {kind}")
    return ()
