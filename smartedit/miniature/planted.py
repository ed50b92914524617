"""Edits whose verdict is known: right ones as learned editors might draw them, wrong ones with one planted error."""

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.miniature.backdrops import PLACES
from smartedit.miniature.benchmark_set import Answer
from smartedit.miniature.drawing import draw
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.layout import NoRoom, Wish, place_among, random_backdrop, stands_free
from smartedit.miniature.scenes import Scene, Thing, removed, replaced
from smartedit.seeding import numpy_generator

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """An edit whose verdict is known.

    Attributes:
        variety: What is right or wrong about it.
        finish: What a learned editor's output might have suffered.
        aligned: Whether it is right.
        image: The edited picture, at the source's size.
    """

    variety: str
    finish: str
    aligned: bool
    image: Pixels


def _half(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """The output of an editor that works at 64 px."""
    return _resized(_resized(pixels, 64), pixels.shape[0])


def _resized(pixels: Pixels, side: int) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


def _blur(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.8, 2.0)) * pixels.shape[0] / 128))


def _jpeg(pixels: Pixels, rng: np.random.Generator, lowest: int = 30) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(lowest, 80)))
    return np.asarray(Image.open(buffer).convert("RGB"))


def _shift(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """One or two pixels of a 128 px picture in any direction."""
    right, down = (int(v) for v in rng.integers(-2, 3, 2))
    moved = np.float32([[1, 0, right], [0, 1, down]])  # type: ignore[arg-type]
    return np.asarray(cv2.warpAffine(pixels, moved, pixels.shape[:2], borderMode=cv2.BORDER_REPLICATE))


def _coded(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """What a small autoencoder of 64 px blocks leaves: blur, ringing, block edges, some noise."""
    small = _jpeg(_resized(pixels, 64), rng, lowest=20)
    soft = cv2.GaussianBlur(small, (0, 0), float(rng.uniform(0.4, 0.9)))
    noisy = soft + rng.normal(0, 4, soft.shape)
    return _resized(noisy.clip(0, 255).astype(np.uint8), pixels.shape[0])


FINISHES: Mapping[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "exact": lambda pixels, rng: pixels,
    "at 64 px": _half,
    "blurred": _blur,
    "JPEG": _jpeg,
    "shifted": _shift,
    "coded at 64 px": _coded,
}


def plant(answer: Answer, size: int, seed: int, finishes: int | None = None) -> Iterator[Planted]:
    """Draw right and wrong edits of one sample.

    Args:
        answer: The sample.
        size: Pixels of a side.
        seed: Another seed plants other errors.
        finishes: How many finishes each right edit is shown in; all by default. A wrong edit gets one.

    Yields:
        Every variety that the sample allows.
    """
    rng = numpy_generator("planted", seed, answer.sample_id)
    for variety, scene in _right_scenes(answer, rng):
        exact = draw(scene, size).image
        for finish in rng.permutation(sorted(FINISHES))[:finishes]:
            image = FINISHES[str(finish)](exact, rng)
            yield Planted(variety=variety, finish=str(finish), aligned=True, image=image)
    for variety, wrong in _wrong_pictures(answer, size, rng):
        destroyed = variety in {"blurred away", "noise everywhere"}
        finish = "exact" if destroyed else str(rng.choice(sorted(FINISHES)))
        image = FINISHES[finish](wrong, rng)
        yield Planted(variety=variety, finish=finish, aligned=False, image=image)


def _right_scenes(answer: Answer, rng: np.random.Generator) -> Iterator[tuple[str, Scene]]:
    yield "right", answer.after
    if answer.new_kind is None:
        return
    thing = answer.after.things[answer.thing]
    yield "right, other size", _with(answer.after, answer.thing, _scaled(thing, rng))
    yield "right, other way round", _with(answer.after, answer.thing, replace(thing, flip=not thing.flip))
    colors = [c for c in KINDS[thing.kind].colors if c != thing.color]
    if not answer.color_named and colors:
        yield "right, other color", _with(answer.after, answer.thing, replace(thing, color=str(rng.choice(colors))))


def _scaled(thing: Thing, rng: np.random.Generator) -> Thing:
    """Up to 15 % larger or smaller around its middle."""
    size = thing.size * float(rng.uniform(0.85, 1.15))
    return replace(thing, size=size, y=thing.y + (size - thing.size) / 2)


def _with(scene: Scene, index: int, thing: Thing) -> Scene:
    return replace(scene, things=(*scene.things[:index], thing, *scene.things[index + 1 :]))


def _other(thing: Thing, forbidden: set[str | None], rng: np.random.Generator) -> tuple[str, str]:
    """Another kind, in one of its colors."""
    kind = str(rng.choice([k for k in KINDS if k not in forbidden and k != thing.kind]))
    return kind, str(rng.choice(KINDS[kind].colors))


def _wrong_pictures(answer: Answer, size: int, rng: np.random.Generator) -> Iterator[tuple[str, Pixels]]:
    for variety, scene in _wrong_scenes(answer, rng):
        yield variety, draw(scene, size).image
    source, target = draw(answer.before, size), draw(answer.after, size).image
    coverage = source.coverage[answer.thing][:, :, None] * float(rng.uniform(0.45, 0.65))
    yield "ghost of the old thing", np.round(target * (1 - coverage) + source.image * coverage).astype(np.uint8)
    blurred = cv2.GaussianBlur(target, (0, 0), float(rng.uniform(5, 9)) * size / 128)
    yield "blurred away", np.asarray(blurred)
    noise = rng.normal(0, float(rng.uniform(45, 80)), target.shape)
    yield "noise everywhere", (target + noise).clip(0, 255).astype(np.uint8)


def _wrong_scenes(answer: Answer, rng: np.random.Generator) -> Iterator[tuple[str, Scene]]:
    before, after, i = answer.before, answer.after, answer.thing
    thing = before.things[i]
    yield "not edited", before
    others = [k for k in range(len(before.things)) if k != i]
    if others:
        j = int(rng.choice(others))
        if answer.new_kind is None:
            yield "wrong thing edited", removed(before, j)
        else:
            yield "wrong thing edited", replaced(before, j, answer.new_kind, answer.new_color or "")
    kind, color = _other(thing, {answer.new_kind}, rng)
    if answer.new_kind is None:
        yield "replaced instead of removed", replaced(before, i, kind, color)
    else:
        yield "wrong kind", replaced(before, i, kind, color)
        yield "removed instead of replaced", removed(before, i)
        colors = [c for c in KINDS[answer.new_kind].colors if c != answer.new_color]
        if answer.color_named and colors:
            yield "wrong color", replaced(before, i, answer.new_kind, str(rng.choice(colors)))
        yield from _moved(answer, rng)
    yield from _right_but(after, i if answer.new_kind is not None else None, rng)


def _moved(answer: Answer, rng: np.random.Generator) -> Iterator[tuple[str, Scene]]:
    """The new thing somewhere else, the old one gone."""
    thing = answer.after.things[answer.thing]
    try:
        scene = place_among(answer.before, Wish(kind=thing.kind, color=thing.color, size=thing.size), rng)
    except NoRoom:
        return
    if answer.before.mirror is None:
        yield "target at another place", removed(scene, answer.thing)


def _right_but(after: Scene, edited: int | None, rng: np.random.Generator) -> Iterator[tuple[str, Scene]]:
    """A right edit, and something else that should not have changed."""
    others = [k for k in range(len(after.things)) if k != edited]
    if others:
        j = int(rng.choice(others))
        kind, color = _other(after.things[j], set(), rng)
        yield "another thing replaced too", replaced(after, j, kind, color)
        yield "another thing removed too", removed(after, int(rng.choice(others)))
        j = int(rng.choice(others))
        colors = [c for c in KINDS[after.things[j].kind].colors if c != after.things[j].color]
        if colors and KINDS[after.things[j].kind].colorful:
            changed = replaced(after, j, after.things[j].kind, str(rng.choice(colors)))
            yield "another thing in another color too", changed
    try:
        kind = str(rng.choice(sorted(KINDS)))
        extra = place_among(after, Wish(kind=kind, color=KINDS[kind].colors[0], size=0.24), rng)
        if after.mirror is None and stands_free(extra, len(extra.things) - 1):
            yield "one thing too many", extra
    except NoRoom:
        pass
    places = [p for p, (walls, grounds) in PLACES.items() if after.backdrop.wall not in walls]
    yield "another backdrop", replace(after, backdrop=random_backdrop(rng, places))
