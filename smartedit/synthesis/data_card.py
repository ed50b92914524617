"""The data card: what the set holds, where it is from, what was asked of it and what did not make it."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from smartedit.config.synthesis import SynthesisConfig
from smartedit.hub import model_revision
from smartedit.synthesis.environment import environment
from smartedit.synthesis.funnel import funnel_markdown, measure_funnel
from smartedit.synthesis.run_folder import RunFolder

if TYPE_CHECKING:
    from smartedit.synthesis.export import SyntheticSample


def data_card(folder: RunFolder, samples: "Sequence[SyntheticSample]") -> str:
    """The Markdown text of `DATA_CARD.md`.

    Args:
        folder: The run.
        samples: The set.

    Returns:
        Counts, licences, tools and their revisions, thresholds, coverage of measurements and the funnel.
    """
    config = folder.settings().config
    categories = Counter(s.category.value for s in samples)
    parts = [
        "# Data card: synthetic editing pairs",
        f"{len(samples)} samples; each is a source picture, a target picture, a mask and several instructions that "
        "point at it. Made with smartedit after section 4.3 of SmartEdit (Huang et al., CVPR 2024), whose own 476 "
        "pairs come without masks linked to instructions and whose instruction writing is not described.",
        "## Counts",
        _table(("category", "samples"), categories.items()),
        _table(("operation", "samples"), Counter(s.operation.value for s in samples).items()),
        f"{len({s.kind for s in samples})} kinds of things, {len({s.original_sha256 for s in samples})} source "
        f"pictures, {len({s.clue for s in samples if s.clue})} clues, "
        f"{sum(len(s.instructions) for s in samples)} instructions; "
        f"{sum(s.reviewed for s in samples)} samples were kept by a reviewer.",
        "## Licences of the source pictures",
        _table(("licence", "samples"), Counter(s.license for s in samples).items()),
        _exemplar_licences(folder),
        "## Tools",
        _table(("part", "tool", "weights"), _tools(config)),
        _table(("package", "version"), _versions(folder).items()),
        "## Thresholds",
        _thresholds(config, samples),
        "## Funnel",
        "Every candidate that ended on the way has a row with its reason in `rejections.parquet`. Counts from "
        "`inpaint` on are pairs (several draws a candidate), except `instruct`, which counts candidates.",
        funnel_markdown(measure_funnel(folder)),
    ]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def _table(header: Sequence[str], rows: object) -> str:
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    lines += [f"| {' | '.join(str(cell) for cell in row)} |" for row in rows]  # type: ignore[attr-defined]
    return "\n".join(lines)


def _exemplar_licences(folder: RunFolder) -> str:
    counts = Counter(e.license for e in folder.exemplars())
    if not counts:
        return ""
    listed = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
    return f"Cut-outs that replacements were made of: {listed}."


def _versions(folder: RunFolder) -> dict[str, str]:
    """The versions that the run began with, and after an arrow those that it was finished with, where they differ."""
    path = folder.root / "environment.json"
    began: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    now = environment()
    both = {name: (began.get(name, "not there"), now.get(name, "not there")) for name in {**began, **now}}
    return {name: then if then == late else f"{then} -> {late}" for name, (then, late) in both.items()}


def _tools(config: SynthesisConfig) -> list[tuple[str, str, str]]:
    scorer = config.scorer
    rows: list[tuple[str, str, str | None]] = [
        ("grounder", config.grounder.name, config.grounder.model),
        ("segmenter", config.segmenter.name, config.segmenter.model),
        ("replacer", config.replacer.name, config.replacer.model),
        ("remover", config.remover.name, config.remover.model),
        ("writer", config.writer.name, config.writer.model),
        ("scorer", "clip" if scorer.clip else "none", scorer.clip),
    ]
    again = scorer.regrounder
    rows.append(("regrounder", again.name if again else "none", again.model if again else None))
    return [
        (part, f"{name} ({model})" if model else name, _weights(name, model) if model else "none")
        for part, name, model in rows
    ]


def _weights(name: str, model: str) -> str:
    """A server's model is a name and nothing that could be hashed."""
    return "unknown" if name == "endpoint" else model_revision(model)


def _thresholds(config: SynthesisConfig, samples: "Sequence[SyntheticSample]") -> str:
    rows = []
    limits = config.selection.thresholds
    for name in type(limits).__dataclass_fields__:
        limit = getattr(limits, name)
        if name == "near_duplicate":
            rows.append((name, limit, ""))
            continue
        measured = sum(not math.isnan(getattr(s.scores, name)) for s in samples)
        rows.append((name, "none" if limit is None else limit, f"{measured}/{len(samples)}"))
    return _table(("column", "limit", "measured"), rows)
