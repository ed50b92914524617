"""What stands behind Ins-align and judges in a report: raters, judges, their agreement, and intervals over both."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmark.comparison import Comparison
from benchmark.human_ratings import METRIC as INS_ALIGN
from benchmark.records import Score
from benchmark.report.columns import JUDGE_PREFIX, is_opinion
from benchmark.runs import Run
from benchmark.statistics import Summary
from reason_edit.rating.ins_align import PROTOCOL as HUMAN

Key = tuple[str, str, str, str]


def with_people_intervals(run: Run, summaries: Mapping[Key, Summary]) -> dict[Key, Summary]:
    """Give Ins-align the intervals of `rate aggregate`, which are over samples and raters.

    Resampling samples alone would hide how much the raters differ. Without `ins_align.json` there is no interval.

    Args:
        run: The run folder.
        summaries: The report's summaries.

    Returns:
        The same, with those of Ins-align replaced.
    """
    told = _read(run, "ins_align.json").get("summaries", [])
    known = {(s["method"], s["group"]): (s["low"], s["high"]) for s in told}
    found = dict(summaries)
    for key, summary in summaries.items():
        if summary.metric == INS_ALIGN:
            low, high = _ends(known.get((summary.method, summary.group)))
            found[key] = replace(summary, low=low, high=high, macro_low=math.nan, macro_high=math.nan)
    return found


def with_people_differences(runs: Iterable[Run], comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Give differences in Ins-align the intervals of `rate aggregate`, which are over samples and raters.

    Args:
        runs: The run folders; methods of two studies have no interval, and neither have groups that people's tests
            leave out.
        comparisons: Of any metric.

    Returns:
        The same, with those of Ins-align replaced.
    """
    known: dict[tuple[str, str, str], tuple[float, float]] = {}
    for told in (t for run in runs for t in _read(run, "ins_align.json").get("comparisons", [])):
        group, first, second = told["group"], told["first"], told["second"]
        low, high = _ends((told["low"], told["high"]))
        known |= {(group, first, second): (low, high), (group, second, first): (-high, -low)}

    def with_people(c: Comparison) -> Comparison:
        low, high = known.get((c.group, c.first, c.second), (math.nan, math.nan))
        return replace(c, low=low, high=high)

    return [with_people(c) if c.metric == INS_ALIGN else c for c in comparisons]


def _ends(told: tuple[float | None, float | None] | None) -> tuple[float, float]:
    """An interval as numbers; NaN where none is told."""
    low, high = (math.nan if end is None else float(end) for end in told or (None, None))
    return low, high


def opinion_notes(run: Run, scores: Sequence[Score]) -> tuple[tuple[str, str], ...]:
    """Who stands behind the opinions: raters and their agreement, judges and their agreement with people.

    Args:
        run: The run folder.
        scores: Its scores.

    Returns:
        The metric and a sentence or two, for each opinion among the scores.
    """
    metrics = sorted({s.metric for s in scores if is_opinion(s.metric)})
    return tuple((m, _people(run) if m == INS_ALIGN else _judge(run, m.removeprefix(JUDGE_PREFIX))) for m in metrics)


def _people(run: Run) -> str:
    told = _read(run, "ins_align.json")
    if not told:
        return f"Ins-align: people's ratings under {HUMAN}."
    agreement = told["agreement"]
    named = [p["rater"] for p in told["profiles"] if p["concerns"]]
    far = f" Far from the rest, and counted: {', '.join(named)}." if named else ""
    alpha = _estimate(agreement["alpha"], agreement["alpha_low"], agreement["alpha_high"])
    return (
        f"Ins-align: {len(told['raters'])} raters under {told['protocol']}{_without(told)}; intervals over samples and "
        f"raters; Krippendorff's alpha {alpha}.{far}"
    )


def _judge(run: Run, name: str) -> str:
    about = _read(run, f"judges/{name}.json")
    said = f"judge {name}: {about.get('model', 'unknown model')} under {about.get('protocol', 'unknown protocol')}; "
    agreement = _read(run, f"judges/{name}.agreement.json")
    parts = agreement.get("parts", [])
    if not parts:
        return f"{said}agreement with people not measured. Not Ins-align."
    numbers = ", ".join(f"{k} {_estimate(*(parts[0][k][e] for e in ('value', 'low', 'high')))}" for k in KINDS)
    return f"{said}against people on {parts[0]['edits']} edits{_without(agreement)}: {numbers}. Not Ins-align."


def _without(told: dict[str, Any]) -> str:
    """Who was left out."""
    names = told.get("without", [])
    return f", without {', '.join(names)} on request" if names else ""


KINDS = ("accuracy", "kappa", "bias")


def _estimate(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "unknown"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _read(run: Run, name: str) -> dict[str, Any]:
    path = run.folder / name
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content
