"""The stages in order: plain functions on a run folder, which a flow, a command or a test calls alike."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reason_edit.files import file_sha256, write_text
from reason_edit.tables import write_rows
from smartedit.config.synthesis import GrounderConfig, InpainterConfig, SynthesisConfig
from smartedit.synthesis.environment import environment
from smartedit.synthesis.exemplars import cut_out_exemplars, exemplars_of_folder
from smartedit.synthesis.ground import ground
from smartedit.synthesis.inpaint import inpaint
from smartedit.synthesis.instruct import instruct
from smartedit.synthesis.intake import PictureFolderError, take_in
from smartedit.synthesis.inventory import counts_of_kinds, invented_clues
from smartedit.synthesis.knowledge import read_knowledge
from smartedit.synthesis.propose import propose
from smartedit.synthesis.records import (
    Candidate,
    EditedPair,
    Exemplar,
    Grounding,
    Instructions,
    PictureRow,
    Region,
    Rejection,
)
from smartedit.synthesis.run_folder import STAGES, RunFolder, RunSettings
from smartedit.synthesis.score import score
from smartedit.synthesis.segment import segment
from smartedit.synthesis.stage import Outcome, Pictures
from smartedit.synthesis.toolbox import Toolbox, ground_truth, toolbox
from smartedit.tools.annotations import read_coco
from smartedit.tools.build import check_tools

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardReport:
    """What a stage did to a shard.

    Attributes:
        stage: The stage.
        shard: The shard.
        rows: Rows that it wrote.
        rejections: Rejections that it wrote.
        seconds: Time that it took; 0 when it was done before.
        resumed: Whether it was done before.
    """

    stage: str
    shard: int
    rows: int
    rejections: int
    seconds: float
    resumed: bool


def prepare(pictures: Path, root: Path, config: SynthesisConfig) -> int:
    """Start or resume a run: claim the folder, take pictures in, cut exemplars out.

    Args:
        pictures: The folder of pictures.
        root: The run folder.
        config: The configuration.

    Returns:
        How many shards there are to work on.

    Raises:
        ValueError: The folder, the annotations, a table or a tool cannot be used, or no picture could be taken in; the
            message says what to do.
    """
    folder = RunFolder(root)
    config = with_absolute_paths(config)
    # Before the folder is claimed: a slip of the pen must not cost its name.
    if not pictures.is_dir():
        raise PictureFolderError(f"{pictures}: there is no such folder of pictures")
    annotated = read_coco(config.pictures.annotations) if config.pictures.annotations else None
    read_knowledge(config.proposals.knowledge)
    check_tools(config)
    folder.claim(RunSettings(pictures=str(pictures.resolve()), config=config, inputs=_digests(config)))
    if not (root / "environment.json").is_file():
        write_text(root / "environment.json", json.dumps(environment(), indent=1) + "\n")
    if not (root / "pictures.parquet").is_file():
        rows, rejections = take_in(pictures, root, config.pictures, annotated)
        write_rows(root / "intake.rejected.parquet", rejections, Rejection)
        if not rows:
            raise PictureFolderError(f"{pictures}: {_why_none(rejections)}")
        write_rows(root / "pictures.parquet", rows, PictureRow)
    if not (root / "exemplars.parquet").is_file():
        write_rows(root / "exemplars.parquet", _exemplars(folder, config), Exemplar)
    return folder.shards()


def with_absolute_paths(config: SynthesisConfig) -> SynthesisConfig:
    """The configuration with its files named absolutely, for workers that stand in another folder."""

    def absolute(path: str | None) -> str | None:
        return None if path is None else str(Path(path).resolve())

    def local(name: str | None) -> str | None:
        """A model's folder or file; a hub's name stays one."""
        return absolute(name) if name is not None and Path(name).exists() else name

    def of_grounder(grounder: GrounderConfig) -> GrounderConfig:
        return replace(
            grounder,
            model=local(grounder.model),
            model_config=local(grounder.model_config),
            text_encoder=local(grounder.text_encoder),
        )

    def of_inpainter(inpainter: InpainterConfig) -> InpainterConfig:
        return replace(inpainter, model=local(inpainter.model), bank=absolute(inpainter.bank))

    pictures, proposals, scorer, writer = config.pictures, config.proposals, config.scorer, config.writer
    if proposals.knowledge.endswith(".toml"):
        proposals = replace(proposals, knowledge=str(Path(proposals.knowledge).resolve()))
    return replace(
        config,
        pictures=replace(pictures, annotations=absolute(pictures.annotations)),
        proposals=proposals,
        grounder=of_grounder(config.grounder),
        segmenter=replace(config.segmenter, model=local(config.segmenter.model)),
        replacer=of_inpainter(config.replacer),
        remover=of_inpainter(config.remover),
        writer=replace(writer, model=local(writer.model), cache=absolute(writer.cache)),
        scorer=replace(
            scorer,
            clip=local(scorer.clip),
            regrounder=None if scorer.regrounder is None else of_grounder(scorer.regrounder),
        ),
    )


def _digests(config: SynthesisConfig) -> dict[str, str]:
    """Hashes of what the user may change between two calls: a run is made of one content."""
    files = {"annotations": config.pictures.annotations}
    if config.proposals.knowledge.endswith(".toml"):
        files["knowledge"] = config.proposals.knowledge
    return {name: file_sha256(Path(path)) for name, path in files.items() if path is not None}


def _why_none(rejections: Sequence[Rejection]) -> str:
    reasons = Counter(r.reason for r in rejections).most_common()
    counted = ", ".join(f"{count} {reason}" for reason, count in reasons)
    example = next(r for r in rejections if r.reason == reasons[0][0])
    return (
        f"no picture could be taken in: {counted} ({example.key}: {example.detail}); give pictures and a "
        "pictures.annotations file that belong together, or change pictures.min_side or pictures.max_megapixels; the "
        "run folder can be used again"
    )


def _exemplars(folder: RunFolder, config: SynthesisConfig) -> list[Exemplar]:
    if config.replacer.name != "exemplar":
        return []
    if config.replacer.bank is not None:
        return exemplars_of_folder(Path(config.replacer.bank))
    truth = ground_truth(folder)
    return cut_out_exemplars(folder.pictures(), truth, folder.root, config) if truth else []


def work(root: Path, stage: str, shard: int) -> ShardReport:
    """Do one stage of one shard, unless it is done: the task that flows submit.

    Args:
        root: The run folder.
        stage: A key of `STAGES`; the stages before it must be done for the shard.
        shard: From 0.

    Returns:
        What was done.

    Raises:
        ToolUnavailable: A tool cannot work at all.
        OSError: The disk is full, or a file of the run is gone.
    """
    folder = RunFolder(root)
    if folder.is_done(stage, shard):
        return ShardReport(stage=stage, shard=shard, rows=0, rejections=0, seconds=0.0, resumed=True)
    tools = toolbox(root)
    # A model serves one thread at a time; other stages go on meanwhile.
    with tools.lock(stage):
        start = time.perf_counter()
        outcome = _WORK[stage](folder, shard, tools)
    folder.write_outcome(stage, shard, outcome)
    seconds = time.perf_counter() - start
    logger.info(
        "%s %05d: %d rows, %d rejected, %.2f s", stage, shard, len(outcome.rows), len(outcome.rejections), seconds
    )
    return ShardReport(
        stage=stage,
        shard=shard,
        rows=len(outcome.rows),
        rejections=len(outcome.rejections),
        seconds=seconds,
        resumed=False,
    )


def _propose(folder: RunFolder, shard: int, tools: Toolbox) -> Outcome[Candidate]:
    outcome: Outcome[Candidate] = Outcome()
    config, rows = tools.config, folder.shard_pictures(shard)
    for row, counts in zip(rows, counts_of_kinds(folder, rows, tools, outcome), strict=True):
        if counts is None:
            continue
        candidates, rejections = propose(
            row.picture_id,
            counts,
            tools.knowledge,
            config.proposals,
            available=tools.available(),
            extra_clues=invented_clues(counts, tools, outcome, row.picture_id),
            clue_origin=config.writer.model or config.writer.name,
        )
        outcome.rows.extend(candidates)
        outcome.rejections.extend(rejections)
    return outcome


def _candidates(folder: RunFolder, shard: int) -> dict[str, Candidate]:
    return {c.candidate_id: c for c in folder.rows("propose", shard, Candidate)}


def _pictures(folder: RunFolder, shard: int) -> Pictures:
    return Pictures(folder.root, folder.shard_pictures(shard))


def _ground(folder: RunFolder, shard: int, tools: Toolbox) -> Outcome[Grounding]:
    return ground(
        folder.rows("propose", shard, Candidate),
        _pictures(folder, shard),
        tools.grounder(tools.config.grounder),
        tools.segmenter(),
        tools.knowledge,
        tools.config,
    )


def _segment(folder: RunFolder, shard: int, tools: Toolbox) -> Outcome[Region]:
    return segment(
        folder.rows("ground", shard, Grounding),
        _candidates(folder, shard),
        _pictures(folder, shard),
        tools.segmenter(),
        folder.root,
        tools.config,
    )


def _inpaint(folder: RunFolder, shard: int, tools: Toolbox) -> Outcome[EditedPair]:
    return inpaint(
        folder.rows("segment", shard, Region),
        {g.candidate_id: g for g in folder.rows("ground", shard, Grounding)},
        _candidates(folder, shard),
        _pictures(folder, shard),
        tools.inpainter(tools.config.replacer),
        tools.inpainter(tools.config.remover),
        tools.knowledge,
        folder.root,
        tools.config,
    )


def _instruct(folder: RunFolder, shard: int, tools: Toolbox) -> Outcome[Instructions]:
    made = {pair.candidate_id for pair in folder.rows("inpaint", shard, EditedPair)}
    groundings = [g for g in folder.rows("ground", shard, Grounding) if g.candidate_id in made]
    return instruct(groundings, _candidates(folder, shard), tools.writer(), tools.knowledge, tools.config)


def _score(folder: RunFolder, shard: int, tools: Toolbox) -> Outcome[Any]:
    return score(
        folder.rows("inpaint", shard, EditedPair),
        _candidates(folder, shard),
        {r.candidate_id: r for r in folder.rows("segment", shard, Region)},
        {i.candidate_id: i for i in folder.rows("instruct", shard, Instructions)},
        _pictures(folder, shard),
        tools.scorer(),
        tools.regrounder(),
        folder.root,
        tools.config,
    )


_WORK: dict[str, Callable[[RunFolder, int, Toolbox], Outcome[Any]]] = {
    "propose": _propose,
    "ground": _ground,
    "segment": _segment,
    "inpaint": _inpaint,
    "instruct": _instruct,
    "score": _score,
}
assert list(_WORK) == list(STAGES)
