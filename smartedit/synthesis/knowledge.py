"""What the factory knows of the world: kinds of things, what they are like in size, and clues that point at them."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from smartedit.tools.wording import names_word


class KnowledgeError(ValueError):
    """A knowledge table cannot be used; the message names the file, the entry and what is wrong with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Thing:
    """A kind of thing.

    Attributes:
        name: The word that a grounder is asked for.
        group: Things of a group can stand in for each other ("fruit").
        size: Usual longer side in centimetres.
        one: The word with its article: "an apple", "a pair of scissors".
        also: Further words that would give it away ("timepiece").
        withheld: Replacements that are never proposed for it; "nothing" stands for removals.
    """

    name: str
    group: str
    size: float
    one: str
    also: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Clue:
    """A noun phrase without an article that only knowledge of the world connects with a thing.

    Attributes:
        text: For example "object that tells the time".
        things: The kinds that it means.
        doubtful: Further kinds that somebody might mean by it.
    """

    text: str
    things: tuple[str, ...]
    doubtful: tuple[str, ...] = ()

    def rivals(self, kind: str) -> tuple[str, ...]:
        """What must not be in a picture where the clue shall mean `kind`."""
        return tuple(other for other in (*self.things, *self.doubtful) if other != kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Knowledge:
    """A knowledge table.

    Attributes:
        things: By name.
        clues: In the order of the table.
    """

    things: Mapping[str, Thing]
    clues: tuple[Clue, ...]

    def clues_for(self, kind: str) -> list[Clue]:
        """The clues that fit a kind, those that fit nothing else first."""
        return sorted((c for c in self.clues if kind in c.things), key=lambda c: len(c.things))

    def may_remove(self, kind: str) -> bool:
        """Whether removals of a kind may be proposed."""
        return kind not in self.things or "nothing" not in self.things[kind].withheld

    def one(self, kind: str) -> str:
        """A kind with its article."""
        return self.things[kind].one if kind in self.things else with_article(kind)

    def forbidden(self, kind: str) -> tuple[str, ...]:
        """Words that give a kind away."""
        return (kind, *self.things[kind].also) if kind in self.things else (kind,)

    def replacements(self, kind: str, *, size_ratio: float, available: Collection[str] | None) -> list[str]:
        """Kinds that can plausibly stand where `kind` stands, by name.

        Args:
            kind: What is there.
            size_ratio: Usual sizes differ by at most this factor.
            available: What the inpainter can draw; None for anything.

        Returns:
            Kinds of the same group and a similar size that are not withheld; none for a kind that is not in the table.
        """
        pool = set(self.things) if available is None else set(available)
        thing = self.things.get(kind)
        if thing is None:
            return []
        alike = [self.things[name] for name in pool - {kind, *thing.withheld} if name in self.things]
        return sorted(
            t.name
            for t in alike
            if t.group == thing.group and max(t.size, thing.size) <= size_ratio * min(t.size, thing.size)
        )


def with_article(noun: str) -> str:
    """A noun with its indefinite article, by the letter that it begins with."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def read_knowledge(name: Path | str = "world") -> Knowledge:
    """A knowledge table.

    Args:
        name: The table that ships ("world"), or a TOML file with `[things.<name>]` (`group`, `size` in centimetres, and
            if need be `one` and `also`) and a list `clues` of `text`, `things` and if need be `doubtful`. A thing's
            `withheld` names replacements (or "nothing", a removal) that are never proposed for it, for example because
            a benchmark keeps them to itself.

    Returns:
        The table, checked: every clue names known things, no clue names its answer, none occurs twice.

    Raises:
        KnowledgeError: The file is missing or not of that form.
    """
    return _read(str(name))


def _source(name: str) -> Path | Traversable:
    if name.endswith(".toml"):
        return Path(name)
    return resources.files("smartedit.synthesis.knowledge_tables") / f"{name}.toml"


@lru_cache(maxsize=4)
def _read(name: str) -> Knowledge:
    origin = name
    try:
        text = _source(name).read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except FileNotFoundError as error:
        raise KnowledgeError(f"{origin}: no such knowledge table; write world, or the path of a .toml file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KnowledgeError(f"{origin}: broken TOML ({error})") from error
    listed, told = content.get("things", {}), content.get("clues", [])
    if not isinstance(listed, Mapping) or not isinstance(told, list):
        raise KnowledgeError(f"{origin}: things are sections [things.<name>], clues a list")
    things = {name: _thing(origin, name, record) for name, record in listed.items()}
    if not things:
        raise KnowledgeError(f"{origin}: no [things.<name>] section")
    clues = tuple(_clue(origin, record, things) for record in told)
    texts = [clue.text.lower() for clue in clues]
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise KnowledgeError(f"{origin}: the clue {twice[0]!r} occurs twice")
    return Knowledge(things=things, clues=clues)


def _thing(origin: str, name: str, record: Mapping[str, Any]) -> Thing:
    if not isinstance(record, Mapping):
        raise KnowledgeError(f"{origin}: things.{name} is {record!r}; write a section with group and size")
    unknown = set(record) - {"group", "size", "one", "also", "withheld"}
    if unknown or "group" not in record or "size" not in record:
        problem = f"unknown field {sorted(unknown)[0]!r}" if unknown else "group and size are needed"
        raise KnowledgeError(f"{origin}: things.{name}: {problem}")
    if not re.fullmatch(r"[^\W_][\w' -]*", name):
        raise KnowledgeError(f"{origin}: things.{name}: a name holds letters, digits, blanks, ' and -; files bear it")
    if not isinstance(record["size"], int | float) or not record["size"] > 0:
        raise KnowledgeError(f"{origin}: things.{name}: size is {record['size']!r}; centimetres, more than 0")
    return Thing(
        name=name,
        group=str(record["group"]),
        size=float(record["size"]),
        one=str(record.get("one", with_article(name))),
        also=_words(origin, f"things.{name}", record, "also"),
        withheld=_words(origin, f"things.{name}", record, "withheld"),
    )


def _words(origin: str, where: str, record: Mapping[str, Any], field: str) -> tuple[str, ...]:
    words = record.get(field, [])
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise KnowledgeError(f'{origin}: {where}: {field} is {words!r}; write a list of texts, ["..."]')
    return tuple(words)


def _clue(origin: str, record: Mapping[str, Any], things: Mapping[str, Thing]) -> Clue:
    if not isinstance(record, Mapping):
        raise KnowledgeError(f"{origin}: clue {record!r}: write {{ text = ..., things = [...] }}")
    text = str(record.get("text", ""))
    names, doubtful = (_words(origin, f"clue {text!r}", record, field) for field in ("things", "doubtful"))
    if not text or not names:
        raise KnowledgeError(f"{origin}: clue {text!r}: a text and at least one thing are needed")
    for name in (*names, *doubtful):
        if name not in things:
            raise KnowledgeError(f"{origin}: clue {text!r}: {name!r} is not among the things")
    for name in names:
        for word in (name, *things[name].also):
            if names_word(text, word):
                raise KnowledgeError(f"{origin}: clue {text!r} names its answer {word!r}")
    return Clue(text=text, things=names, doubtful=doubtful)
