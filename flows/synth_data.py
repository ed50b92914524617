"""Flow `synth-data`: from a folder of pictures to the synthetic set, one task a stage and shard.

The tasks are `smartedit.synthesis.pipeline.work` and its neighbours; this file only orders them.
"""

from pathlib import Path
from typing import Any
from uuid import UUID

import flows.quiet  # noqa: F401  (Prefect reads its settings when it is imported)

# isort: split
from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from flows.server import server_for_workers
from smartedit.config.synthesis import SynthesisConfig, load_synthesis
from smartedit.synthesis.contact_sheet import contact_sheet_address
from smartedit.synthesis.export import export
from smartedit.synthesis.finish import Chosen, choose, need_quotas
from smartedit.synthesis.funnel import funnel_markdown, measure_funnel
from smartedit.synthesis.pipeline import ShardReport, prepare, work
from smartedit.synthesis.review import write_review_sheet
from smartedit.synthesis.run_folder import STAGES, RunFolder

GPU_TAG = "smartedit-gpu"
"""Tag of tasks that use a GPU: `prefect concurrency-limit create smartedit-gpu 1` lets one run at a time."""


class ShardsFailed(RuntimeError):
    """Shards that did not finish after all tries; the others are kept, and the same run again resumes."""


def may_help(task: Any, task_run: Any, state: Any) -> bool:
    """Whether to try a failed shard again: not after a user's mistake, which would only come again."""
    del task, task_run
    return not isinstance(state.result(raise_on_failure=False), ValueError)


RETRYING: dict[str, Any] = {
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_help,
    "cache_policy": NO_CACHE,
}
"""How a task of any flow is tried again; how often is each task's own."""

prepare_task = task(name="prepare", cache_policy=NO_CACHE)(prepare)
work_task = task(
    name="shard",
    task_run_name="{stage}-{shard}",
    retries=3,
    **RETRYING,
)(work)
choose_task = task(name="select", cache_policy=NO_CACHE)(choose)
export_task = task(name="export", cache_policy=NO_CACHE)(export)
review_task = task(name="review-sheet", cache_policy=NO_CACHE)(write_review_sheet)


@flow(name="synth-data")
def synth_data(
    pictures: str,
    run: str,
    annotations: str | None = None,
    config: str | None = None,
    settings: list[str] | None = None,
    allow_short: bool = False,
    workers: int = 1,
    dask: str | None = None,
) -> str:
    """Make a synthetic set.

    Args:
        pictures: A folder of pictures.
        run: The run folder; the same run again resumes.
        annotations: A COCO detection file for the pictures.
        config: A preset or a TOML file; None for the defaults.
        settings: `section.key=value` texts.
        allow_short: Succeed though a quota is not met.
        workers: Threads, or processes with Dask.
        dask: None for threads of this process; "local" for `workers` processes on this machine; or the address of a
            Dask scheduler whose workers see the same files.

    Returns:
        The set's folder.
    """
    root = Path(run)
    overrides = list(settings or [])
    if annotations is not None:
        overrides.append(f"pictures.annotations={str(Path(annotations).resolve())!r}")
    tree = load_synthesis(config, overrides)
    shards = prepare_task(Path(pictures), root, tree)
    with server_for_workers():
        work_on_shards.with_options(task_runner=task_runner(workers, dask))(str(root), shards)
    chosen = choose_task(root)
    folder = export_task(root)
    review_task(root)
    report(root, chosen)
    need_quotas(chosen, allow_short=allow_short)
    return str(folder)


@flow(name="synth-data-shards")
def work_on_shards(run: str, shards: int) -> float:
    """All stages of all shards; a shard's stages follow each other, shards do not wait for one another.

    Returns:
        Seconds that the stages themselves took, added up over all workers.
    """
    root = Path(run).resolve()
    config = RunFolder(root).settings().config
    futures: list[PrefectFuture[ShardReport]] = []
    for shard in range(shards):
        before: list[PrefectFuture[ShardReport]] = []
        for stage in STAGES:
            named = work_task.with_options(tags=gpu_tags(stage, config))
            before = [named.submit(root, stage, shard, wait_for=before, return_state=False)]
            futures += before
    progress = create_progress_artifact(progress=0.0, description=f"{len(futures)} tasks of {shards} shards")
    assert isinstance(progress, UUID)
    failures: list[str] = []
    seconds = 0.0
    for count, future in enumerate(as_completed(futures), start=1):
        failure = failure_of(future)
        if failure is not None:
            failures.append(failure)
        else:
            seconds += future.result().seconds
        if count % len(STAGES) == 0 or count == len(futures):
            update_progress_artifact(progress, progress=100.0 * count / len(futures))
    if failures:
        raise ShardsFailed(f"{len(failures)} tasks failed, the first with: {failures[0]}")
    get_run_logger().info("%d tasks; the stages took %.1f s", len(futures), seconds)
    return seconds


def gpu_tags(stage: str, config: SynthesisConfig) -> list[str]:
    """The GPU's tag for a stage whose tool runs on one."""
    devices = {
        "propose": [config.grounder.device, config.writer.device if config.writer.extra_clues else "cpu"],
        "ground": [config.grounder.device, config.segmenter.device],
        "segment": [config.segmenter.device],
        "inpaint": [config.replacer.device, config.remover.device],
        "instruct": [config.writer.device],
        "score": [config.scorer.device, config.scorer.regrounder.device if config.scorer.regrounder else "cpu"],
    }[stage]
    return [] if all(device == "cpu" for device in devices) else [GPU_TAG]


def failure_of(future: PrefectFuture[Any]) -> str | None:
    """What a finished task failed with; None where it did not.

    The future itself is asked. Its `state` would ask the server, which hears of a task's end later than Dask does, and
    never of the end of a worker that was killed: such a task is running for ever there, and no failure.
    """
    try:
        future.result()
    except Exception as error:  # noqa: BLE001  (whatever a task raised, or what killed its worker)
        return f"{type(error).__name__}: {error}"
    return None


def task_runner(workers: int, dask: str | None) -> Any:
    """Threads of this process, or an engine that exists already: Dask."""
    if dask is None:
        return ThreadPoolTaskRunner(max_workers=workers)
    from dask.config import set as set_dask
    from prefect_dask import DaskTaskRunner

    if dask != "local":
        return DaskTaskRunner(address=dask)
    from flows.workers import PatientNanny

    # A busy machine is no reason to call a worker of one's own dead: its nanny knows when it is.
    set_dask({"distributed.scheduler.worker-ttl": None, "distributed.comm.timeouts.connect": "300s"})
    cluster = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "dashboard_address": None,
        "worker_class": PatientNanny,
    }
    return DaskTaskRunner(cluster_kwargs=cluster)


def report(root: Path, chosen: Chosen) -> None:
    """The funnel, the reasons and a contact sheet, as artifacts of the flow run."""
    funnel = measure_funnel(RunFolder(root))
    rows = [{"reached": level.stage, "all": level.total} | dict(level.by_category) for level in funnel.levels]
    create_table_artifact(table=rows, key="synth-data-funnel", description="What reached each stage")
    reasons = [{"stage": s, "reason": reason, "count": n} for s, reason, n in funnel.reasons]
    create_table_artifact(table=reasons, key="synth-data-reasons", description="Why the others did not")
    create_markdown_artifact(markdown=funnel_markdown(funnel), key="synth-data-card")
    sheet = contact_sheet_address(root)
    if sheet is not None:
        create_image_artifact(image_url=sheet, key="synth-data-sheet", description="Some pairs of the set")
    get_run_logger().info("%d samples; short: %s", chosen.count, "; ".join(chosen.shortfalls) or "nothing")


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Run the flow synth-data without a deployment.")
    parser.add_argument("pictures")
    parser.add_argument("run")
    parser.add_argument("--annotations")
    parser.add_argument("--config")
    parser.add_argument("--set", action="append", dest="settings", metavar="SECTION.KEY=VALUE")
    parser.add_argument("--allow-short", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--dask")
    synth_data(**vars(parser.parse_args()))
