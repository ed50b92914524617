"""A mixture of sources as a deterministic order: position -> row, by a draw that needs no state.

There are no epochs. What stands at a position depends on the mixture, its seed, and the sizes of the sources, and on
nothing else: any worker can ask for any position, in any batch, and a resumed run goes on as if it had never stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from smartedit.config.loading import ConfigError, load_tree
from smartedit.config.mixture import Draw, MixtureConfig
from smartedit.seeding import seed_from

PRESETS = resources.files("smartedit.presets") / "mixtures"


class MixtureError(ValueError):
    """A mixture does not fit the manifest, or is none."""


def mixture_presets() -> list[str]:
    """The names of the mixtures that ship with the package."""
    return sorted(p.name.removesuffix(".toml") for p in PRESETS.iterdir() if p.name.endswith(".toml"))


def load_mixture(name: str | Path) -> MixtureConfig:
    """A mixture by preset name or TOML file.

    Raises:
        ConfigError: There is none of that name, or the file is no mixture.
    """
    if Path(name).suffix == ".toml":
        return load_tree(MixtureConfig, source=name)
    if str(name) not in mixture_presets():
        raise ConfigError(f"no mixture {str(name)!r}; presets are {', '.join(mixture_presets())}, files end in .toml")
    with resources.as_file(PRESETS / f"{name}.toml") as path:
        return load_tree(MixtureConfig, source=path)


def resolve_weights(config: MixtureConfig, sizes: Mapping[str, int]) -> dict[str, float]:
    """The share of each source, adding up to 1.

    Args:
        config: The mixture.
        sizes: Rows by source.

    Returns:
        Shares of the sources that are drawn at all, in the order of `sizes`.

    Raises:
        MixtureError: Both or neither of weights and draws are given, or a weight is negative, of an unknown source, or
            nothing is left to draw.
    """
    if bool(config.weights) == bool(config.draws):
        raise MixtureError("a mixture has either weights or draws")
    if config.draws:
        shares = _nested(config.draws, sizes)
    else:
        unknown = sorted(set(config.weights) - set(sizes))
        if unknown:
            raise MixtureError(f"weights for {', '.join(unknown)}, but the manifest holds {', '.join(sizes)}")
        shares = dict(config.weights)
    wrong = {name: share for name, share in shares.items() if not 0 <= share < float("inf")}
    if wrong:
        raise MixtureError(f"weights must be finite and not negative, got {wrong}")
    empty = sorted(name for name, share in shares.items() if share > 0 and not sizes.get(name))
    if empty:
        raise MixtureError(f"weights for sources without rows: {', '.join(empty)}")
    total = sum(shares.values())
    if not total > 0:
        raise MixtureError(f"nothing to draw: no weight above 0 among {', '.join(sizes)}")
    return {name: shares[name] / total for name in sizes if shares.get(name, 0) > 0}


def _nested(draws: Sequence[Draw], sizes: Mapping[str, int]) -> dict[str, float]:
    """The shares of nested draws; a draw whose sources are all missing is not asked."""
    left, shares = 1.0, dict[str, float]()
    asked = [draw for draw in draws if any(sizes.get(name) for name in draw.take)]
    for position, draw in enumerate(asked):
        probability = 1.0 if position == len(asked) - 1 else _probability(draw, sizes)
        inside = {name: sizes[name] if draw.within == "size" else 1 for name in draw.take if sizes.get(name)}
        for name, part in inside.items():
            shares[name] = shares.get(name, 0.0) + left * probability * part / sum(inside.values())
        left *= 1.0 - probability
    return shares


def _probability(draw: Draw, sizes: Mapping[str, int]) -> float:
    if draw.probability is not None and draw.size_of is None:
        probability = draw.probability
    elif draw.size_of and draw.among and draw.probability is None:
        among = sum(sizes.get(name, 0) for name in draw.among)
        probability = sum(sizes.get(name, 0) for name in draw.size_of) / among if among else 0.0
    else:
        raise MixtureError(f"the draw of {', '.join(draw.take)} needs either probability, or size_of and among")
    if not 0 <= probability <= 1:
        raise MixtureError(f"the draw of {', '.join(draw.take)} has the probability {probability}")
    return probability


@dataclass(frozen=True, kw_only=True, slots=True)
class Mixture:
    """An endless order of rows.

    Attributes:
        names: The sources that are drawn.
        shares: How often each is, adding up to 1.
        offsets: Row number of each source's first row.
        sizes: Rows of each source.
        seed: Which order.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    seed: int

    @classmethod
    def over(cls, sizes: Mapping[str, int], config: MixtureConfig) -> "Mixture":
        """The order that a mixture gives over a manifest.

        Args:
            sizes: Rows by source, in the order of the manifest (`Manifest.sizes`).
            config: The mixture.

        Raises:
            MixtureError: The mixture does not fit the manifest.
        """
        shares = resolve_weights(config, sizes)
        starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
        return cls(
            names=tuple(shares),
            shares=tuple(shares.values()),
            offsets=tuple(starts[name] for name in shares),
            sizes=tuple(sizes[name] for name in shares),
            seed=config.seed,
        )

    def rows(self, positions: Iterable[int]) -> NDArray[np.int64]:
        """The manifest's row numbers at positions of the order.

        Args:
            positions: Any non-negative integers, in any order.

        Returns:
            One row number a position.
        """
        sources, within = self._draws(np.fromiter(positions, dtype=np.uint64))
        return np.asarray(np.array(self.offsets)[sources] + within, dtype=np.int64)

    def sources(self, positions: Iterable[int]) -> NDArray[np.int64]:
        """The index into `names` of the source that is drawn at each position."""
        return self._draws(np.fromiter(positions, dtype=np.uint64))[0]

    def _draws(self, positions: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        key = np.uint64(seed_from("mixture", self.seed))
        which = _uniform(positions, key, 0)
        borders = np.cumsum(self.shares)[:-1]
        sources = np.searchsorted(borders, which, side="right").astype(np.int64)
        sizes = np.array(self.sizes, dtype=np.int64)[sources]
        within = np.minimum((_uniform(positions, key, 1) * sizes).astype(np.int64), sizes - 1)
        return sources, within


def _uniform(positions: NDArray[np.uint64], key: np.uint64, stream: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) that follow from key, stream and position (SplitMix64's finalizer, applied twice)."""
    with np.errstate(over="ignore"):
        mixed = _finalize(_finalize(positions * np.uint64(2) + np.uint64(stream)) ^ key)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _finalize(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
