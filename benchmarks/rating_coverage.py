"""How often the interval of Ins-align holds the truth, for raters of known accuracy.

python benchmarks/rating_coverage.py    500 simulated studies a row; takes about a minute
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reason_edit.rating.ins_align import Cube, summarise_ratings
from reason_edit.schema import Category

Values = NDArray[np.float64]
STUDIES, SHARE = 500, 0.7


def alike(generator: np.random.Generator, raters: int) -> tuple[Values, Values]:
    return np.full(raters, 0.9), np.full(raters, 0.9)


def unlike(generator: np.random.Generator, raters: int) -> tuple[Values, Values]:
    accuracy = generator.uniform(0.8, 1.0, raters)
    return accuracy, accuracy


def leaning(generator: np.random.Generator, raters: int) -> tuple[Values, Values]:
    """Strict and lenient raters: what one gains on right edits, another loses on wrong ones."""
    lean = generator.uniform(-0.12, 0.12, raters)
    return 0.85 + lean, 0.85 - lean


Panel = Callable[[np.random.Generator, int], tuple[Values, Values]]


def coverage(panel: Panel, raters: int, count: int) -> tuple[float, float]:
    """Share of studies whose interval holds the mean that all raters and samples would give, and its mean width."""
    generator = np.random.default_rng(0)
    hits, misses = (np.mean([panel(generator, 1000)[k] for _ in range(200)]) for k in (0, 1))
    expected = SHARE * hits + (1 - SHARE) * (1 - misses)
    samples = {f"color/{i:03d}": Category.COLOR for i in range(count)}
    held, width = 0, 0.0
    for _ in range(STUDIES):
        truth = generator.random(count) < SHARE
        right, wrong = panel(generator, raters)
        chance = np.where(truth, right[:, None], 1 - wrong[:, None])
        aligned = (generator.random((raters, count)) < chance).astype(np.float64)[:, None]
        names = tuple(f"r{i}" for i in range(raters))
        cube = Cube(names, ("m",), tuple(samples), aligned, np.ones_like(aligned), np.zeros_like(aligned))
        overall = summarise_ratings(cube, samples, resamples=400)[-1]
        held += overall.low <= expected <= overall.high
        width += overall.high - overall.low
    return held / STUDIES, width / STUDIES


if __name__ == "__main__":
    print("raters, samples: interval holds the truth (mean width)")
    for name, panel in (("all 0.9 accurate", alike), ("0.8 to 1.0 accurate", unlike), ("strict and lenient", leaning)):
        for raters, count in ((4, 60), (4, 219), (3, 20), (8, 219)):
            share, width = coverage(panel, raters, count)
            print(f"{name}, {raters}, {count}: {share:.3f} ({width:.3f})")
