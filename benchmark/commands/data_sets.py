"""`smartedit-bench check` and `inputs`, and where the data set of a command comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartedit.commands.plain_errors import plain_errors

if TYPE_CHECKING:
    from reason_edit.schema import EditSample

DatasetArgument = Annotated[Path, typer.Argument(help="Reason-Edit folder, Parquet index or datasets folder.")]


def find_samples(dataset: Path | None, categories: Sequence[str] | None = None) -> "tuple[Path, list[EditSample]]":
    """The samples of a data set; without one, the miniature set, drawn once into the cache.

    Raises:
        ValueError: A category is unknown, or the data set cannot be loaded.
    """
    from reason_edit.loading import load_reason_edit
    from reason_edit.schema import PAPER_CATEGORIES, Category

    unknown = [c for c in categories or () if c not in list(Category)]
    if unknown:
        raise ValueError(f"--category {unknown[0]}: unknown; there are {', '.join(Category)}")
    folder = dataset if dataset is not None else miniature_folder()
    return folder, load_reason_edit(folder, [Category(c) for c in categories] if categories else PAPER_CATEGORIES)


def miniature_folder() -> Path:
    """The miniature Reason-Edit of the default seed, written where it is not there yet."""
    from reason_edit.embedded import cache_folder
    from smartedit.miniature.benchmark_set import EDITION, write_reason_edit

    folder = cache_folder() / f"miniature-reason-edit-{EDITION}"
    write_reason_edit(folder)
    return folder


@plain_errors
def check(
    dataset: DatasetArgument,
    write: Annotated[Path | None, typer.Option(help="Write an index of the samples to this Parquet file.")] = None,
) -> None:
    """Count the samples of every category and list all that is wrong; exit code 1 when something is."""
    from rich.console import Console
    from rich.table import Table

    from benchmark.commands.progress import progress_bar
    from reason_edit.checking import check_reason_edit, dataset_fingerprint
    from reason_edit.index import write_index
    from reason_edit.schema import Category

    with progress_bar("checking") as advance:
        found = check_reason_edit(dataset, lambda done, total: advance("samples", done, total))
    table = Table("category", "scenario", "samples")
    for category in Category:
        count = sum(s.category is category for s in found.samples)
        if count or category is not Category.ADD_SUPPLEMENT:
            table.add_row(category, category.scenario, str(count))
    table.add_row("all", "", str(len(found.samples)), style="bold")
    Console().print(table)
    if found.left_out:
        typer.echo(f"{found.left_out} samples of the folder 7-Add-supp are left out: the paper does not count them.")
    if len(found.samples) != 219:
        typer.echo(f"Note: the paper counts 219 samples, here are {len(found.samples)}.")
    for problem in found.problems:
        typer.echo(f"problem: {problem}")
    structural = any(p.structural for p in found.problems)
    if not structural and found.samples:
        typer.echo(f"fingerprint: {dataset_fingerprint(found.samples)}")
    if write is not None:
        if structural:
            typer.echo("error: no index is written while pictures, masks and lines cannot be paired", err=True)
        else:
            write_index(write, found.samples)
            typer.echo(f"index: {write}")
    if found.problems:
        typer.echo(f"{len(found.problems)} problems")
        raise typer.Exit(1)
    typer.echo("nothing is wrong")


@plain_errors
def inputs(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder for pictures and instructions.")],
) -> None:
    """Write pictures and instructions only, for an editor that runs elsewhere: no masks, no labels."""
    from reason_edit.inputs import export_inputs

    _, samples = find_samples(dataset)
    count = export_inputs(samples, out)
    typer.echo(f"{count} pictures and {out / 'instructions.jsonl'}; how to hand in: {out / 'HOW_TO_HAND_IN.txt'}")
