"""`smartedit-bench evaluate`, `edit` and `score`: from a data set and methods to scores and a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartedit.commands.plain_errors import plain_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.methods.registry import MethodWords
    from benchmark.records import EditRecord
    from benchmark.runs import Run

DatasetOption = Annotated[
    Path | None,
    typer.Option("--dataset", help="Reason-Edit folder, Parquet index or datasets folder; default: the miniature set."),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option("--method", help="NAME, LABEL=NAME or package.module:factory; see `smartedit-bench methods`."),
]
OutputsOption = Annotated[
    list[str] | None, typer.Option("--outputs", help="DIR or LABEL=DIR with pictures edited elsewhere.")
]
ModelOption = Annotated[
    list[str] | None, typer.Option("--model", help="MODEL or LABEL=MODEL: a local folder or a hub id.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="LABEL.key=value: a method's setting.")]
RunOption = Annotated[Path, typer.Option("--run", help="Run folder; the same command goes on where it was stopped.")]
SeedOption = Annotated[int, typer.Option(help="Every sample's seed follows from it and the sample's id.")]
BatchOption = Annotated[int, typer.Option(min=1, help="Samples that a batched method edits together.")]
ShardOption = Annotated[str, typer.Option(help="i/n: edit only the i-th of n parts, for several processes.")]
DeviceOption = Annotated[str, typer.Option(help="auto (cuda, mps, cpu) or a torch device.")]
ProtocolOption = Annotated[
    str | None,
    typer.Option(help="smartedit-v1 (default with --dataset), strict-v1 or miniature-v1 (default without)."),
]
ClipOption = Annotated[
    str | None, typer.Option(help="CLIP: a transformers folder, a hub id, or open_clip:ARCH@FILE_OR_TAG.")
]
LpipsOption = Annotated[str | None, typer.Option(help="File with torchvision's SqueezeNet 1.1 weights, for LPIPS.")]
PairingOption = Annotated[
    str, typer.Option(help="id, or positional: masks by sorted position, as the authors' script pairs them.")
]
CategoryOption = Annotated[
    list[str] | None, typer.Option("--category", help="Only this category; may be given several times.")
]


@plain_errors
def evaluate(
    run: RunOption,
    dataset: DatasetOption = None,
    method: MethodOption = None,
    outputs: OutputsOption = None,
    model: ModelOption = None,
    set_: SetOption = None,
    protocol: ProtocolOption = None,
    clip_model: ClipOption = None,
    lpips_backbone: LpipsOption = None,
    pairing: PairingOption = "id",
    category: CategoryOption = None,
    seed: SeedOption = 0,
    batch_size: BatchOption = 8,
    device: DeviceOption = "auto",
) -> None:
    """Edit, score and report in one go; the same command resumes a run that was stopped."""
    from benchmark.methods.registry import MethodWords, resolve_methods
    from benchmark.runs import Run

    words = MethodWords(methods=method or (), outputs=outputs or (), models=model or (), sets=set_ or ())
    folder = Run(run)
    # What costs nothing to find out comes before networks, which may be asked for over the net.
    resolve_methods(words)
    networks = _find_networks(_protocol(protocol, dataset, pairing), clip_model, lpips_backbone, device)
    failed = _edit(folder, dataset, words, category, seed, batch_size, device, "1/1")
    _score(folder, _protocol(protocol, dataset, pairing), networks)
    _report(folder)
    _finish(failed)


@plain_errors
def edit(
    run: RunOption,
    dataset: DatasetOption = None,
    method: MethodOption = None,
    outputs: OutputsOption = None,
    model: ModelOption = None,
    set_: SetOption = None,
    category: CategoryOption = None,
    seed: SeedOption = 0,
    batch_size: BatchOption = 8,
    shard: ShardOption = "1/1",
    device: DeviceOption = "auto",
) -> None:
    """Let methods edit every sample; writes pictures and `edits.parquet`."""
    from benchmark.methods.registry import MethodWords
    from benchmark.runs import Run

    words = MethodWords(methods=method or (), outputs=outputs or (), models=model or (), sets=set_ or ())
    _finish(_edit(Run(run), dataset, words, category, seed, batch_size, device, shard))


@plain_errors
def score(
    run: Annotated[Path, typer.Argument(help="A run folder with edits.")],
    protocol: Annotated[str, typer.Option(help="smartedit-v1, strict-v1 or miniature-v1.")] = "smartedit-v1",
    clip_model: ClipOption = None,
    lpips_backbone: LpipsOption = None,
    pairing: PairingOption = "id",
    device: DeviceOption = "auto",
) -> None:
    """Score the edits of a run under a protocol; writes `scores.parquet`."""
    from benchmark.runs import Run

    chosen = _protocol(protocol, None, pairing)
    Run(run).settings()
    Run(run).edits()
    _score(Run(run), chosen, _find_networks(chosen, clip_model, lpips_backbone, device))


def _edit(
    run: "Run",
    dataset: Path | None,
    words: "MethodWords",
    categories: "Sequence[str] | None",
    seed: int,
    batch_size: int,
    device: str,
    shard: str,
) -> "list[EditRecord]":
    """Edit, and return the records that failed."""
    from benchmark.commands.data_sets import find_samples
    from benchmark.commands.progress import progress_bar
    from benchmark.edit import Shard, edit_run
    from benchmark.methods.registry import resolve_methods
    from benchmark.networks import pick_device
    from benchmark.provenance import describe_dataset, open_run

    part = Shard.parse(shard)
    methods = resolve_methods(words)
    folder, samples = find_samples(dataset, categories)
    place = pick_device(device)
    name = "miniature Reason-Edit" if dataset is None else folder.resolve().name
    open_run(
        run,
        dataset=describe_dataset(samples, folder, name),
        samples=samples,
        methods=methods,
        device=place,
        seed=seed,
        batch_size=batch_size,
        command=["smartedit-bench", *sys.argv[1:]],
    )
    with progress_bar("editing") as advance:
        records = edit_run(
            run, methods, samples, device=place, seed=seed, batch_size=batch_size, shard=part, on_progress=advance
        )
    return [r for r in records if r.error is not None]


def _protocol(name: str | None, dataset: Path | None, pairing: str) -> object:
    from benchmark.protocols import protocol_named

    return protocol_named(name or ("smartedit-v1" if dataset is not None else "miniature-v1"), pairing)  # type: ignore[arg-type]


def _find_networks(protocol: object, clip_model: str | None, lpips_backbone: str | None, device: str) -> object:
    from benchmark.networks import find_networks

    return find_networks(protocol, clip_model=clip_model, lpips_backbone=lpips_backbone, device=device)  # type: ignore[arg-type]


def _score(run: "Run", protocol: object, networks: object) -> None:
    from benchmark.commands.progress import progress_bar
    from benchmark.networks import Networks
    from benchmark.protocols import Protocol
    from benchmark.provenance import record_protocol
    from benchmark.score import score_with

    assert isinstance(protocol, Protocol)
    assert isinstance(networks, Networks)
    with progress_bar("scoring") as advance:
        score_with(run, protocol, networks, progress=lambda done, total: advance(protocol.name, done, total))
    record_protocol(run, protocol, networks)


def _report(run: "Run") -> None:
    from rich.console import Console

    from benchmark.report.terminal import run_tables
    from benchmark.report.write import write_report

    paths = write_report(run)
    Console().print(run_tables(run))
    html = next(p for p in paths if p.suffix == ".html")
    typer.echo(f"\nHTML report: {html}\nTables:      {run.folder / 'report.md'}")


def _finish(failed: "list[EditRecord]") -> None:
    """End non-zero where samples failed, and say which."""
    if not failed:
        return
    typer.echo(
        f"\n{len(failed)} edits failed; they count as missing (n below N), and the same command tries them again:",
        err=True,
    )
    for record in failed[:10]:
        typer.echo(f"  {record.method}: {record.sample_id}: {record.error}", err=True)
    if len(failed) > 10:
        typer.echo(f"  ... and {len(failed) - 10} more in edits.parquet, column error", err=True)
    raise typer.Exit(1)
