"""Our own wordings of requests to paint an object, and files of a user's wordings."""

from pathlib import Path

PHRASINGS: tuple[str, ...] = (
    "Tint {object} {color} and leave everything else alone.",
    "Lay a {color} tone over {object}; nothing else may change.",
    "Mark {object} in {color}.",
    "Cover all pixels that belong to {object} with a {color} layer, and no others.",
    "Where you see {object}, colour it {color}. The rest stays the same.",
    "Put a half-transparent {color} layer on {object}, without touching the rest.",
    "Highlight {object} using {color} and do not alter any other part.",
    "Show me {object} by shading it {color}.",
    "Shade {object} {color}; every other pixel keeps its value.",
    "Give {object} a {color} overlay while the remaining picture stays untouched.",
    "Use {color} to point out {object} in this picture.",
)
"""Requests with the places `{object}` and `{color}`, filled in lower case."""

QUESTION_PHRASINGS: tuple[str, ...] = (
    "Answer by shading the right pixels {color}.",
    "Mark your answer in {color} and leave everything else alone.",
    "Lay a {color} tone over what is meant; nothing else may change.",
    "Point it out with {color}.",
)
"""Requests behind a question that names no object."""

NOTHING_PHRASINGS: tuple[str, ...] = (
    "Return the picture just as it is.",
    "Do not change anything in this picture.",
    "Keep every pixel the way it was.",
)
"""Requests for a picture in which nothing is labeled."""


class PhrasingError(ValueError):
    """A file of wordings cannot be used."""


def load_phrasings(path: Path) -> tuple[str, ...]:
    """A user's wordings, one a line, each with `{object}` and `{color}`.

    Raises:
        PhrasingError: The file is missing or empty, or a line lacks one of the two places.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise PhrasingError(f"{path}: cannot be read ({error})") from error
    wordings = tuple(line for line in lines if line)
    if not wordings:
        raise PhrasingError(f"{path}: holds no line")
    for number, line in enumerate(lines, start=1):
        if line and ("{object}" not in line or "{color}" not in line):
            raise PhrasingError(f"{path}: line {number} lacks {{object}} or {{color}}: {line!r}")
    return wordings
