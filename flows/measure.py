"""Flow `benchmark`: editors over Reason-Edit, one task a method and shard, then merged, scored and reported.

The tasks are the functions behind `smartedit-bench`; this file only orders them, and its runs hold the same bytes. It
is not called `benchmark.py`, as Prefect loads a flow's file under its own name, and that is the package's.
"""

import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

import flows.quiet  # noqa: F401  (Prefect reads its settings when it is imported)

# isort: split
from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from benchmark.commands.data_sets import find_samples
from benchmark.edit import Shard, edit_run, merge_edits
from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.networks import Networks, find_networks, pick_device
from benchmark.protocols import Protocol, protocol_named
from benchmark.provenance import describe_dataset, open_run, record_protocol
from benchmark.report.write import write_report
from benchmark.runs import Run
from benchmark.score import score_with
from flows.server import server_for_workers
from flows.synth_data import GPU_TAG, RETRYING, ShardsFailed, failure_of, task_runner
from reason_edit.files import in_turn


def prepare(run: str, dataset: str | None, words: MethodWords, seed: int, batch_size: int, device: str) -> list[str]:
    """Open the run as `smartedit-bench edit` does, and name its methods in order."""
    methods = resolve_methods(words)
    folder, samples = find_samples(Path(dataset) if dataset else None)
    open_run(
        Run(Path(run)),
        dataset=describe_dataset(
            samples, folder, "miniature Reason-Edit" if dataset is None else folder.resolve().name
        ),
        samples=samples,
        methods=methods,
        device=pick_device(device),
        seed=seed,
        batch_size=batch_size,
        command=["flow benchmark", *(f"{k}={v}" for k, v in asdict(words).items() if v)],
    )
    return [m.label for m in methods]


def edit_shard(run: str, words: MethodWords, label: str, shard: int, shards: int, device: str) -> dict[str, int]:
    """Edit one shard by one method, and count its pictures and errors.

    A device that is no CPU is held meanwhile, so that no two models of one machine are on a card at once.
    """
    folder = Run(Path(run))
    settings = folder.settings()
    place = pick_device(device)
    (method,) = (m for m in resolve_methods(words) if m.label == label)
    with nullcontext() if place == "cpu" else device_turn(folder, place):
        records = edit_run(
            folder,
            [method],
            folder.samples(),
            device=place,
            seed=settings["seed"],
            batch_size=settings["batch_size"],
            shard=Shard(index=shard, count=shards),
        )
    errors = sum(r.error is not None for r in records)
    return {"pictures": len(records) - errors, "errors": errors}


def device_turn(run: Run, device: str) -> AbstractContextManager[None]:
    """Wait for a device of this machine and hold it."""
    return in_turn(run.folder / f".device-{socket.gethostname()}-{device.replace(':', '-')}.lock")


def merge(run: str) -> list[dict[str, Any]]:
    """Join all shards into `edits.parquet`; how many pictures each method has."""
    folder = Run(Path(run))
    with folder.turn():
        records = merge_edits(folder, folder.samples())
    labels = dict.fromkeys(r.method for r in records)
    return [
        {
            "method": label,
            "pictures": sum(r.method == label and r.error is None for r in records),
            "errors": sum(r.method == label and r.error is not None for r in records),
        }
        for label in labels
    ]


def find_scoring(
    protocol: str, clip_model: str | None, lpips_backbone: str | None, device: str = "cpu"
) -> tuple[Protocol, Networks]:
    """A protocol and its networks.

    Raises:
        ProtocolError: There is no such protocol.
        NetworkError: A network that was named cannot be had.
    """
    chosen = protocol_named(protocol, "id")
    return chosen, find_networks(chosen, clip_model=clip_model, lpips_backbone=lpips_backbone, device=device)


def score_and_report(run: str, protocol: str, clip_model: str | None, lpips_backbone: str | None, device: str) -> str:
    """Score the run and write its report; returns the Markdown."""
    folder = Run(Path(run))
    chosen, networks = find_scoring(protocol, clip_model, lpips_backbone, device)
    score_with(folder, chosen, networks)
    record_protocol(folder, chosen, networks)
    write_report(folder)
    return (folder.folder / "report.md").read_text(encoding="utf-8")


prepare_task = task(name="prepare", cache_policy=NO_CACHE)(prepare)
edit_task = task(
    name="edit",
    task_run_name="{label}-{shard}-of-{shards}",
    retries=2,
    **RETRYING,
)(edit_shard)
merge_task = task(name="merge", cache_policy=NO_CACHE)(merge)
report_task = task(name="score-and-report", cache_policy=NO_CACHE)(score_and_report)


@flow(name="benchmark")
def measure(
    run: str,
    methods: list[str],
    dataset: str | None = None,
    models: list[str] | None = None,
    settings: list[str] | None = None,
    outputs: list[str] | None = None,
    protocol: str | None = None,
    clip_model: str | None = None,
    lpips_backbone: str | None = None,
    seed: int = 0,
    batch_size: int = 8,
    shards: int = 1,
    devices: list[str] | None = None,
    workers: int = 1,
    dask: str | None = None,
) -> str:
    """Edit, score and report, with methods and shards spread over workers.

    Args:
        run: The run folder, seen by all workers; the same run again resumes.
        methods: As `--method` of `smartedit-bench evaluate`.
        dataset: A Reason-Edit folder; None for the miniature set.
        models: As `--model`.
        settings: As `--set`.
        outputs: As `--outputs`.
        protocol: As `--protocol`.
        clip_model: As `--clip-model`.
        lpips_backbone: As `--lpips-backbone`.
        seed: Of the run.
        batch_size: Samples that a batched method edits together.
        shards: Parts of every method.
        devices: A worker machine's devices, taken in turn by the shards; None for `auto`.
        workers: Threads, or processes with Dask.
        dask: None for threads of this process; "local" for `workers` processes on this machine; or the address of a
            Dask scheduler whose workers see the same files.

    Returns:
        The run folder.

    Raises:
        MethodError: The words about methods are wrong.
        ProtocolError: There is no such protocol.
        NetworkError: A network that was named cannot be had.
    """
    words = MethodWords(methods=methods, outputs=outputs or (), models=models or (), sets=settings or ())
    places = devices or ["auto"]
    chosen = protocol or ("smartedit-v1" if dataset else "miniature-v1")
    # A mistake is told before hours of editing; what costs nothing to find out comes before networks.
    resolve_methods(words)
    find_scoring(chosen, clip_model, lpips_backbone)
    root = str(Path(run).resolve())
    labels = prepare_task(root, dataset, words, seed, batch_size, places[0])
    with server_for_workers():
        edit_all.with_options(task_runner=task_runner(workers, dask))(root, words, labels, shards, places)
    table = merge_task(root)
    create_table_artifact(table=table, key="benchmark-coverage", description="Pictures and errors of each method")
    markdown = report_task(root, chosen, clip_model, lpips_backbone, places[0])
    create_markdown_artifact(markdown=markdown, key="benchmark-report")
    failed = sum(row["errors"] for row in table)
    get_run_logger().info("%d methods, %d edits failed; report: %s/report.html", len(table), failed, root)
    return root


@flow(name="benchmark-edits")
def edit_all(run: str, words: MethodWords, labels: Sequence[str], shards: int, devices: Sequence[str]) -> None:
    """All methods and shards; a task that fails takes no other along."""
    futures: list[PrefectFuture[dict[str, int]]] = []
    for label in labels:
        for shard in range(1, shards + 1):
            device = devices[(shard - 1) % len(devices)]
            named = edit_task.with_options(tags=[] if device == "cpu" else [GPU_TAG])
            futures.append(named.submit(run, words, label, shard, shards, device, return_state=False))
    progress = create_progress_artifact(progress=0.0, description=f"{len(labels)} methods in {shards} shards")
    assert isinstance(progress, UUID)
    failures: list[str] = []
    for count, future in enumerate(as_completed(futures), start=1):
        failure = failure_of(future)
        if failure is not None:
            failures.append(failure)
        update_progress_artifact(progress, progress=100.0 * count / len(futures))
    if failures:
        raise ShardsFailed(f"{len(failures)} of {len(futures)} tasks failed, the first with: {failures[0]}")


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Run the flow benchmark without a deployment.")
    parser.add_argument("run")
    parser.add_argument("--method", action="append", dest="methods", required=True, metavar="[LABEL=]NAME")
    parser.add_argument("--dataset")
    parser.add_argument("--model", action="append", dest="models", metavar="[LABEL=]MODEL")
    parser.add_argument("--set", action="append", dest="settings", metavar="LABEL.KEY=VALUE")
    parser.add_argument("--outputs", action="append", metavar="[LABEL=]DIR")
    parser.add_argument("--protocol")
    parser.add_argument("--clip-model")
    parser.add_argument("--lpips-backbone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--device", action="append", dest="devices")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--dask")
    measure(**vars(parser.parse_args()))
