"""The paper's ablations (Tables 2 and 3) against trained ones: means over seeds, and whether differences agree."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from benchmark.comparison import Comparison, compare_methods
from benchmark.published import PublishedRow, published_blocks
from benchmark.records import Score
from benchmark.statistics import REASONING, UNDERSTANDING, index_scores
from reason_edit.schema import EditSample

ROWS: dict[str, dict[str, str]] = {
    "smartedit-table-2": {
        "plain": "SmartEdit-7B, plain (no BIM)",
        "simple-ca": "SmartEdit-7B, SimpleCA",
        "whole": "SmartEdit-7B, BIM",
    },
    "smartedit-table-3": {
        "edit": "SmartEdit-7B, editing data only",
        "edit-segmentation": "SmartEdit-7B, editing + segmentation",
        "edit-synthetic": "SmartEdit-7B, editing + synthetic",
        "whole": "SmartEdit-7B, editing + segmentation + synthetic",
    },
}
"""The variants of each of the paper's tables, and what `published.csv` calls them."""

OUR_METRICS = {
    "psnr": "background_psnr",
    "ssim": "background_ssim",
    "lpips": "background_lpips",
    "clip_score": "clip_score",
}
GROUPS = (UNDERSTANDING, REASONING)


class Finding(StrEnum):
    """How a difference of ours stands to the paper's."""

    AGREES = "agrees"
    CONTRADICTS = "contradicts"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class CellScores:
    """The scores of one trained cell.

    Attributes:
        variant: A key of `smartedit.training.ablations.VARIANTS`.
        seed: Its seed.
        scores: Of its edits, whatever they call the method.
    """

    variant: str
    seed: int
    scores: Sequence[Score]


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """A difference between two variants, in the paper and here.

    Attributes:
        block: The paper's table.
        scenario: Understanding or reasoning.
        metric: The metric of ours.
        first: One variant.
        second: The other.
        paper: The paper's difference, first - second.
        ours: Ours, with its interval over samples.
        seeds: Seeds whose own difference has the sign of ours, of how many.
        finding: Whether they agree; undecided where our interval holds 0 or a seed has the other sign.
    """

    block: str
    scenario: str
    metric: str
    first: str
    second: str
    paper: float
    ours: Comparison
    seeds: tuple[int, int]
    finding: Finding


def mean_over_seeds(cells: Iterable[CellScores]) -> list[Score]:
    """One score a variant, sample and metric: the mean over its seeds, named by the variant.

    A sample that a seed could not score is NaN, so that all means of a variant rest on the same samples.
    """
    found: dict[tuple[str, str, str, str], dict[int, float]] = {}
    seeds: dict[str, set[int]] = {}
    for cell in cells:
        seeds.setdefault(cell.variant, set()).add(cell.seed)
        for score in cell.scores:
            key = (cell.variant, score.sample_id, score.protocol, score.metric)
            found.setdefault(key, {})[cell.seed] = score.value
    return [
        Score(
            method=variant,
            sample_id=sample_id,
            protocol=protocol,
            metric=metric,
            value=float(np.mean(list(values.values()))) if set(values) == seeds[variant] else math.nan,
        )
        for (variant, sample_id, protocol, metric), values in found.items()
    ]


def find_agreements(cells: Sequence[CellScores], samples: Sequence[EditSample], block: str) -> list[Agreement]:
    """Every difference that the paper's table prints against ours, where both variants were trained.

    Args:
        cells: The trained cells.
        samples: The samples that they edited.
        block: A key of `ROWS`.
    """
    pooled = mean_over_seeds(cells)
    trained = [variant for variant in ROWS[block] if any(cell.variant == variant for cell in cells)]
    printed: dict[tuple[str, str], PublishedRow] = {(r.method, r.scenario): r for r in published_blocks()[block]}
    agreements = []
    for theirs, metric in [*OUR_METRICS.items(), ("ins_align", _opinion(pooled))]:
        scored = {(score.protocol, score.method) for score in pooled if score.metric == metric}
        for protocol, group in ((p, g) for p in sorted({p for p, _ in scored}) for g in GROUPS):
            methods = [variant for variant in trained if (protocol, variant) in scored]
            if len(methods) < 2:
                continue
            for ours in compare_methods(
                pooled, samples, protocol=protocol, metric=metric, group=group.name, methods=methods
            ):
                paper = [_printed(printed[(ROWS[block][v], group.name)], theirs) for v in (ours.first, ours.second)]
                if not all(math.isfinite(value) for value in [*paper, ours.difference]):
                    continue
                seeds = _seeds_alike(cells, samples, ours)
                agreements.append(
                    Agreement(
                        block=block,
                        scenario=group.name,
                        metric=metric,
                        first=ours.first,
                        second=ours.second,
                        paper=paper[0] - paper[1],
                        ours=ours,
                        seeds=seeds,
                        finding=_finding(paper[0] - paper[1], ours, seeds),
                    )
                )
    return agreements


def _opinion(scores: Sequence[Score]) -> str:
    """What stands for the paper's Ins-align: people's where there is one, else a judge's."""
    metrics = {score.metric for score in scores}
    return "ins_align" if "ins_align" in metrics else next((m for m in sorted(metrics) if m.startswith("judge:")), "")


def _printed(row: PublishedRow, name: str) -> float:
    value = getattr(row, name)
    return math.nan if value is None else float(value.value)


def _seeds_alike(cells: Sequence[CellScores], samples: Sequence[EditSample], ours: Comparison) -> tuple[int, int]:
    """In how many seeds the difference has the sign of the mean, and in how many both variants were trained."""
    group = next(group for group in GROUPS if group.name == ours.group)
    members = [sample.sample_id for sample in samples if sample.category in group.categories]
    signs = []
    for seed in sorted({cell.seed for cell in cells}):
        own = mean_over_seeds([cell for cell in cells if cell.seed == seed])
        index = index_scores(own, samples)
        first, second = (index.get((ours.protocol, v, ours.metric), {}) for v in (ours.first, ours.second))
        both = np.array([(first[i], second[i]) for i in members if i in first and i in second])
        both = both[np.isfinite(both).all(axis=1)] if len(both) else both
        if len(both):
            signs.append(np.sign((both[:, 0] - both[:, 1]).mean()) == np.sign(ours.difference))
    return sum(map(int, signs)), len(signs)


def _finding(paper: float, ours: Comparison, seeds: tuple[int, int]) -> Finding:
    decided = (ours.low > 0 or ours.high < 0) and seeds[0] == seeds[1]
    if not decided or paper == 0:
        return Finding.UNDECIDED
    return Finding.AGREES if (paper > 0) == (ours.difference > 0) else Finding.CONTRADICTS
