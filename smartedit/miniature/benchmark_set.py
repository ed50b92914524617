"""Writes a miniature Reason-Edit: 219 drawn samples in the authors' folder layout, with the answers kept apart."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reason_edit.files import write_bytes, write_text
from reason_edit.schema import PAPER_CATEGORIES, Category
from reason_edit.tables import write_rows
from smartedit.miniature.canvas import STUFF
from smartedit.miniature.cases import Case, Use, make_case, wanted_held_out
from smartedit.miniature.drawing import Drawing, draw
from smartedit.miniature.folders import claimed
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.knowledge import Clue, clues, is_held_out
from smartedit.miniature.layout import NoRoom
from smartedit.miniature.scenes import Scene
from smartedit.miniature.wording import instruction_for
from smartedit.seeding import numpy_generator, seed_from

Item = TypeVar("Item")

DEFAULT_SIZE = 128
"""Pixels of a side: small files that still read well when they are shown large."""

EDITION = 1
"""Changes whenever the same arguments give other scenes, pictures or texts."""

FOLDERS: dict[Category, tuple[str, str]] = {
    Category.LEFT_RIGHT: ("1-Left-Right", "Left_Right_text.txt"),
    Category.RELATIVE_SIZE: ("2-Relative-Size", "Size_text.txt"),
    Category.MIRROR: ("3-Mirror", "Mirror_text.txt"),
    Category.COLOR: ("4-Color", "Color_text.txt"),
    Category.MULTIPLE_OBJECTS: ("5-Multiple-Objects", "MultipleObjects_text.txt"),
    Category.REASONING: ("6-Reasoning", "Reason_test.txt"),
}
"""The authors' folder and text file of each category."""

COUNTS: dict[Category, int] = {
    Category.LEFT_RIGHT: 30,
    Category.RELATIVE_SIZE: 30,
    Category.MIRROR: 30,
    Category.COLOR: 30,
    Category.MULTIPLE_OBJECTS: 27,
    Category.REASONING: 72,
}
"""Samples of each category: 219 in all, every held-out clue once. The paper does not say how its own are divided."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The truth about one sample; a row of `answers/scenes.parquet`.

    Attributes:
        sample_id: `<category>/<stem>`.
        category: The category.
        instruction: What the person asks for.
        target_label: Text that the foreground should match after the edit.
        action: replace or remove.
        reference: The phrase of the instruction that points at the thing.
        thing: Which of `before.things` changes.
        kind: What it is.
        color: Its color.
        new_kind: What it becomes; None where it is removed.
        new_color: The color that it has in the target picture.
        color_named: Whether the instruction asks for that color; else any color of the new kind is right.
        clue: The clue of a reasoning sample.
        clue_held_out: Whether no editing, segmentation or synthetic row of the corpora uses that clue.
        target: The exact target picture, relative to the table's folder.
        before: The scene of the source picture.
        after: The scene of the target picture.
    """

    sample_id: str
    category: Category
    instruction: str
    target_label: str
    action: str
    reference: str
    thing: int
    kind: str
    color: str
    new_kind: str | None
    new_color: str | None
    color_named: bool
    clue: str | None
    clue_held_out: bool
    target: Path
    before: Scene
    after: Scene


def write_reason_edit(out: Path, seed: int = 0, size: int = DEFAULT_SIZE, seen_clues: bool = False) -> None:
    """Write the data set; the same arguments give the same bytes, and what is there already is kept.

    Args:
        out: The folder; new, empty, or an unfinished one of the same arguments.
        seed: Another seed gives other scenes.
        size: Pixels of a side.
        seen_clues: Whether the reasoning samples use the clues that the editing corpora use as well, in the place
            of the held-out ones; results on the two are to be reported apart.

    Raises:
        DatasetFolderError: The folder holds something else.
    """
    out = Path(out)
    content = {
        "content": "miniature Reason-Edit",
        "edition": EDITION,
        "seed": seed,
        "size": size,
        "seen_clues": seen_clues,
    }
    settings = json.dumps(content, sort_keys=True) + "\n"
    with claimed(out, "answers/settings.json", settings):
        if not (out / "answers" / "scenes.parquet").is_file():
            _write_categories(out, seed, size, seen_clues)


def _write_categories(out: Path, seed: int, size: int, seen_clues: bool) -> None:
    answers: list[Answer] = []
    for category in PAPER_CATEGORIES:
        folder, text_name = FOLDERS[category]
        rows = [
            _write_sample(out, folder, f"{number:03d}", case, seed, size)
            for number, case in enumerate(benchmark_cases(category, seed, seen_clues), start=1)
        ]
        write_text(out / folder / text_name, "".join(f"{row.instruction} CLIP: {row.target_label}\n" for row in rows))
        answers += rows
    write_rows(out / "answers" / "scenes.parquet", answers, Answer, {"seed": str(seed), "size": str(size)})


def benchmark_cases(category: Category, seed: int, seen_clues: bool = False) -> Iterator[Case]:
    """The cases of one category, in the order of their numbers; `seen_clues` as in `write_reason_edit`.

    The kinds take turns in a shuffled order; every third sample removes its thing. In reasoning it is every second one,
    where removing that kind is no held-out combination.
    """
    rng = numpy_generator("reason-edit", seed, category.value, "order")
    plan: list[tuple[str, bool, Clue | None]] = []
    if category is Category.REASONING:
        wanted = [clue for clue in clues() if clue.held_out != seen_clues]
        plan = [
            (clue.kind, k % 2 == 1 and _fits(category, clue.kind, True), clue)
            for k, clue in enumerate(_shuffled(wanted, rng))
        ]
    else:
        for removes, count in ((False, COUNTS[category] - COUNTS[category] // 3), (True, COUNTS[category] // 3)):
            fit = [kind for kind in KINDS if _fits(category, kind, removes)]
            turns = [kind for _ in range(-(-count // len(fit))) for kind in _shuffled(fit, rng)]
            plan += [(kind, removes, None) for kind in turns[:count]]
        plan = _shuffled(plan, rng)
    for number, (kind, removes, clue) in enumerate(plan, start=1):
        yield draw_case(category, kind, removes, clue, Use.BENCHMARK, ("reason-edit", seed, category.value, number))


def _shuffled(items: list[Item], rng: np.random.Generator) -> list[Item]:
    return [items[k] for k in rng.permutation(len(items))]


def _fits(category: Category, kind: str, removes: bool) -> bool:
    """Whether the benchmark may edit the kind in this category in this way."""
    if category is Category.COLOR and (not KINDS[kind].colorful or len(KINDS[kind].colors) < 2):
        return False
    return not removes or is_held_out(kind, None) == wanted_held_out(category, Use.BENCHMARK)


def draw_case(
    category: Category, kind: str, removes: bool, clue: Clue | None, use: Use, keys: tuple[str | int, ...]
) -> Case:
    """Draw until a case works out; the keys alone decide the outcome."""
    for attempt in range(1000):
        try:
            return make_case(category, kind, removes, use, numpy_generator(*keys, attempt), clue)
        except NoRoom:
            continue
    raise AssertionError(f"no {category.value} scene for {kind} in 1000 draws")


def edit_mask(before: Drawing, after: Drawing, case: Case) -> NDArray[np.bool_]:
    """Where source and target may differ: the thing and its shadow, before and after; bool H x W."""
    mask = before.footprints[case.index].copy()
    if case.new_kind is not None:
        mask |= after.footprints[case.index]
    return np.asarray(mask)


def target_label(before: Drawing, mask: NDArray[np.bool_], case: Case) -> str:
    """What the edited region should show: the new thing, or the surfaces that come to light.

    The surfaces are those behind the mask, the largest first; one that is less than a quarter of the mask is left out.
    """
    if case.target_words is not None:
        return case.target_words
    ids, counts = np.unique(before.stuff[mask], return_counts=True)
    names = dict(STUFF.values())
    ranked = sorted(zip(counts.tolist(), ids.tolist(), strict=True), reverse=True)
    shown = [names[number] for count, number in ranked if count >= 0.25 * mask.sum()][:2]
    return " and ".join(shown)


def _write_sample(out: Path, folder: str, stem: str, case: Case, seed: int, size: int) -> Answer:
    sample_id = f"{case.category.value}/{stem}"
    target = Path("targets") / case.category.value / f"{stem}.png"
    files = (out / folder / f"{stem}.png", out / folder / f"{stem}_mask.jpg", out / "answers" / target)
    label = case.target_words
    if label is None or not all(path.is_file() for path in files):
        before, after = draw(case.scene, size), draw(case.after, size)
        mask = edit_mask(before, after, case)
        label = target_label(before, mask, case)
        _write_once(files[0], before.image, "PNG")
        _write_once(files[1], mask.astype(np.uint8) * 255, "JPEG")
        _write_once(files[2], after.image, "PNG")
    thing = case.scene.things[case.index]
    return Answer(
        sample_id=sample_id,
        category=case.category,
        instruction=instruction_for(case, seed_from("reason-edit", seed, sample_id, "wording")),
        target_label=label,
        action="remove" if case.new_kind is None else "replace",
        reference=case.reference.text,
        thing=case.index,
        kind=thing.kind,
        color=thing.color,
        new_kind=case.new_kind,
        new_color=case.new_color,
        color_named=case.color_named,
        clue=case.reference.clue.text if case.reference.clue else None,
        clue_held_out=bool(case.reference.clue and case.reference.clue.held_out),
        target=target,
        before=case.scene,
        after=case.after,
    )


def encoded(image: NDArray[np.uint8], file_format: str) -> bytes:
    """The bytes of a PNG, or of a JPEG of quality 95."""
    buffer = io.BytesIO()
    options = {"quality": 95} if file_format == "JPEG" else {"compress_level": 6}
    Image.fromarray(image).save(buffer, file_format, **options)
    return buffer.getvalue()


def _write_once(path: Path, image: NDArray[np.uint8], file_format: str) -> None:
    if not path.is_file():
        write_bytes(path, encoded(image, file_format))
