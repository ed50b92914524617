"""Edits scored under a protocol; finished batches are kept by content, so a killed run resumes to the same bytes."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmark.batches import BatchScorer, EditBatch, SourceBatch, SourceFiles, Value
from benchmark.finished_batches import Measured, read_finished
from benchmark.metrics.pictures import PictureError, PictureFile, read_file
from benchmark.networks import Networks, Unavailable, find_networks
from benchmark.pairing import PairedSample, mispaired, pair_masks
from benchmark.protocols import METRICS, Pairing, Protocol, protocol_named
from benchmark.records import EditRecord, Score, Unscored
from benchmark.runs import Run
from reason_edit.files import sweep_unfinished, write_text
from reason_edit.schema import EditSample
from reason_edit.tables import write_rows

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of edits scored so far, and of all."""


class ScoreError(ValueError):
    """A run's edits cannot be scored as they are."""


def score_run(
    run: Run,
    protocol: Protocol,
    *,
    clip_model: str | None = None,
    lpips_backbone: str | None = None,
    device: str = "auto",
    batch_size: int = 16,
    pairing: Pairing = "id",
    workers: int = 2,
    progress: Progress | None = None,
) -> Protocol:
    """Score all edits of a run and write `scores.parquet` and `unscored.parquet`.

    Every method and sample gets one row of every metric; what cannot be measured is NaN with a reason. Rows of other
    protocols are kept. Finished batches lie under `RUN/scores/PROTOCOL/METHOD/` and are used again while the files,
    labels, networks and definitions behind them stay the same.

    Args:
        run: The run folder, with its samples and edits.
        protocol: How to score.
        clip_model: See `benchmark.networks.find_networks`.
        lpips_backbone: See `benchmark.networks.find_networks`.
        device: "auto" (cuda, mps, cpu) or a torch device.
        batch_size: Samples in a batch; batches follow the samples' order.
        pairing: "positional" scores under `smartedit-v1-positional`, which pairs masks as the authors' script does.
        workers: Threads that decode pictures and measure what needs no network.
        progress: Told after every batch.

    Returns:
        The protocol whose name the rows carry.

    Raises:
        ScoreError: The edits do not fit the samples, or a file changed since it was edited.
        NetworkError: A network that was named cannot be had.
        ProtocolError: The protocol has no such pairing.
    """
    if pairing != "id":
        protocol = protocol_named(protocol.name, pairing)
    networks = find_networks(protocol, clip_model=clip_model, lpips_backbone=lpips_backbone, device=device)
    return score_with(run, protocol, networks, batch_size=batch_size, workers=workers, progress=progress)


def score_with(
    run: Run,
    protocol: Protocol,
    networks: Networks,
    *,
    batch_size: int = 16,
    workers: int = 2,
    progress: Progress | None = None,
) -> Protocol:
    """Score all edits of a run with networks found before; see `score_run`."""
    samples = run.samples()
    edits = _edits_by_key(run, samples)
    methods = list(dict.fromkeys(record.method for record in run.edits()))
    folder = run.folder / "scores" / protocol.name
    sweep_unfinished(run.folder)
    described = _describe(protocol, networks, samples)
    rows: list[Measured] = []
    total = len(samples) * len(methods)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        scorer = BatchScorer(protocol, networks, pool)
        items = pair_masks(samples, protocol.pairing)
        batches = [items[i : i + batch_size] for i in range(0, len(items), batch_size)]
        for done in _scored(run, scorer, batches, methods, edits, folder):
            rows += done
            if progress is not None:
                progress(len(rows) // len(METRICS), total)
    with run.turn():
        _write(run, protocol, rows)
        write_text(folder / "protocol.json", described)
    return protocol


@dataclass(slots=True)
class _Unit:
    """One method's share of a batch: its key, and the rows if they were finished before."""

    method: str
    items: Sequence[PairedSample]
    path: Path
    key: str
    rows: list[Measured] | None
    pending: EditBatch | None = None


def _scored(
    run: Run,
    scorer: BatchScorer,
    batches: Sequence[Sequence[PairedSample]],
    methods: Sequence[str],
    edits: dict[tuple[str, str], EditRecord],
    folder: Path,
) -> Iterator[list[Measured]]:
    """The rows of each unit in order; the next unit's pictures are decoded while the networks work on this one."""
    ahead: _Unit | None = None
    for items in batches:
        source = SourceBatch(files=[_source_files(item) for item in items])
        for method in methods:
            pictures = [_edited_file(run, edits.get((method, item.sample.sample_id))) for item in items]
            unit = _unit(scorer, method, items, source, pictures, folder)
            if unit.rows is None:
                unit.pending = scorer.start(source, pictures)
            if ahead is not None:
                yield _finished(scorer, ahead)
            ahead = unit
    if ahead is not None:
        yield _finished(scorer, ahead)


def _unit(
    scorer: BatchScorer,
    method: str,
    items: Sequence[PairedSample],
    source: SourceBatch,
    pictures: Sequence[PictureFile | str],
    folder: Path,
) -> _Unit:
    networks = (scorer.networks.clip, scorer.networks.lpips)
    content = {
        "method": method,
        "protocol": scorer.protocol.definition(),
        "networks": [n.reason if isinstance(n, Unavailable) else n.sha256 for n in networks],
        "rows": [
            [
                item.sample.sample_id,
                files if isinstance(files, str) else [files.image.sha256, files.mask.sha256, files.label],
                picture if isinstance(picture, str) else picture.sha256,
            ]
            for item, files, picture in zip(items, source.files, pictures, strict=True)
        ],
    }
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path = folder / method / f"{key[:32]}.parquet"
    return _Unit(method=method, items=items, path=path, key=key, rows=read_finished(path, len(items)))


def _finished(scorer: BatchScorer, unit: _Unit) -> list[Measured]:
    if unit.rows is not None:
        return unit.rows
    assert unit.pending is not None
    measured = scorer.finish(unit.pending)
    rows = [
        _row(unit.method, item.sample, scorer.protocol, name, value)
        for item, values in zip(unit.items, measured, strict=True)
        for name, value in values.items()
    ]
    write_rows(unit.path, rows, Measured)
    return rows


def _row(method: str, sample: EditSample, protocol: Protocol, metric: str, value: Value) -> Measured:
    return Measured(
        method=method,
        sample_id=sample.sample_id,
        protocol=protocol.name,
        metric=metric,
        value=value.value,
        reason=value.reason,
    )


def _source_files(item: PairedSample) -> SourceFiles | str:
    try:
        return SourceFiles(
            image=read_file(item.sample.image), mask=read_file(item.mask), label=item.sample.target_label
        )
    except PictureError as error:
        return f"no source to compare with: {error}"


def _edited_file(run: Run, record: EditRecord | None) -> PictureFile | str:
    """An edit's bytes, or why there are none.

    Raises:
        ScoreError: The file is gone, or another than was recorded.
    """
    if record is None:
        return "no edited picture: not edited yet (no row in edits.parquet)"
    if record.image is None:
        return f"no edited picture: {record.error or 'no reason was recorded'}"
    try:
        file = read_file(run.folder / record.image)
    except PictureError as error:
        raise ScoreError(f"{error}; run `smartedit-bench edit` again") from error
    if record.image_sha256 is not None and record.image_sha256 != file.sha256:
        raise ScoreError(f"{file.path}: not the picture that edits.parquet records; run `smartedit-bench edit` again")
    return file


def _edits_by_key(run: Run, samples: Sequence[EditSample]) -> dict[tuple[str, str], EditRecord]:
    """The edit records by method and sample id.

    Raises:
        ScoreError: A record is there twice, or belongs to no sample.
    """
    known = {s.sample_id for s in samples}
    edits: dict[tuple[str, str], EditRecord] = {}
    for record in run.edits():
        key = (record.method, record.sample_id)
        if key in edits:
            raise ScoreError(f"{run.edits_path}: two rows for {record.method} on {record.sample_id}")
        if record.sample_id not in known:
            raise ScoreError(
                f"{run.edits_path}: {record.method} has {record.sample_id}, which is no sample of this run"
            )
        edits[key] = record
    return edits


def _describe(protocol: Protocol, networks: Networks, samples: Sequence[EditSample]) -> str:
    """What the scores rest on, as JSON: definition, networks and their hashes, masks that the script would swap."""
    differing = mispaired(samples)
    if differing and protocol.name == "smartedit-v1":
        logger.warning(
            "the authors' script gives %d samples another sample's mask, e.g. %s gets %s; here masks are paired "
            "by id (--pairing positional does as the script does)",
            len(differing),
            *next(iter(differing.items())),
        )
    described = {
        "definition": json.loads(protocol.definition()),
        "networks": {
            kind: {"reason": n.reason} if isinstance(n, Unavailable) else {"name": n.name, "sha256": n.sha256}
            for kind, n in (("clip", networks.clip), ("lpips", networks.lpips))
        },
        "summary": protocol.summary,
        "masks_that_the_script_swaps": differing,
    }
    return json.dumps(described, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _write(run: Run, protocol: Protocol, rows: Sequence[Measured]) -> None:
    """Put the rows in place of this protocol's older ones, and keep all others."""
    scores = [s for s in run.scores() if not _replaced(s, protocol)] if run.scores_path.is_file() else []
    unscored = [u for u in run.unscored() if not _replaced(u, protocol)]
    for row in rows:
        key = {"method": row.method, "sample_id": row.sample_id, "protocol": row.protocol, "metric": row.metric}
        scores.append(Score(**key, value=row.value))
        if row.reason is not None:
            unscored.append(Unscored(**key, reason=row.reason))
    run.write_scores(scores, unscored)


def _replaced(row: Score | Unscored, protocol: Protocol) -> bool:
    return row.protocol == protocol.name and row.metric in METRICS
