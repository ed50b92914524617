"""The miniature's knowledge as the data factory reads it, without anything that is held out for the benchmark."""

import json
from collections.abc import Mapping

from smartedit.miniature.kinds import KINDS, with_article
from smartedit.miniature.knowledge import clues, is_held_out

NAMES: Mapping[str, str] = {kind.name: kind.coco for kind in KINDS.values()}
"""What COCO annotations call the kinds."""

SIZE = 20
"""Centimetres of everything: any kind may stand in for any other, as in the other corpora."""


def knowledge_table() -> str:
    """A TOML table for `smartedit synth`: every kind, the clues that editing data may use, what may not become what.

    Clues that a wall or a ground might be meant by are left out: a picture's annotations do not name these.
    """
    lines = ["clues = ["]
    for clue in clues():
        if not clue.held_out and clue.also <= set(NAMES):
            doubtful = [NAMES[name] for name in sorted(clue.also)]
            parts = (
                f"text = {_toml(clue.text)}",
                f"things = {_toml([NAMES[clue.kind]])}",
                f"doubtful = {_toml(doubtful)}",
            )
            lines.append(f"    {{ {', '.join(parts)} }},")
    lines += ["]", ""]
    for name, called in NAMES.items():
        withheld = [NAMES[new] for new in NAMES if new != name and is_held_out(name, new)]
        withheld += ["nothing"] if is_held_out(name, None) else []
        lines += [
            f"[things.{_toml(called)}]",
            'group = "thing"',
            f"size = {SIZE}",
            f"one = {_toml(with_article(called))}",
            f"also = {_toml([name] if name != called else [])}",
            f"withheld = {_toml(withheld)}",
            "",
        ]
    return "\n".join(lines)


def _toml(value: str | list[str]) -> str:
    """Plain texts and lists of them are written alike in JSON and TOML."""
    return json.dumps(value, ensure_ascii=True)
