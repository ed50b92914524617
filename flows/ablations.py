"""Flow `ablations`: Tables 2 and 3 of the paper, each variant and seed trained, measured, and put beside the paper's.

The tasks are the functions behind `smartedit train` and `smartedit-bench`; this file only orders them. A stage, a
picture and a score that are finished are kept, so that the same run again goes on where it stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import flows.quiet  # noqa: F401  (Prefect reads its settings when it is imported)

# isort: split
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed

from benchmark.ablations import ROWS, CellScores
from benchmark.commands.exact_judge import build_exact_judge
from benchmark.judges.build import JudgeOptions
from benchmark.judges.judging import judge_run
from benchmark.methods.registry import MethodWords
from benchmark.report.ablations import ablation_report
from benchmark.report.layout import network_notes
from benchmark.runs import Run
from flows.measure import edit_shard, find_scoring, merge, prepare, score_and_report
from flows.server import server_for_workers
from flows.synth_data import GPU_TAG, RETRYING, ShardsFailed, failure_of, task_runner
from flows.train import run_stage, settings_of
from reason_edit.files import write_text
from smartedit.config.training import StageName, load_training_config
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import load_mixture
from smartedit.training.ablations import VARIANTS, mixture_of, write_mixture

TABLES = {"2": "smartedit-table-2", "3": "smartedit-table-3"}
REQUEST, REPORT, DONE = "ablations.json", "report.md", "done.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What all cells of a run share.

    Attributes:
        align: The pipeline that stage `align` made; every cell starts from it.
        manifest: What to train on.
        preset: A preset or a TOML file.
        settings: As in `flows.train.run_stage`.
        dataset: A Reason-Edit folder; None for the miniature set, which the exact judge judges too.
        edit_settings: `key=value` of the method `smart-edit`.
        protocol: Of the metrics.
        clip_model: As `--clip-model` of `smartedit-bench evaluate`.
        lpips_backbone: As `--lpips-backbone`.
        batch_size: Samples that are edited together.
    """

    align: str
    manifest: str
    preset: str
    settings: tuple[str, ...] = ()
    dataset: str | None = None
    edit_settings: tuple[str, ...] = ()
    protocol: str
    clip_model: str | None = None
    lpips_backbone: str | None = None
    batch_size: int = 8


def open_ablations(root: str, request: Request) -> None:
    """Write what is asked for, or make sure that the run that is there was asked for the same.

    Raises:
        ValueError: The run is another one, and the message names what differs; or a mixture is set that nothing draws;
            or there is no such protocol, or a network that was named cannot be had.
    """
    if any(text.startswith("full.training.mixture") for text in request.settings):
        raise ValueError(
            "settings: full.training.mixture: both stages of a cell draw from joint's; give training.mixture"
        )
    path = Path(root) / REQUEST
    asked = json.loads(json.dumps(asdict(request)))
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [f"{k} was {before.get(k)!r} and is {v!r}" for k, v in asked.items() if before.get(k) != v]
        if changed:
            raise ValueError(f"{path}: {'; '.join(changed)}; give the former, or choose another folder")
    find_scoring(request.protocol, request.clip_model, request.lpips_backbone)
    write_text(path, json.dumps(asked, indent=1, sort_keys=True) + "\n")


def train_joint(root: str, request: Request, data: str, seed: int) -> str:
    """Stage `joint` on some data, which all variants on these data start from; its pipeline's folder."""
    folder = Path(root) / "joint" / f"{data}-{seed}"
    variant = next(v for v in VARIANTS.values() if v.data == data)
    texts = [*request.settings, f"training.seed={seed}"]
    overrides = [text for text in settings_of(StageName.JOINT, texts) if text.startswith("training.")]
    base = load_mixture(load_training_config(StageName.JOINT, request.preset, overrides).mixture)
    mixture = write_mixture(mixture_of(Manifest(request.manifest), base, variant, seed), folder / "mixture.toml")
    return run_stage("joint", request.align, request.manifest, str(folder), request.preset, texts, None, str(mixture))


def train_and_measure(root: str, request: Request, name: str, seed: int, device: str) -> str:
    """Stage `full` of a variant, its edits of the benchmark, and their scores; the cell's folder."""
    variant, cell = VARIANTS[name], Path(root) / "cells" / f"{name}-{seed}"
    if (cell / DONE).is_file():
        return str(cell)
    joint = Path(root) / "joint" / f"{variant.data}-{seed}"
    texts = [*request.settings, f"training.seed={seed}", f"model.bim.interaction={variant.interaction.value}"]
    model = run_stage(
        "full",
        str(joint / "model"),
        request.manifest,
        str(cell / "training"),
        request.preset,
        texts,
        None,
        str(joint / "mixture.toml"),
    )
    measure_cell(cell, request, f"{name}-{seed}", model, seed, device)
    return str(cell)


def measure_cell(cell: Path, request: Request, label: str, model: str, seed: int, device: str) -> None:
    """Edit the benchmark with a trained model and score it, as `smartedit-bench evaluate` and `judge` do."""
    run = Run(cell / "benchmark")
    words = MethodWords(
        methods=[f"{label}=smart-edit"],
        models=[f"{label}={model}"],
        sets=[f"{label}.{text}" for text in request.edit_settings],
    )
    place = str(run.folder)
    prepare(place, request.dataset, words, seed, request.batch_size, device)
    edit_shard(place, words, label, 1, 1, device)
    merge(place)
    score_and_report(place, request.protocol, request.clip_model, request.lpips_backbone, device)
    if request.dataset is None:
        judge_run(run, build_exact_judge(run, JudgeOptions(device=device)), "exact", details={"kind": "exact"})
    write_text(cell / DONE, json.dumps({"variant": label.rpartition("-")[0], "seed": seed}) + "\n")


def write_ablation_report(root: str, request: Request, failures: Sequence[str] = ()) -> str:
    """The report over all cells that are finished; returns its Markdown."""
    cells, samples, name = [], None, ""
    notes: list[str] = []
    for done in sorted(Path(root).glob(f"cells/*/{DONE}")):
        told, run = json.loads(done.read_text(encoding="utf-8")), Run(done.parent / "benchmark")
        cells.append(CellScores(variant=told["variant"], seed=told["seed"], scores=run.scores()))
        samples = samples or run.samples()
        settings = run.settings()
        name = settings["dataset"]["name"]
        notes = notes or network_notes(settings, request.protocol)
    notes += [f"Not finished: {failure}" for failure in failures]
    text = ablation_report(cells, samples or [], protocol=request.protocol, dataset=name, notes=notes)
    write_text(Path(root) / REPORT, text)
    return text


TRAINING: dict[str, Any] = {"tags": [GPU_TAG], "retries": 2, **RETRYING}
joint_task = task(name="joint", task_run_name="joint-{data}-{seed}", **TRAINING)(train_joint)
cell_task = task(name="cell", task_run_name="{name}-{seed}", **TRAINING)(train_and_measure)
report_task = task(name="report", cache_policy=NO_CACHE)(write_ablation_report)


@flow(name="ablations")
def ablations(
    align: str,
    manifest: str,
    run: str,
    preset: str = "miniature",
    tables: list[str] | None = None,
    seeds: list[int] | None = None,
    settings: list[str] | None = None,
    dataset: str | None = None,
    edit_settings: list[str] | None = None,
    protocol: str | None = None,
    clip_model: str | None = None,
    lpips_backbone: str | None = None,
    batch_size: int = 8,
    device: str = "auto",
    workers: int = 1,
    dask: str | None = None,
) -> str:
    """Train and measure the rows of Tables 2 and 3, and write one report beside the paper's.

    Args:
        align: The pipeline that stage `align` made.
        manifest: What to train on; must hold segmentations and the synthetic set.
        run: The run folder, seen by all workers; the same run again resumes, and may have more tables and seeds.
        preset: A preset or a TOML file.
        tables: "2", "3"; None for both.
        seeds: None for 0, 1, 2.
        settings: As in `flows.train.run_stage`, for example `joint.training.steps=500`.
        dataset: A Reason-Edit folder; None for the miniature set.
        edit_settings: `key=value` of the method `smart-edit`, for example `steps=20`.
        protocol: None for `miniature-v1`, or `smartedit-v1` where a data set is named.
        clip_model: As `--clip-model`.
        lpips_backbone: As `--lpips-backbone`.
        batch_size: Samples that are edited together.
        device: Where edits are made: `auto` or a torch device.
        workers: Threads, or processes with Dask.
        dask: As in `flows.measure`.

    Returns:
        The report's path.

    Raises:
        ShardsFailed: A cell could not be finished; the report holds the others and says so.
    """
    if workers > 1 and dask is None:
        # Threads would share accelerate's state and torch's generator.
        raise ValueError(f"workers={workers}: trainings need a process each; give --dask local, or workers=1")
    root = str(Path(run).resolve())
    blocks = [TABLES[table] for table in tables or TABLES]
    chosen = [name for name in VARIANTS if any(name in ROWS[block] for block in blocks)]
    request = Request(
        align=str(Path(align).resolve()),
        manifest=str(Path(manifest).resolve()),
        preset=preset,
        settings=tuple(settings or ()),
        dataset=None if dataset is None else str(Path(dataset).resolve()),
        edit_settings=tuple(edit_settings or ()),
        protocol=protocol or ("miniature-v1" if dataset is None else "smartedit-v1"),
        clip_model=clip_model,
        lpips_backbone=lpips_backbone,
        batch_size=batch_size,
    )
    open_ablations(root, request)
    with server_for_workers():
        failures = run_cells.with_options(task_runner=task_runner(workers, dask))(
            root, request, chosen, seeds or [0, 1, 2], device
        )
    text = report_task(root, request, failures)
    create_markdown_artifact(markdown=text, key="ablations-report")
    if failures:
        raise ShardsFailed(f"{len(failures)} cells are not finished, the first: {failures[0]}")
    get_run_logger().info("%d cells; report: %s/%s", len(chosen) * len(seeds or [0, 1, 2]), root, REPORT)
    return str(Path(root) / REPORT)


@flow(name="ablations-cells")
def run_cells(root: str, request: Request, names: Sequence[str], seeds: Sequence[int], device: str) -> list[str]:
    """All variants and seeds; a cell that fails takes no other along but those that start from it."""
    joints: dict[tuple[str, int], PrefectFuture[str]] = {}
    cells: dict[PrefectFuture[str], str] = {}
    for seed in seeds:
        for name in names:
            key = (VARIANTS[name].data, seed)
            if key not in joints:
                joints[key] = joint_task.submit(root, request, *key, return_state=False)
            future = cell_task.submit(root, request, name, seed, device, wait_for=[joints[key]], return_state=False)
            cells[future] = f"{name}, seed {seed}"
    progress = create_progress_artifact(progress=0.0, description=f"{len(cells)} cells")
    assert isinstance(progress, UUID)
    failures: list[str] = []
    for count, future in enumerate(as_completed(list(cells)), start=1):
        failure = failure_of(future)
        if failure is not None:
            failures.append(f"{cells[future]}: {failure}")
        update_progress_artifact(progress, progress=100.0 * count / len(cells))
    return failures


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Run the flow ablations without a deployment.")
    parser.add_argument("align")
    parser.add_argument("manifest")
    parser.add_argument("run")
    parser.add_argument("--preset", default="miniature")
    parser.add_argument("--table", action="append", dest="tables", choices=list(TABLES))
    parser.add_argument("--seed", action="append", dest="seeds", type=int)
    parser.add_argument("--set", action="append", dest="settings", metavar="[STAGE.]SECTION.KEY=VALUE")
    parser.add_argument("--dataset")
    parser.add_argument("--edit-set", action="append", dest="edit_settings", metavar="KEY=VALUE")
    parser.add_argument("--protocol")
    parser.add_argument("--clip-model")
    parser.add_argument("--lpips-backbone")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--dask")
    ablations(**vars(parser.parse_args()))
