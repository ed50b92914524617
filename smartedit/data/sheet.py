"""The contact sheet of a manifest: some rows of every source on one HTML page that works offline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from reason_edit.files import write_text
from smartedit.data.decoding import DecodedExample, Decoder, DecodingError, DecodingRules
from smartedit.data.examples import Task, TrainingExample
from smartedit.data.manifest import Manifest
from smartedit.data.page_pictures import fill_template, picture_address
from smartedit.seeding import numpy_generator

ROWS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A row on the page; pictures are `data:` addresses, empty where there is none."""

    example_id: str
    picture: str = ""
    target: str = ""
    lines: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A source on the page."""

    source: str
    anchor: str
    counts: str
    license: str
    terms: str
    cards: list[Card]


def write_sheet(
    manifest: Manifest, path: Path, *, rows: int = ROWS, sources: Sequence[str] | None = None, seed: int = 0
) -> int:
    """Write the sheet.

    Args:
        manifest: What to show.
        path: The HTML file.
        rows: Rows of each source.
        sources: Which sources, None for all.
        seed: Another seed draws other rows.

    Returns:
        How many rows could not be decoded; they are on the sheet with the reason.

    Raises:
        ManifestError: The manifest has no such source.
    """
    decoder = Decoder.of(manifest, DecodingRules())
    sections: list[Section] = []
    faults = 0
    for name in sources or manifest.sources:
        numbers = manifest.rows(name)
        generator = numpy_generator("sheet", name, seed)
        chosen = sorted(generator.choice(len(numbers), min(rows, len(numbers)), replace=False).tolist())
        cards = [_card(decoder, example) for example in manifest.take([numbers[i] for i in chosen])]
        faults += sum(bool(card.fault) for card in cards)
        terms = manifest.value("terms")[name]
        sections.append(
            Section(
                source=name,
                anchor=f"source-{len(sections)}",
                counts=", ".join(f"{count} {task}" for task, count in manifest.counts[name].items()),
                license=terms["license"],
                terms=terms["terms"],
                cards=cards,
            )
        )
    write_text(path, fill_template("sheet.html", name=str(manifest.path), rows=len(manifest), sections=sections))
    return faults


def _card(decoder: Decoder, example: TrainingExample) -> Card:
    if example.image is None:
        return Card(example_id=example.example_id, lines=_lines(example, None))
    try:
        decoded = decoder.decode(example)
    except DecodingError as error:
        return Card(example_id=example.example_id, lines=_lines(example, None), fault=str(error))
    return Card(
        example_id=example.example_id,
        picture=picture_address(decoded.seen),
        target=_target(decoded),
        lines=_lines(example, decoded),
    )


def _target(decoded: DecodedExample) -> str:
    """The target in the shape of what is seen, so that the two can be compared."""
    if decoded.target is None:
        return ""
    return picture_address(Image.fromarray(decoded.target).resize(decoded.seen.size, Image.Resampling.BICUBIC))


def _lines(example: TrainingExample, decoded: DecodedExample | None) -> tuple[str, ...]:
    if example.task is Task.CAPTION:
        return (example.caption or "",)
    if example.task is Task.ANSWER:
        return tuple(f"{turn.speaker.value}: {turn.text.strip()}" for turn in example.conversation)
    if decoded is None or decoded.instruction is None:
        return (*example.instructions, *example.phrases)
    return (decoded.instruction,)
