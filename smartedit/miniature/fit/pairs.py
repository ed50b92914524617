"""Drawn editing pairs for the denoiser's first training: a scene, variants of it, and instructions between them."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reason_edit.files import atomic_path, write_bytes
from reason_edit.schema import PAPER_CATEGORIES, Category
from smartedit.miniature.cases import SCENES
from smartedit.miniature.drawing import draw
from smartedit.miniature.expressions import references
from smartedit.miniature.kinds import COLORS, KINDS, with_article
from smartedit.miniature.knowledge import is_held_out
from smartedit.miniature.layout import NoRoom, pick_color, stands_free
from smartedit.miniature.referring import Reference
from smartedit.miniature.scenes import Scene, removed, replaced
from smartedit.miniature.stock import Stock, loose_scene, until_it_works

SPACE = "fit"
"""First key of every draw here, so that no scene is one of the benchmark's or of the corpora."""
SCENES_A_SHARD = 500
VARIANTS = 3

REPLACE = (
    "replace {it} with {new}",
    "change {it} to {new}",
    "turn {it} into {new}",
    "swap {it} for {new}",
)
REMOVE = ("remove {it}", "take {it} away", "delete {it}")
RECOLOR = ("make {it} {color}", "change the color of {it} to {color}", "color {it} {color}")
_KIND_ALONE = re.compile(
    rf"\bthe (?:{'|'.join(KINDS)})(?: (?:to|into|for|with|away)\b| (?:{'|'.join(COLORS)})\.?$|\.?$)"
)
"""A kind between its article and what follows a thing in the templates above."""
_NEW_COLOR = re.compile(rf"\b(?:to|into|for|with) an? (?:pair of )?({'|'.join(COLORS)}) ({'|'.join(KINDS)})\.?$")
"""The color and kind of what is put in a thing's place, where the color is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One edit between two pictures of a shard.

    Attributes:
        before: Index of the picture before.
        after: Index of the picture after.
        instruction: The order.
    """

    before: int
    after: int
    instruction: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """All pairs.

    Attributes:
        pictures: uint8 [N, side, side, 3].
        before: Indices into the pictures.
        after: Indices into the pictures.
        instructions: The orders.
    """

    pictures: NDArray[np.uint8]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    instructions: list[str]


def draw_pairs(
    folder: Path, *, scenes: int, size: int, seed: int, side: int | None = None, processes: int = 1
) -> Pairs:
    """Draw pairs into shards of a folder, which are kept, and read them back.

    Two calls may draw into one folder at the same time.

    Args:
        folder: Where the shards lie.
        scenes: Scenes, each with up to `VARIANTS` variants.
        size: Pixels of a side.
        seed: Another seed gives other scenes.
        side: Pixels at which they are drawn, to be shrunk then as editors shrink larger pictures: outlines are thinner
            so. None for `size`.
        processes: Processes that draw.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = range(-(-scenes // SCENES_A_SHARD))
    missing = [k for k in shards if not _files(folder, k, scenes)[1].is_file()]
    draw_shards(_draw_shard, [(folder, k, scenes, size, seed, side or size) for k in missing], processes)
    return read_pairs(folder, shards, scenes)


def draw_shards(draw_one: Callable[..., None], missing: Sequence[tuple[Any, ...]], processes: int) -> None:
    """Call a function of a module with the arguments of each shard, in so many processes."""
    if processes == 1:
        for arguments in missing:
            draw_one(*arguments)
    elif missing:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(draw_one, *zip(*missing, strict=True)))


def read_pairs(folder: Path, shards: Sequence[int], scenes: int) -> Pairs:
    """The pairs of finished shards, of so many scenes in all."""
    pictures: list[NDArray[np.uint8]] = []
    rows: list[tuple[int, int, str]] = []
    start = 0
    for shard in shards:
        array, table = _files(folder, shard, scenes)
        pictures.append(np.load(array))
        rows += [(start + b, start + a, text) for b, a, text in json.loads(table.read_text(encoding="utf-8"))]
        start += len(pictures[-1])
    return Pairs(
        pictures=np.concatenate(pictures),
        before=np.array([r[0] for r in rows]),
        after=np.array([r[1] for r in rows]),
        instructions=[r[2] for r in rows],
    )


def turned(pairs: Pairs) -> Pairs:
    """The same pairs in a looking-glass, a view of their pictures: left is right."""
    other = {"left": "right", "right": "left"}
    return Pairs(
        pictures=pairs.pictures[:, :, ::-1],
        before=pairs.before,
        after=pairs.after,
        instructions=[
            re.sub(r"\b(left|right)\b", lambda found: other[found[0]], order) for order in pairs.instructions
        ],
    )


def names_kind_alone(order: str) -> bool:
    """Whether an order names its thing by kind alone ("remove the red apple" and "remove the left apple" do not)."""
    return _KIND_ALONE.search(order) is not None


def names_other_color(order: str) -> bool:
    """Whether an order puts in a thing's place one of another color than its kind has unless told otherwise."""
    found = _NEW_COLOR.search(order)
    return found is not None and found[1] != KINDS[found[2]].colors[0]


def repeated(pairs: Pairs, times: int) -> Pairs:
    """The same pictures with every pair `times` over whose order names another color for the new thing.

    One pair in seven does; so few leave a denoiser that draws a kind's usual color three times of four.

    Raises:
        ValueError: Fewer than one time.
    """
    if times < 1:
        raise ValueError(f"a pair cannot be taken {times} times")
    rows = np.repeat(
        np.arange(len(pairs.instructions)), [times if names_other_color(o) else 1 for o in pairs.instructions]
    )
    return _chosen(pairs, rows)


def thinned(pairs: Pairs, share: float, *, seed: int) -> Pairs:
    """The same pictures with only so many of the pairs whose orders name a thing by kind alone: they are learned soon.

    Args:
        pairs: The pairs.
        share: Of such pairs that stay, from 0 to 1.
        seed: Another seed keeps others.
    """
    stays = np.random.default_rng([seed, len(pairs.instructions)]).random(len(pairs.instructions)) < share
    stays |= [not names_kind_alone(order) for order in pairs.instructions]
    return _chosen(pairs, np.flatnonzero(stays))


def _chosen(pairs: Pairs, rows: NDArray[np.int64]) -> Pairs:
    return Pairs(
        pictures=pairs.pictures,
        before=pairs.before[rows],
        after=pairs.after[rows],
        instructions=[pairs.instructions[k] for k in rows],
    )


def _files(folder: Path, shard: int, scenes: int) -> tuple[Path, Path]:
    """A last shard that is not full is named after its scenes, so that more scenes do not take it for a full one."""
    full = (shard + 1) * SCENES_A_SHARD <= scenes
    name = f"{shard:04d}" if full else f"{shard:04d}-{scenes - shard * SCENES_A_SHARD}"
    return folder / f"pictures-{name}.npy", folder / f"pairs-{name}.json"


def _draw_shard(folder: Path, shard: int, scenes: int, size: int, seed: int, side: int) -> None:
    array, table = _files(folder, shard, scenes)
    if table.is_file():
        return
    pictures: list[NDArray[np.uint8]] = []
    rows: list[tuple[int, int, str]] = []
    for number in range(shard * SCENES_A_SHARD, min(scenes, (shard + 1) * SCENES_A_SHARD)):
        drawn, pairs = scene_pairs(Stock(seed=seed, size=size), number)
        start = len(pictures)
        pictures += [_shrunk(draw(scene, side).image, size) for scene in drawn]
        rows += [(start + pair.before, start + pair.after, pair.instruction) for pair in pairs]
    with atomic_path(array) as temporary, temporary.open("wb") as file:
        np.save(file, np.stack(pictures))
    write_bytes(table, json.dumps(rows).encode())


def _shrunk(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if len(picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))


def scene_pairs(stock: Stock, number: int) -> tuple[list[Scene], list[Pair]]:
    """One scene with its variants, and the edits between them, there and back."""

    def attempt(k: int) -> tuple[list[Scene], list[Pair]]:
        rng = stock.rng(SPACE, number, k)
        scene, reference = _base(rng)
        drawn, pairs = [scene], list[Pair]()
        for variant in range(VARIANTS):
            index = reference.resolve(scene)[0] if reference and variant == 0 else int(rng.integers(len(scene.things)))
            changed = _variant(scene, index, rng)
            if changed is None or changed in drawn:
                continue
            drawn.append(changed)
            after = len(drawn) - 1
            pairs += [
                Pair(before=b, after=a, instruction=text)
                for b, a, own in ((0, after, reference if variant == 0 else None), (after, 0, None))
                if (text := order_between(drawn[b], drawn[a], index, rng, own)) is not None
            ]
        if not pairs:
            raise NoRoom("no edit worked out")
        return drawn, pairs

    return until_it_works(attempt)


def _base(rng: np.random.Generator) -> tuple[Scene, Reference | None]:
    """A scene of a category's make with its own phrase, or a loose group of things."""
    if rng.random() < 0.35:
        return loose_scene(rng, with_mirror=bool(rng.random() < 0.15)), None
    categories = [c for c in PAPER_CATEGORIES if c is not Category.REASONING]
    category = categories[int(rng.integers(len(categories)))]
    kinds = [
        k for k, kind in KINDS.items() if category is not Category.COLOR or (kind.colorful and len(kind.colors) > 1)
    ]
    scene, reference = SCENES[category](str(rng.choice(kinds)), rng)
    return scene, reference if len(reference.resolve(scene)) == 1 else None


def _variant(scene: Scene, index: int, rng: np.random.Generator) -> Scene | None:
    """The scene with one thing replaced (most often), removed or in another color; None where that does not work."""
    thing, draw_ = scene.things[index], rng.random()
    if draw_ < 0.28:
        return None if is_held_out(thing.kind, None) else removed(scene, index)
    if draw_ < 0.4 and KINDS[thing.kind].colorful and len(KINDS[thing.kind].colors) > 1:
        color = str(rng.choice([c for c in KINDS[thing.kind].colors if c != thing.color]))
        return replaced(scene, index, thing.kind, color)
    present = {other.kind for other in scene.things}
    choices = [new for new in KINDS if new not in present and not is_held_out(thing.kind, new)]
    if not choices:
        return None
    new = str(rng.choice(choices))
    color = pick_color(new, rng) if rng.random() < 0.4 else KINDS[new].colors[0]
    after = replaced(scene, index, new, color)
    return after if stands_free(after, index) else None


def order_between(
    before: Scene, after: Scene, index: int, rng: np.random.Generator, reference: Reference | None = None
) -> str | None:
    """An instruction that turns one scene into the other, which differ in one thing.

    Args:
        before: The scene.
        after: The scene afterwards.
        index: The thing of `before` that changes.
        rng: Chooses among phrases and wordings.
        reference: The phrase for the thing, where it is given.

    Returns:
        The order; None where no phrase means that thing, a held-out combination would come up, or the outcome could
        not be told from the words (a color that has no name).
    """
    if len(after.things) > len(before.things):
        return None
    found = [reference] if reference else references(before, index)
    if not found:
        return None
    it = (found[0] if rng.random() < 0.4 else found[int(rng.integers(len(found)))]).text
    if len(after.things) < len(before.things):
        return _worded(rng, REMOVE, it=it)
    old, new = before.things[index], after.things[index]
    if old.kind == new.kind:
        return _worded(rng, RECOLOR, it=it, color=new.color)
    natural, colorful = new.color == KINDS[new.kind].colors[0], KINDS[new.kind].colorful
    if is_held_out(old.kind, new.kind) or not (natural or colorful):
        return None
    if any(other.kind == new.kind for other in before.things):
        return None
    named = colorful and (not natural or rng.random() < 0.15)
    return _worded(rng, REPLACE, it=it, new=with_article(f"{new.color} {new.kind}" if named else new.kind))


def _worded(rng: np.random.Generator, templates: Sequence[str], **words: str) -> str:
    text = templates[int(rng.integers(len(templates)))].format(**words)
    style = rng.random()
    if style < 0.25:
        return f"Please {text}."
    return f"{text[0].upper()}{text[1:]}." if style < 0.6 else text


def batches(count: int, *, size: int, steps: int, start: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of each step's rows: every row once an epoch, in an order that follows from seed and epoch.

    Args:
        count: Rows.
        size: Rows of a batch.
        steps: Step after the last.
        start: First step.
        seed: Of the orders.

    Raises:
        ValueError: There are fewer rows than a batch takes.
    """
    per_epoch = count // size
    if not per_epoch:
        raise ValueError(f"{count} rows are too few for batches of {size}; draw more")
    order, epoch = np.empty(0, np.int64), -1
    for step in range(start, steps):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = np.random.default_rng([seed, epoch]).permutation(count)
        place = step % per_epoch
        yield order[place * size : (place + 1) * size]
