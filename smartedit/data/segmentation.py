"""Segmentation as editing: a phrase, a colour and a wording are drawn from the row's id, and the mask is painted.

The colours, the half-transparent overlay and its truncation to 8 bits are the authors' (SmartEdit, section 4.1 and
released loaders); the wordings are our own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from smartedit.data.examples import Task, TrainingExample
from smartedit.data.phrasings import NOTHING_PHRASINGS, PHRASINGS, QUESTION_PHRASINGS
from smartedit.seeding import numpy_generator

Item = TypeVar("Item")

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (255, 0, 0),
    "purple": (128, 0, 128),
    "blue": (0, 0, 255),
    "green": (0, 128, 0),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "gray": (128, 128, 128),
}
"""The eight colours, as RGB."""
TRANSPARENCY = 0.5
EMPTY_SHARE = 0.2
REMOVED_LABELS = frozenset({11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90})
"""Label values of COCO-Stuff's list that COCO took out and that no picture holds."""
FIRST_STUFF = 91
"""The lowest label value of COCO-Stuff's list that is stuff; the things lie below."""

AbsentClass = Literal["exact", "smartedit"]
"""Classes to ask for though they are not there: all that are not, or what the authors' loop leaves of the list."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Painting:
    """What is to be painted on a visit of a row.

    Attributes:
        instruction: The whole request.
        color: Name of the colour.
        phrase: What the request calls the object; None where it names none.
        label_id: Value of the label map to paint; None where the row has a mask of its own or nothing is painted.
    """

    instruction: str
    color: str
    phrase: str | None
    label_id: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PaintingRules:
    """How a request is drawn.

    Attributes:
        phrasings: Wordings with `{object}` and `{color}`.
        empty_share: How often a class that is not in the picture is asked for (label maps only).
        absent_class: From which classes it is taken.
    """

    phrasings: Sequence[str] = PHRASINGS
    empty_share: float = EMPTY_SHARE
    absent_class: AbsentClass = "exact"


DEFAULT_RULES = PaintingRules()


def choose_painting(
    example: TrainingExample,
    *,
    visit: int = 0,
    rules: PaintingRules = DEFAULT_RULES,
    present: Sequence[int] | None = None,
    label_names: Mapping[int, str] | None = None,
) -> Painting:
    """Draw phrase, colour and wording of a segmentation row; the draw follows from the row's id and the visit alone.

    Args:
        example: A row of task `segment`.
        visit: Number of the visit, so that another one draws anew.
        rules: How to draw.
        present: Label values in the part of the label map that is shown, where it is cropped; None for the row's.
        label_names: Names of all label values of the source (`Manifest.label_names`); without them only classes that
            are in the picture are asked for.

    Raises:
        ValueError: The row is not one of segmentation.
    """
    if example.task is not Task.SEGMENT:
        raise ValueError(f"{example.example_id} is a row of task {example.task}, nothing is painted there")
    generator = numpy_generator("painting", example.example_id, visit)
    color = list(COLORS)[int(generator.integers(len(COLORS)))]
    if example.mask_rle is None:
        return _label_painting(example, generator, color, rules, present, label_names or {})
    question = _pick(example.instructions, generator)
    phrase = _pick(example.phrases, generator)
    if phrase is None:
        wording = _pick(QUESTION_PHRASINGS, generator) or ""
        return Painting(instruction=f"{question} {wording.format(color=color)}", color=color, phrase=None)
    request = _fill(_pick(rules.phrasings, generator) or "", phrase, color)
    return Painting(instruction=f"{question} {request}" if question else request, color=color, phrase=phrase)


def _label_painting(
    example: TrainingExample,
    generator: np.random.Generator,
    color: str,
    rules: PaintingRules,
    present: Sequence[int] | None,
    label_names: Mapping[int, str],
) -> Painting:
    own = dict(zip(example.label_ids, example.phrases, strict=True))
    shown = [value for value in (own if present is None else present) if value in own]
    if not shown:
        return Painting(instruction=_pick(NOTHING_PHRASINGS, generator) or "", color=color, phrase=None)
    ask_absent = generator.random() < rules.empty_share
    told = _stuff(label_names) if _is_stuff_only(own, label_names) else label_names
    absent = absent_labels(told, shown, rules.absent_class) if ask_absent else []
    if rules.absent_class == "exact":
        absent = [value for value in absent if value not in own and label_names[value] not in own.values()]
    label = _pick(absent, generator) if absent else None
    if label is None:
        label = shown[int(generator.integers(len(shown)))]
    phrase = own[label] if label in own else label_names[label]
    return Painting(
        instruction=_fill(_pick(rules.phrasings, generator) or "", phrase, color),
        color=color,
        phrase=phrase,
        label_id=label,
    )


def _is_stuff_only(own: Mapping[int, str], label_names: Mapping[int, str]) -> bool:
    """Whether a row's label map has the stuff-only coding, whose values are not shifted by one."""
    return any(label_names.get(value) != name for value, name in own.items())


def _stuff(label_names: Mapping[int, str]) -> dict[int, str]:
    """The names of stuff: of a thing a stuff-only map does not say whether it is there."""
    return {value: name for value, name in label_names.items() if value >= FIRST_STUFF}


def absent_labels(label_names: Mapping[int, str], present: Sequence[int], rule: AbsentClass = "exact") -> list[int]:
    """The label values to ask for in vain.

    `smartedit` does as the authors' loop: it takes present values out of the list while it walks it, and so skips the
    neighbour of each one that it takes out; some present values stay, and so do the ids that COCO took out.
    """
    if rule == "exact":
        return [value for value in label_names if value not in present and value not in REMOVED_LABELS]
    kept, position = list(label_names), 0
    while position < len(kept):
        if kept[position] in present:
            del kept[position]
        position += 1
    return kept


def _pick(items: Sequence[Item], generator: np.random.Generator) -> Item | None:
    return items[int(generator.integers(len(items)))] if items else None


def _fill(wording: str, phrase: str, color: str) -> str:
    return wording.replace("{object}", phrase.lower()).replace("{color}", color.lower())


def paint(
    picture: NDArray[np.uint8], mask: NDArray[np.bool_], color: str, transparency: float = TRANSPARENCY
) -> NDArray[np.uint8]:
    """A picture with a colour laid over a region, cut down to 8 bits as the authors do.

    Args:
        picture: height x width x 3, uint8.
        mask: height x width, True where to paint.
        color: A name of `COLORS`.
        transparency: Share of the picture that shines through, in [0, 1].

    Returns:
        A new array of the picture's shape.

    Raises:
        ValueError: Picture and mask differ in size, or there is no such colour.
    """
    if picture.shape[:2] != mask.shape or picture.shape[2:] != (3,):
        raise ValueError(f"a picture of {picture.shape} and a mask of {mask.shape} do not fit")
    if color not in COLORS:
        raise ValueError(f"no colour {color!r}; there are {', '.join(COLORS)}")
    values = np.arange(256, dtype=np.float64)[:, None]
    table = (transparency * values + (1.0 - transparency) * np.array(COLORS[color], dtype=np.float64)).astype(np.uint8)
    painted = picture.copy()
    for channel in range(3):
        painted[..., channel][mask] = table[picture[..., channel][mask], channel]
    return painted
