"""What an instruction must and must not say, whoever wrote it."""

import re

from smartedit.tools.protocols import EditFacts, Operation

_SIDES = re.compile(
    r"(?P<denied>(?:\bnot|n['\u2019]t) (?:(?:the|its|an?) (?:[\w-]+ ){0,3}?|shown |seen |visible )?)?"
    r"(?:(?P<inside>\b(?:in|inside|within) the mirror\b|\bmirror (?:shows|image)\b|\bmirrored\b"
    r"|\breflect(?:s|ed|ions?)\b)|\b(?:real|outside)\b)",
    flags=re.IGNORECASE,
)
"""What points at a reflection or at the thing itself; "not" just before it turns it round."""


def names_word(text: str, word: str) -> bool:
    """Whether a text holds a word (or words) or its plural."""
    return re.search(rf"\b{re.escape(word)}(s|es)?\b", text, flags=re.IGNORECASE) is not None


def fault(text: str, fact: EditFacts) -> str | None:
    """What is wrong with an instruction.

    It is one short line; it names what comes, and the thing with the word that singles it out; or it holds the clue and
    gives nothing away. It names no other thing, and a removal asks for nothing else.

    Args:
        text: The instruction.
        fact: What is true.

    Returns:
        The fault, or None.
    """
    if not 8 <= len(text) <= 240 or not text.isprintable():
        return f"not one short line: {text[:80]!r}"
    for word in fact.forbidden:
        if names_word(text, word):
            return f"gives {word!r} away: {text!r}"
    if fact.replacement is not None and not names_word(text, fact.replacement):
        return f"does not name {fact.replacement!r}: {text!r}"
    stray = _other_thing(text, fact)
    if stray is not None:
        return f"speaks of {stray!r}, of which nothing was said: {text!r}"
    if fact.operation is Operation.REMOVE and re.search(r"\b(add|replace|swap)\b", _without(fact.referring, text)):
        return f"asks for something else than a removal: {text!r}"
    if fact.forbidden:
        return None if fact.referring.lower() in text.lower() else f"leaves out the clue: {text!r}"
    if not names_word(text, fact.kind):
        return f"does not name {fact.kind!r}: {text!r}"
    wanted, said = _mirror_sides(fact.attribute), _mirror_sides(text)
    if not (said if wanted else fact.attribute.lower() in text.lower()):
        return f"leaves out {fact.attribute!r}: {text!r}"
    if wanted and said != wanted:
        return f"does not mean what is {fact.attribute}: {text!r}"
    return None


def _mirror_sides(text: str) -> set[bool]:
    """On which sides of a mirror a text looks: True for what shows in it, False for what stands before it."""
    return {(match["inside"] is not None) != (match["denied"] is not None) for match in _SIDES.finditer(text)}


def _without(phrase: str, text: str) -> str:
    return text.lower().replace(phrase.lower(), "")


def _other_thing(text: str, fact: EditFacts) -> str | None:
    """The first kind of thing in a text that is neither the one that is meant nor the one that comes."""
    rest = text.lower()
    said = {fact.referring, fact.kind, fact.replacement or "", *fact.others} - {""}
    for phrase in sorted(said, key=len, reverse=True):
        rest = re.sub(rf"\b{re.escape(phrase.lower())}(s|es)?\b", "|", rest)
    if "mirror" in fact.attribute:
        rest = rest.replace("mirror", "|")
    words = re.findall(r"[\w'-]+|\|", rest)
    for length in (3, 2, 1):
        for start in range(len(words) - length + 1):
            name = " ".join(words[start : start + length])
            for form in (name, name.removesuffix("s"), name.removesuffix("es")):
                if form in fact.known:
                    return form
    return None
