"""`smartedit-bench rate`: the human study, from blind pages to Ins-align in the scores of a run."""

from pathlib import Path
from typing import Annotated

import typer

from smartedit.commands.plain_errors import plain_errors

app = typer.Typer(help="Ins-align: let people judge the edits of a run.", no_args_is_help=True)

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; their methods are rated together.")]
StudyOption = Annotated[
    str | None,
    typer.Option(
        "--study",
        help="SQLite file, or database URL (postgresql+psycopg://...); default: study.sqlite in the RUN that has one, "
        "else in the first.",
    ),
]
Raters = Annotated[
    list[str] | None, typer.Option("--rater", help="Name of a rater to invite; may be given several times.")
]
Count = Annotated[int, typer.Option("--raters", min=0, help="Invite this many raters, named rater-1, rater-2, ...")]
Method = Annotated[
    list[str] | None, typer.Option("--method", help="Rate only this method; may be given several times.")
]
PerItem = Annotated[
    int | None, typer.Option(min=1, help="How many of the raters judge each edit; all of them by default.")
]
Copies = Annotated[int, typer.Option(min=0, help="Attention items: so many source pictures shown as if edited.")]
Targets = Annotated[int, typer.Option(min=0, help="Attention items: so many right edits, see --target-method.")]
TargetMethod = Annotated[
    str | None, typer.Option(help="Method of the run whose edits are right; it is planted, not rated.")
]
Seed = Annotated[int, typer.Option(help="What all orders follow from.")]


@app.command()
@plain_errors
def serve(
    runs: Runs,
    study: StudyOption = None,
    rater: Raters = None,
    raters: Count = 0,
    method: Method = None,
    per_item: PerItem = None,
    attention_copies: Copies = 0,
    attention_targets: Targets = 0,
    target_method: TargetMethod = None,
    seed: Seed = 0,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8765,
    public_url: Annotated[
        str | None, typer.Option(help="The address that raters see where a proxy stands before the server.")
    ] = None,
) -> None:
    """Begin a study or go on with it, and serve its page.

    Each rater gets a secret link. The study is pinned to the pictures it begins with: a changed run folder is refused.
    """
    import socket

    import uvicorn

    from benchmark.commands.rating_study import open_study
    from reason_edit.rating.server import create_app

    opened = open_study(
        runs,
        study,
        names=_names(rater, raters),
        methods=method,
        per_item=per_item,
        copies=attention_copies,
        targets=attention_targets,
        target_method=target_method,
        seed=seed,
    )
    listener = socket.create_server((host, port))
    address = public_url or f"http://{host}:{listener.getsockname()[1]}"
    for invited in opened.store.raters():
        typer.echo(f"{invited.name}\t{address.rstrip('/')}/r/{invited.token}/")
    if not opened.store.raters():
        typer.echo("No rater is invited yet: stop, and give --raters 4 or --rater NAME.", err=True)
    typer.echo(f"Serving {len(opened.pictures.keys)} items on {address}; stop with Ctrl-C. Votes: {opened.location}")
    # No access log: it would hold the secret links.
    config = uvicorn.Config(
        create_app(opened.store, opened.pictures, public_url=public_url),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listener])


@app.command()
@plain_errors
def sheet(
    runs: Runs,
    study: StudyOption = None,
    rater: Raters = None,
    raters: Count = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the pages; default: sheets in the first RUN.")] = None,
    items_per_file: Annotated[int, typer.Option(min=1, help="Items on one page.")] = 300,
    method: Method = None,
    per_item: PerItem = None,
    attention_copies: Copies = 0,
    attention_targets: Targets = 0,
    target_method: TargetMethod = None,
    seed: Seed = 0,
) -> None:
    """Write the study as HTML files that work without a server; the JSON that they save goes to `rate import`."""
    from benchmark.commands.rating_study import open_study
    from reason_edit.rating.sheet_file import write_sheets

    names = _names(rater, raters)
    opened = open_study(
        runs,
        study,
        names=names,
        methods=method,
        per_item=per_item,
        copies=attention_copies,
        targets=attention_targets,
        target_method=target_method,
        seed=seed,
        for_nobody=False,
    )
    folder = out if out is not None else runs[0] / "sheets"
    for invited in opened.store.raters():
        if invited.name in names or not names:
            for path in write_sheets(folder, opened.store, opened.pictures, invited, items_per_file=items_per_file):
                typer.echo(f"{invited.name}\t{path}")


@app.command("import")
@plain_errors
def import_(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that holds the study.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What the sheets saved.")],
    study: StudyOption = None,
) -> None:
    """Check files of answers and take them in; each whole or not at all."""
    from benchmark.commands.rating_study import study_location
    from reason_edit.rating.sheet_file import import_answers
    from reason_edit.rating.store import Store

    store = Store.open(study_location([run], study))
    for file in files:
        result = import_answers(file, store)
        typer.echo(f"{file}: {result.rater}, {result.new} new, {result.known} known, {result.older} older")


@app.command()
@plain_errors
def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder that holds the study.")],
    study: StudyOption = None,
    links: Annotated[bool, typer.Option("--links", help="Show the secret part of each rater's link.")] = False,
) -> None:
    """Say how far every rater is."""
    from rich.console import Console
    from rich.table import Table

    from benchmark.commands.rating_study import study_location
    from reason_edit.rating.returns import read_returns
    from reason_edit.rating.store import Store

    store = Store.open(study_location([run], study))
    table = Table("rater", "answered", "of", "changed", "median s", "attention", "last answer (UTC)")
    for s in read_returns(store).raters:
        seconds = f"{s.median_seconds:.1f}" if s.median_seconds is not None else ""
        attention = f"{s.attention_passed}/{s.attention_answered}" if s.attention_answered else ""
        table.add_row(s.rater, str(s.answered), str(s.total), str(s.changed), seconds, attention, s.last or "")
    Console().print(table)
    for rater in store.raters() if links else []:
        typer.echo(f"{rater.name}\t/r/{rater.token}/")


@app.command()
@plain_errors
def export(runs: Runs, study: StudyOption = None) -> None:
    """Write the standing answers into each run folder as ratings.parquet, ratings.csv and attention.parquet."""
    from benchmark.commands.rating_study import read_study
    from benchmark.human_ratings import export_ratings
    from benchmark.runs import Run

    found = [Run(r) for r in runs]
    for path, count in export_ratings(found, read_study(found, study)):
        typer.echo(f"{path}: {count} ratings")


@app.command()
@plain_errors
def aggregate(
    runs: Runs,
    study: StudyOption = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Leave a rater out; the outputs say so. May be given several times.")
    ] = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap draws.")] = 2000,
) -> None:
    """Write Ins-align with intervals, agreement and tests into each run folder, and Ins-align into its scores.

    Takes the answers from the study's database where it exists, else from ratings.parquet in the run folders.
    """
    from benchmark.commands.rating_study import read_answers
    from benchmark.commands.rating_tables import print_aggregate
    from benchmark.human_ratings import aggregate_ratings
    from benchmark.runs import Run

    found = [Run(r) for r in runs]
    result = aggregate_ratings(found, read_answers(found, study), without=tuple(without or ()), resamples=resamples)
    print_aggregate(result)


def _names(rater: list[str] | None, count: int) -> list[str]:
    return [*(rater or []), *(f"rater-{i + 1}" for i in range(count))]
