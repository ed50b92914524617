"""The funnel: how many candidates reached each stage, and why the others did not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from reason_edit.schema import PAPER_CATEGORIES
from reason_edit.tables import read_rows
from smartedit.synthesis.records import Candidate
from smartedit.synthesis.run_folder import STAGES, RunFolder
from smartedit.synthesis.select import Selected


@dataclass(frozen=True, kw_only=True, slots=True)
class Level:
    """One level of the funnel.

    Attributes:
        stage: Its name.
        total: What reached it.
        by_category: The same by category; empty for pictures.
    """

    stage: str
    total: int
    by_category: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Funnel:
    """The whole funnel.

    Attributes:
        levels: Pictures, then candidates stage by stage (pairs from inpaint on), then the chosen set.
        reasons: `(stage, reason, count)`, most frequent first within a stage.
    """

    levels: tuple[Level, ...]
    reasons: tuple[tuple[str, str, int], ...]


def measure_funnel(folder: RunFolder) -> Funnel:
    """Count a run's tables.

    Args:
        folder: The run, all its stages done; selection may be missing.

    Returns:
        The funnel.
    """
    rows = folder.pictures()
    rejections = folder.all_rejections()
    refused = sum(r.stage == "intake" for r in rejections)
    candidates = {c.candidate_id: c for c in folder.all_rows("propose", Candidate)}
    levels = [_plain("picture files", len(rows) + refused), _plain("pictures", len(rows))]
    row_type: type[Any]
    for stage, row_type in STAGES.items():
        ids = [str(row.candidate_id) for row in folder.all_rows(stage, row_type)]
        levels.append(_level(stage, [candidates[i] for i in ids]))
    selected = folder.root / "selected.parquet"
    if selected.is_file():
        chosen = read_rows(selected, Selected)
        levels.append(_level("select", [candidates[s.candidate_id] for s in chosen]))
    order = ["intake", *STAGES, "select"]
    counts = Counter((r.stage, r.reason) for r in rejections)
    reasons = sorted(counts.items(), key=lambda item: (order.index(item[0][0]), -item[1], item[0][1]))
    return Funnel(levels=tuple(levels), reasons=tuple((s, reason, n) for (s, reason), n in reasons))


def _plain(stage: str, total: int) -> Level:
    return Level(stage=stage, total=total, by_category=())


def _level(stage: str, candidates: Sequence[Candidate]) -> Level:
    counts = Counter(c.category.value for c in candidates)
    by_category = tuple((c.value, counts[c.value]) for c in PAPER_CATEGORIES)
    return Level(stage=stage, total=len(candidates), by_category=by_category)


def funnel_markdown(funnel: Funnel) -> str:
    """The funnel as two Markdown tables."""
    names = [c.value for c in PAPER_CATEGORIES]
    lines = [f"| reached | all | {' | '.join(names)} |", f"|---|---:|{'---:|' * len(names)}"]
    for level in funnel.levels:
        counts = dict(level.by_category)
        cells = " | ".join(str(counts[name]) if counts else "" for name in names)
        lines.append(f"| {level.stage} | {level.total} | {cells} |")
    lines += ["", "| stage | ended because | count |", "|---|---|---:|"]
    lines += [f"| {stage} | {reason} | {count} |" for stage, reason, count in funnel.reasons]
    return "\n".join(lines) + "\n"
