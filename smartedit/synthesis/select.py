"""Stage select: thresholds, quotas a category, variety of kinds, the best of several draws; a reviewer's word wins."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reason_edit.schema import PAPER_CATEGORIES, Category
from smartedit.config.synthesis import SelectionConfig, ThresholdsConfig
from smartedit.synthesis.intake import hash_distance
from smartedit.synthesis.records import Candidate, QualityScores
from smartedit.synthesis.stage import Outcome

AT_LEAST = ("clip_target", "clip_source_drop", "clip_direction", "target_found", "changed_in_mask", "fill_texture")
AT_MOST = ("source_left", "background_error", "changed_fraction", "seam_energy")

KEEP, REJECT = "keep", "reject"


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """A pair that made the set.

    Attributes:
        sample_id: `"0000"`, `"0001"`, ... without gaps, categories in the benchmark's order.
        pair_id: The pair.
        candidate_id: Its candidate.
        category: The quota that it fills.
        reviewed: Whether a reviewer kept it.
        not_measured: Threshold columns that were NaN, so that nothing was checked there.
    """

    sample_id: str
    pair_id: str
    candidate_id: str
    category: Category
    reviewed: bool
    not_measured: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortfall:
    """A quota that could not be met."""

    category: Category
    wanted: int
    got: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The chosen set.

    Attributes:
        outcome: The chosen pairs, and why others are not among them.
        shortfalls: Quotas that could not be met.
    """

    outcome: Outcome[Selected]
    shortfalls: tuple[Shortfall, ...]


def failed_gate(scores: QualityScores, thresholds: ThresholdsConfig) -> tuple[str, str] | None:
    """The first threshold that a pair does not meet, with the values; NaN fails none."""
    for name in (*AT_LEAST, *AT_MOST):
        limit, value = getattr(thresholds, name), getattr(scores, name)
        if limit is None or math.isnan(value):
            continue
        if (value < limit) if name in AT_LEAST else (value > limit):
            return name, f"{name} {value:.4f}, limit {limit:.4f}"
    return None


def not_measured(scores: QualityScores, thresholds: ThresholdsConfig) -> tuple[str, ...]:
    """The columns with a threshold that are NaN."""
    names = (*AT_LEAST, *AT_MOST)
    return tuple(n for n in names if getattr(thresholds, n) is not None and math.isnan(getattr(scores, n)))


def select(
    scores: Iterable[QualityScores],
    candidates: Mapping[str, Candidate],
    decisions: Mapping[str, str],
    config: SelectionConfig,
) -> Selection:
    """Choose the set.

    A kept pair skips thresholds and comes first; a rejected one never comes. Within a category the next pair is always
    the one whose kind, operation, replacement and picture were used least; among equals the better scores, then the id.

    Args:
        scores: All scored pairs.
        candidates: By id.
        decisions: `keep` or `reject` by pair id.
        config: Thresholds and quotas.

    Returns:
        The selection; every pair that is not in it has a rejection: "reviewer", "not reviewed", a column's name,
        "other draw", "near duplicate", "enough of this picture" or "quota full".
    """
    outcome: Outcome[Selected] = Outcome()
    passed: dict[Category, list[QualityScores]] = {category: [] for category in PAPER_CATEGORIES}
    for row in best_draws(_gated(scores, candidates, decisions, config, outcome), candidates, decisions, outcome):
        passed[candidates[row.candidate_id].category].append(row)
    shortfalls = []
    chosen: list[QualityScores] = []
    for category, rows in passed.items():
        quota = int(getattr(config.quotas, category.value))
        taken = _fill(rows, quota, chosen, candidates, decisions, config, outcome)
        chosen += taken
        if len(taken) < quota:
            shortfalls.append(Shortfall(category=category, wanted=quota, got=len(taken)))
    for number, row in enumerate(chosen):
        outcome.rows.append(
            Selected(
                sample_id=f"{number:04d}",
                pair_id=row.pair_id,
                candidate_id=row.candidate_id,
                category=candidates[row.candidate_id].category,
                reviewed=decisions.get(row.pair_id) == KEEP,
                not_measured=not_measured(row, config.thresholds),
            )
        )
    return Selection(outcome=outcome, shortfalls=tuple(shortfalls))


def _gated(
    scores: Iterable[QualityScores],
    candidates: Mapping[str, Candidate],
    decisions: Mapping[str, str],
    config: SelectionConfig,
    outcome: Outcome[Selected],
) -> list[QualityScores]:
    kept = []
    for row in scores:
        candidate, decision = candidates[row.candidate_id], decisions.get(row.pair_id)
        if decision == REJECT:
            outcome.reject(candidate, "select", "reviewer", "rejected on the review sheet", key=row.pair_id)
        elif decision == KEEP:
            kept.append(row)
        elif config.review_required:
            outcome.reject(candidate, "select", "not reviewed", "only kept pairs are taken", key=row.pair_id)
        elif (gate := failed_gate(row, config.thresholds)) is not None:
            outcome.reject(candidate, "select", gate[0], gate[1], key=row.pair_id)
        else:
            kept.append(row)
    return kept


def quality_order(row: QualityScores) -> tuple[float, ...]:
    """Sorts better pairs first: direction, new thing found, old thing gone, then a less visible edge."""
    return (
        -_known(row.clip_direction, 0.0),
        -_known(row.target_found, 0.0),
        _known(row.source_left, 0.0),
        row.seam_energy,
    )


def _known(value: float, otherwise: float) -> float:
    return otherwise if math.isnan(value) else value


def best_draws(
    rows: Sequence[QualityScores],
    candidates: Mapping[str, Candidate],
    decisions: Mapping[str, str],
    outcome: Outcome[Selected],
) -> list[QualityScores]:
    """The best draw of every candidate; the others are noted as "other draw"."""
    best: dict[str, QualityScores] = {}
    ordered = sorted(rows, key=lambda r: (decisions.get(r.pair_id) != KEEP, *quality_order(r), r.pair_id))
    for row in ordered:
        winner = best.setdefault(row.candidate_id, row)
        if winner is not row:
            candidate = candidates[row.candidate_id]
            outcome.reject(candidate, "select", "other draw", f"{winner.pair_id} is better", key=row.pair_id)
    return sorted(best.values(), key=lambda r: r.pair_id)


def _fill(
    rows: Sequence[QualityScores],
    quota: int,
    earlier: Sequence[QualityScores],
    candidates: Mapping[str, Candidate],
    decisions: Mapping[str, str],
    config: SelectionConfig,
    outcome: Outcome[Selected],
) -> list[QualityScores]:
    """The pairs of one category; one edit in another category's words, taken `earlier`, is a near duplicate too."""
    used: Counter[tuple[str, str]] = Counter()
    taken: list[QualityScores] = []
    left = list(rows)

    def order(row: QualityScores) -> tuple[object, ...]:
        traits = _traits(candidates[row.candidate_id])
        uses = sum(used[trait] for trait in traits)
        return (decisions.get(row.pair_id) != KEEP, uses, *quality_order(row), row.pair_id)

    while left and len(taken) < quota:
        row = min(left, key=order)
        left.remove(row)
        candidate = candidates[row.candidate_id]
        kept = decisions.get(row.pair_id) == KEEP
        twin = _near_duplicate(row, [*earlier, *taken], candidates, config)
        if twin is not None and not kept:
            outcome.reject(candidate, "select", "near duplicate", f"of {twin.pair_id}", key=row.pair_id)
            continue
        if used["picture", candidate.picture_id] >= config.per_source and not kept:
            detail = f"{config.per_source} pairs of it already"
            outcome.reject(candidate, "select", "enough of this picture", detail, key=row.pair_id)
            continue
        taken.append(row)
        used.update(_traits(candidate))
    for row in left:
        candidate = candidates[row.candidate_id]
        outcome.reject(candidate, "select", "quota full", f"{quota} pairs already", key=row.pair_id)
    return sorted(taken, key=lambda r: r.pair_id)


def _traits(candidate: Candidate) -> list[tuple[str, str]]:
    """What variety is counted by."""
    traits = [
        ("kind", candidate.kind),
        ("picture", candidate.picture_id),
        ("rule", f"{candidate.rule}/{candidate.operation}"),
    ]
    if candidate.replacement is not None:
        traits.append(("replacement", candidate.replacement))
    if candidate.clue is not None:
        traits.append(("clue", candidate.clue))
    return traits


def _near_duplicate(
    row: QualityScores,
    taken: Sequence[QualityScores],
    candidates: Mapping[str, Candidate],
    config: SelectionConfig,
) -> QualityScores | None:
    """A pair taken already whose source looks the same, whose thing is the same and whose target looks the same."""
    limit = config.thresholds.near_duplicate
    if limit is None:
        return None
    mine = candidates[row.candidate_id]
    for other in taken:
        theirs = candidates[other.candidate_id]
        if mine.kind != theirs.kind or mine.replacement != theirs.replacement:
            continue
        if hash_distance(row.source_hash, other.source_hash) > limit:
            continue
        if hash_distance(row.target_hash, other.target_hash) <= limit:
            return other
    return None
