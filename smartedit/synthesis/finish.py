"""After the shards: select, review, export; each made anew from the tables whenever it is asked for."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from reason_edit.tables import read_rows, write_rows
from smartedit.config.loading import ConfigError, parse_override, validated
from smartedit.config.synthesis import SelectionConfig
from smartedit.synthesis.records import Candidate, QualityScores, Rejection
from smartedit.synthesis.run_folder import STAGES, RunFolder, RunFolderError
from smartedit.synthesis.select import KEEP, REJECT, Selected, Selection, select


class ReviewError(ValueError):
    """A file of review decisions cannot be used; the message names the file and the entry."""


class QuotaError(ValueError):
    """Quotas could not be met; what there is has been kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What selection came to.

    Attributes:
        count: Pairs in the set.
        shortfalls: One sentence for each quota that was not met.
    """

    count: int
    shortfalls: tuple[str, ...]


def choose(root: Path, config: SelectionConfig | None = None) -> Chosen:
    """Select the set of a run from its scores and the reviewer's decisions.

    Args:
        root: The run folder, all shards done.
        config: Thresholds and quotas; None for the run's own.

    Returns:
        How many pairs were chosen, and which quotas fell short by how much.

    Raises:
        RunFolderError: A stage is not done yet.
        ReviewError: `decisions.json` is broken or speaks of pairs that do not exist.
    """
    folder = RunFolder(root)
    need_done(folder)
    candidates = {c.candidate_id: c for c in folder.all_rows("propose", Candidate)}
    scores = list(folder.all_rows("score", QualityScores))
    decisions = read_decisions(root / "decisions.json", {s.pair_id for s in scores})
    selection: Selection = select(scores, candidates, decisions, config or folder.settings().config.selection)
    write_rows(root / "selected.rejected.parquet", selection.outcome.rejections, Rejection)
    write_rows(root / "selected.parquet", selection.outcome.rows, Selected)
    sentences = tuple(
        f"{s.category.value}: {s.got} of {s.wanted}, {s.wanted - s.got} short" for s in selection.shortfalls
    )
    return Chosen(count=len(selection.outcome.rows), shortfalls=sentences)


def need_quotas(chosen: Chosen, *, allow_short: bool) -> None:
    """Speak up when quotas were not met.

    Raises:
        QuotaError: One was not, and that is not allowed; the set that there is has been kept.
    """
    if chosen.shortfalls and not allow_short:
        short = "; ".join(chosen.shortfalls)
        remedy = "give more pictures, lower selection.quotas, or allow a short set"
        raise QuotaError(f"quotas not met ({short}); kept the {chosen.count} samples that there are: {remedy}")


def change_selection(root: Path, overrides: Sequence[str]) -> None:
    """Change thresholds and quotas of a run; everything else of its settings stays.

    Args:
        root: The run folder.
        overrides: `thresholds.<column>=value`, `quotas.<category>=value` and the like.

    Raises:
        ConfigError: Unknown key or wrong value.
    """
    folder = RunFolder(root)
    settings = folder.settings()
    before = TypeAdapter(SelectionConfig).dump_python(settings.config.selection)
    for override in overrides:
        path, value = parse_override(override)
        node = before
        for part in path[:-1]:
            if not isinstance(node.get(part), dict):
                raise ConfigError(f"--set {override!r}: selection has no section {part!r}")
            node = node[part]
        node[path[-1]] = value
    selection = validated(SelectionConfig, before, "selection")
    folder.claim(replace(settings, config=replace(settings.config, selection=selection)))


def need_done(folder: RunFolder) -> None:
    """Check that all shards are done.

    Raises:
        RunFolderError: One is not.
    """
    shards = folder.shards()
    for stage in STAGES:
        for shard in range(shards):
            if not folder.is_done(stage, shard):
                raise RunFolderError(f"{folder.root}: {stage} has not done shard {shard}; finish the run first")


def read_decisions(path: Path, pair_ids: set[str]) -> dict[str, str]:
    """A reviewer's decisions: `{"<pair id>": "keep" or "reject"}`.

    Args:
        path: The file that the review sheet saves; none means no decisions.
        pair_ids: All scored pairs.

    Returns:
        Decisions by pair id.

    Raises:
        ReviewError: Broken JSON, another word, or an unknown pair.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReviewError(f"{path}: not a JSON file ({error})") from error
    if not isinstance(content, dict):
        raise ReviewError(f"{path}: expected a mapping from pair id to keep or reject")
    for pair_id, decision in content.items():
        if decision not in (KEEP, REJECT):
            raise ReviewError(f"{path}: {pair_id}: {decision!r} is neither {KEEP!r} nor {REJECT!r}")
        if pair_id not in pair_ids:
            raise ReviewError(f"{path}: {pair_id}: this run has no such pair; is the file from another run?")
    return content


def selected_rows(root: Path) -> list[Selected]:
    """The chosen set.

    Raises:
        RunFolderError: Nothing has been selected yet.
    """
    path = root / "selected.parquet"
    if not path.is_file():
        raise RunFolderError(f"{root}: nothing selected yet; run `smartedit synth select` first")
    return read_rows(path, Selected)
