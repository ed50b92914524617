"""The synthetic editing pairs of the paper: complex understanding and reasoning, in the authors' json."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from reason_edit.schema import PAPER_CATEGORIES, Category
from smartedit.miniature.benchmark_set import FOLDERS, draw_case
from smartedit.miniature.cases import Case, Use
from smartedit.miniature.drawing import draw
from smartedit.miniature.formats.files import png, write_json, write_once
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.knowledge import Clue, clues, is_held_out
from smartedit.miniature.stock import SPACE, Stock
from smartedit.miniature.wording import instructions_for

Item = TypeVar("Item")

ROOT = Path("SyntheticData")
PREFIX = "./dataset/"
REASONING_SHARE = 1 / 3
"""Part of the pairs that need knowledge; the paper does not say how its 476 are divided."""


def synthetic_cases(stock: Stock) -> Iterator[Case]:
    """The cases, category by category; no clue and no combination of the benchmark's occurs."""
    reasoning = round(stock.synthetic * REASONING_SHARE)
    others = [c for c in PAPER_CATEGORIES if c is not Category.REASONING]
    rest = stock.synthetic - reasoning
    for position, category in enumerate(others):
        count = rest // len(others) + (position < rest % len(others))
        yield from _category_cases(stock, category, count)
    yield from _category_cases(stock, Category.REASONING, reasoning)


def _category_cases(stock: Stock, category: Category, count: int) -> Iterator[Case]:
    rng = stock.rng("synthetic", category.value, "order")
    known = [clue for clue in clues() if not clue.held_out]
    kinds = [
        k for k, kind in KINDS.items() if category is not Category.COLOR or (kind.colorful and len(kind.colors) > 1)
    ]
    for number in range(count):
        clue: Clue | None = None
        if category is Category.REASONING:
            clue = _turn(known, number, rng)
            kind = clue.kind
        else:
            kind = _turn(kinds, number, rng)
        removes = number % 3 == 2 and not is_held_out(kind, None)
        keys = (SPACE, stock.seed, "synthetic", category.value, number)
        yield draw_case(category, kind, removes, clue, Use.TRAINING, keys)


def _turn(items: list[Item], number: int, rng: np.random.Generator) -> Item:
    """Items take turns; each round is shuffled anew."""
    if number % len(items) == 0:
        items[:] = [items[k] for k in rng.permutation(len(items))]
    return items[number % len(items)]


def write(out: Path, stock: Stock) -> None:
    """Write the pictures, the edited thing's mask, and the json file with every wording of each instruction."""
    info = {}
    for number, case in enumerate(synthetic_cases(stock)):
        key, folder = f"{number:04d}", FOLDERS[case.category][0].partition("-")[2]
        before, after = draw(case.scene, stock.size), draw(case.after, stock.size)
        source = ROOT / "OriginalImg" / folder / key / f"{key}.png"
        target = ROOT / "TargetImg" / folder / key / f"{key}.png"
        mask = source.parent / "mask" / f"{key}_{case.scene.things[case.index].kind}(1.00).png"
        write_once(out / source, png(before.image))
        write_once(out / target, png(after.image))
        write_once(out / mask, png(before.mask(case.index).astype(np.uint8) * 255))
        info[key] = {
            "origin_img_path": f"{PREFIX}{source.as_posix()}",
            "target_img_path": f"{PREFIX}{target.as_posix()}",
            "instruction": instructions_for(case),
        }
    write_json(out / ROOT / "SyntheticData_info_new.json", info, indent=4)
