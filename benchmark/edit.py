"""Runs methods over samples: pictures, and a record for every sample, also for those that failed."""

import io
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, PngImagePlugin

from benchmark.methods.calling import edit_requests
from benchmark.methods.memory import free_memory
from benchmark.methods.specs import FallibleEditor, Method, MethodError, Privileged, SampleError, Setting, Tag
from benchmark.provenance import changed_settings
from benchmark.records import EditRecord
from benchmark.runs import Run, RunError
from benchmark.standing import forget_scores
from reason_edit.files import file_sha256, sole_holder, write_bytes
from reason_edit.loading import ImageError, read_image, to_rgb
from reason_edit.schema import EditSample
from reason_edit.tables import read_rows, write_rows
from smartedit.editing import EditRequest, EditResult
from smartedit.seeding import seed_from

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with a method's label, the samples done and their total."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One of several parts of the samples, for several processes or machines.

    Attributes:
        index: From 1.
        count: How many parts there are.
    """

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read `i/n`.

        Raises:
            RunError: It is no such text, or i is not in 1..n.
        """
        index, _, count = text.partition("/")
        if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
            raise RunError(f"--shard {text}: write it as i/n with 1 <= i <= n, for example 1/4")
        return cls(index=int(index), count=int(count))


def edit_run(
    run: Run,
    methods: Sequence[Method],
    samples: Sequence[EditSample],
    *,
    device: str,
    seed: int = 0,
    batch_size: int = 8,
    shard: Shard | None = None,
    on_progress: Progress | None = None,
) -> list[EditRecord]:
    """Edit every sample by every method, one method in memory at a time.

    What a killed call has finished is kept: a batch whose pictures are all there is not made again, and an unfinished
    one is made again as a whole, so that its bytes do not depend on where the call before was killed. Samples that
    failed are tried again.

    Args:
        run: The run folder; its settings are written already.
        methods: The methods.
        samples: All samples of the run, also with `shard`.
        device: A torch device.
        seed: Of the run; a sample's seed follows from it and the sample's id alone.
        batch_size: Samples that go through a batched method together.
        shard: Which part of the batches to make.
        on_progress: Called after every batch.

    Returns:
        The records of this shard, one for each method and sample.

    Raises:
        MethodError: A method cannot be built.
        BusyError: Another process is at the same part of this run.
        RunError: Another process has given the label other settings.
    """
    shard = shard or Shard()
    records: list[EditRecord] = []
    for method in methods:
        with _lock(run.folder / f".edit-{method.label}-{shard.index}-of-{shard.count}.lock"):
            _check_settings(run, method)
            made = _edit_method(run, method, samples, device, seed, batch_size, shard, on_progress)
            write_rows(_part_path(run, method.label, shard), made, EditRecord)
        records += made
    with run.turn():
        merge_edits(run, samples)
    return records


def merge_edits(run: Run, samples: Sequence[EditSample]) -> list[EditRecord]:
    """Join the parts of all methods and shards into `edits.parquet`; scores on pictures that are gone go too.

    Args:
        run: The run folder.
        samples: All samples, for the order.

    Returns:
        All records, ordered by method and sample; where parts of several shard counts hold one sample, the one counts
        that tells of the picture that is there.
    """
    order = {s.sample_id: place for place, s in enumerate(samples)}
    labels = list(run.settings().get("methods", {}))
    found: dict[tuple[str, str], list[EditRecord]] = {}
    for path in sorted((run.folder / "edits").glob("*.parquet")):
        for record in read_rows(path, EditRecord):
            if record.image is not None and not (run.folder / record.image).is_file():
                continue  # of pictures that were taken away since
            found.setdefault((record.method, record.sample_id), []).append(record)
    told = [_of_the_picture(run, records) for records in found.values()]
    records = sorted(told, key=lambda r: (labels.index(r.method), order.get(r.sample_id, -1)))
    forget_scores(run, records)
    write_rows(run.edits_path, records, EditRecord)
    return records


def _of_the_picture(run: Run, records: Sequence[EditRecord]) -> EditRecord:
    """Of the records of one sample, the one that tells of the picture that is there; else the first one."""
    told = [record for record in records if record.image is not None] or records
    if len({record.image_sha256 for record in told}) > 1:
        sha256 = file_sha256(run.folder / str(told[0].image))
        told = [record for record in told if record.image_sha256 == sha256] or told
    return told[0]


def _part_path(run: Run, label: str, shard: Shard) -> Path:
    suffix = "" if shard.count == 1 else f".{shard.index}-of-{shard.count}"
    return run.folder / "edits" / f"{label}{suffix}.parquet"


def _lock(path: Path) -> AbstractContextManager[None]:
    """Hold a file so that no second process works on the same part."""
    return sole_holder(
        path, f"{path.parent}: another process is editing in this run, at the same method; wait, or use another --run"
    )


def _check_settings(run: Run, method: Method) -> None:
    """Another process may have mended the label's settings since the run was opened, while it had edited nothing."""
    with run.turn():
        written = run.settings().get("methods", {}).get(method.label)
    changed = [] if written is None else changed_settings(written, method.settings())
    if changed:
        raise RunError(
            f"{run.folder}: another process has just given {method.label} other settings ({', '.join(changed)}); use "
            "another --run, or a label of its own"
        )


def _edit_method(
    run: Run,
    method: Method,
    samples: Sequence[EditSample],
    device: str,
    seed: int,
    batch_size: int,
    shard: Shard,
    on_progress: Progress | None,
) -> list[EditRecord]:
    """All batches of one method; it is built only when there is something to do."""
    size = batch_size if method.spec.batched else 1
    batches = [samples[k : k + size] for k in range(0, len(samples), size)][shard.index - 1 :: shard.count]
    total = sum(len(b) for b in batches)
    built: FallibleEditor | Privileged | None = None
    records: list[EditRecord] = []
    for batch in batches:
        there = {s.sample_id for s in batch if run.image_path(method.label, s.sample_id).is_file()}
        if len(there) < len(batch) and method.spec.whole_batches:
            there = set()
        todo = [s for s in batch if s.sample_id not in there]
        made = {s.sample_id: _record(run, method.label, s, _seed(seed, s)) for s in batch if s.sample_id in there}
        if todo:
            if built is None:
                built = method.build(Setting(device=device, samples=samples))
            start = time.perf_counter()
            edited = _edit_batch(run, method, built, todo, [_seed(seed, s) for s in todo])
            made |= {record.sample_id: record for record in edited}
            run.log("edited", method=method.label, samples=len(todo), seconds=round(time.perf_counter() - start, 3))
        records += [made[s.sample_id] for s in batch]
        if on_progress is not None:
            on_progress(method.label, len(records), total)
    if built is not None:
        del built
        free_memory()
    return records


def _seed(seed: int, sample: EditSample) -> int:
    """A sample's seed, from the run's and the sample's id alone."""
    return seed_from("edit", seed, sample.sample_id)


def _edit_batch(
    run: Run, method: Method, built: FallibleEditor | Privileged, batch: Sequence[EditSample], seeds: Sequence[int]
) -> list[EditRecord]:
    results = _results(method, built, batch, seeds)
    records = []
    for sample, seed, result in zip(batch, seeds, results, strict=True):
        path = run.image_path(method.label, sample.sample_id)
        made = _png(result) if isinstance(result, EditResult) else result
        if isinstance(made, bytes):
            write_bytes(path, made)
            records.append(_record(run, method.label, sample, seed))
        else:
            path.unlink(missing_ok=True)
            logger.warning("%s: %s: %s", method.label, sample.sample_id, made)
            records.append(_failure(method.label, sample, seed, made))
    return records


def _results(
    method: Method, built: FallibleEditor | Privileged, batch: Sequence[EditSample], seeds: Sequence[int]
) -> list[EditResult | str]:
    """A result or an error's text for each sample."""
    if Tag.DIRECT not in method.spec.tags:
        return [_privileged(built, sample) for sample in batch]  # type: ignore[arg-type]
    requests: dict[int, EditRequest] = {}
    results: dict[int, EditResult | str] = {}
    for place, (sample, seed) in enumerate(zip(batch, seeds, strict=True)):
        try:
            requests[place] = EditRequest(image=read_image(sample.image), instruction=sample.instruction, seed=seed)
        except ImageError as error:
            results[place] = str(error)
    if requests:
        made = edit_requests(method.label, built, list(requests.values()))  # type: ignore[arg-type]
        results.update(zip(requests, made, strict=True))
    return [results[place] for place in range(len(batch))]


def _privileged(built: Privileged, sample: EditSample) -> EditResult | str:
    try:
        return built.make(sample)
    except (SampleError, ImageError) as error:
        return str(error)


def _png(result: EditResult) -> bytes | str:
    """The picture as RGB PNG without metadata, or why there is none; whatever is wrong with it is its sample's.

    What the model said goes along as text, so that a resumed run has it.
    """
    if not isinstance(result.response, str | None):
        return f"the editor returned a response of type {type(result.response).__name__}; it must be a text or None"
    try:
        notes = PngImagePlugin.PngInfo()
        if result.response is not None:
            notes.add_itxt("response", result.response)
        image = to_rgb(result.image)  # here a picture is decoded that an editor only opened
        image.info.clear()
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", pnginfo=notes)
    except Exception as error:  # noqa: BLE001
        return f"the editor's result cannot be written as PNG: {type(error).__name__}: {error}"
    return buffer.getvalue()


def _record(run: Run, label: str, sample: EditSample, seed: int) -> EditRecord:
    path = run.image_path(label, sample.sample_id)
    with Image.open(path) as image:
        response = image.info.get("response")
    return EditRecord(
        method=label,
        sample_id=sample.sample_id,
        image=path.relative_to(run.folder).as_posix(),
        image_sha256=file_sha256(path),
        seed=seed,
        response=str(response) if response is not None else None,
        error=None,
    )


def _failure(label: str, sample: EditSample, seed: int, error: str) -> EditRecord:
    return EditRecord(
        method=label, sample_id=sample.sample_id, image=None, image_sha256=None, seed=seed, response=None, error=error
    )


__all__ = ["MethodError", "Shard", "edit_run", "merge_edits"]
