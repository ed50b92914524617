"""`smartedit manifest audit` and `show`: whether training data is clean, and what it looks like."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartedit.commands.plain_errors import plain_words

if TYPE_CHECKING:
    from smartedit.data.audit import Audit
    from smartedit.data.overlaps import Kind

ManifestPath = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest, or the folder it was built in.")]


def add_to(app: typer.Typer) -> None:
    """Add both commands to `smartedit manifest`."""
    app.command()(audit)
    app.command()(show)


def audit(
    manifest: ManifestPath,
    against: Annotated[Path | None, typer.Option(help="Reason-Edit in any form; without it only the inside.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report; audit beside MANIFEST.")
    ] = None,
    exclude: Annotated[Path | None, typer.Option(help="Folder for a manifest without the rows that leak.")] = None,
    exclude_texts: Annotated[
        bool, typer.Option(help="Also leave out rows with instructions of the benchmark.")
    ] = False,
    exclude_inside: Annotated[bool, typer.Option(help="Also leave out rows whose pictures came before.")] = False,
    max_leaks: Annotated[int, typer.Option(help="Rows with pictures of the benchmark that are no failure.")] = 0,
    max_texts: Annotated[int | None, typer.Option(help="The same for its instructions; no limit by default.")] = None,
    max_inside: Annotated[int | None, typer.Option(help="The same for pairs inside; no limit by default.")] = None,
    threshold: Annotated[
        int | None, typer.Option(help="Differing bits of 128 up to which pictures are compared.")
    ] = None,
    inside_looks: Annotated[
        int | None, typer.Option(min=0, help="Pairs inside that are laid over each other at most; 1,000 by default.")
    ] = None,
    image_model: Annotated[str | None, typer.Option(help="A model of transformers to find neighbours with.")] = None,
    similarity: Annotated[float | None, typer.Option(help="Cosine from which they count.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the fingerprints; the user's cache by default.")] = None,
) -> None:
    """Find pictures and instructions of a benchmark in training data; exit code 1 above the limits, 2 for bad input."""
    from smartedit.data.audit import AuditOptions, audit_manifest
    from smartedit.data.audit_exclusion import exclude as write_without
    from smartedit.data.audit_report import write_audit
    from smartedit.data.manifest import Manifest
    from smartedit.data.progress import progress_bars

    given: dict[str, object] = {"threshold": threshold, "inside_looks": inside_looks}
    given |= {"image_model": image_model, "similarity": similarity, "cache": cache}
    try:
        opened = Manifest(manifest)
        options = AuditOptions(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        with progress_bars() as progress:
            found = audit_manifest(opened, against, options, progress=progress)
        page = write_audit(found, opened, against, out or opened.path.parent / "audit")
        _print(found)
        typer.echo(f"report: {page}")
        if exclude is not None:
            without = write_without(opened, found, exclude, kinds=_kinds(texts=exclude_texts), inside=exclude_inside)
            typer.echo(f"{without.manifest}: {without.left} rows, {without.rows} left out")
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    faults = _faults(found, max_leaks, max_texts, max_inside)
    for fault in faults:
        typer.echo(f"failed: {fault}", err=True)
    if faults:
        raise typer.Exit(1)


def _kinds(*, texts: bool) -> "tuple[Kind, ...]":
    from smartedit.data.overlaps import LEAKS, TEXTS

    return (*LEAKS, *TEXTS) if texts else LEAKS


def _print(found: "Audit") -> None:
    from smartedit.data.overlaps import LEAKS, Kind

    typer.echo(f"{found.rows} rows, {found.pictures} pictures, {found.samples} samples of the benchmark")
    for kind in Kind:
        if kind is Kind.ALIKE and found.image_model is None:
            continue
        if found.samples:
            rows = len(found.leaking_rows([kind]))
            mark = "" if kind in LEAKS else " (not counted as a leak)"
            typer.echo(f"    {kind.value} against the benchmark: {rows} rows{mark}")
    for kind in (Kind.EXACT, Kind.NEAR):
        typer.echo(f"    {kind.value} inside: {found.count(kind, inside=True)} pairs")
    if found.not_looked:
        typer.echo(f"    not laid over each other: {found.not_looked} more pairs inside (--inside-looks)")
    if found.faults:
        place, fault = next(iter(found.faults.items()))
        typer.echo(f"    not compared: {len(found.faults)} pictures, for example {place}: {fault}")


def _faults(found: "Audit", leaks: int, texts: int | None, inside: int | None) -> list[str]:
    """What exceeds its limit."""
    from smartedit.data.overlaps import TEXTS, Kind

    pairs = found.count(Kind.EXACT, inside=True) + found.count(Kind.NEAR, inside=True)
    counted = [
        (len(found.leaking_rows()), leaks, "rows with pictures of the benchmark"),
        (len(found.leaking_rows(TEXTS)), texts, "rows with instructions of the benchmark"),
        (pairs, inside, "pairs of pictures inside"),
    ]
    return [f"{n} {what}, {most} allowed" for n, most, what in counted if most is not None and n > most]


def show(
    manifest: ManifestPath,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="HTML file; contact-sheet.html beside MANIFEST.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of each source.")] = 12,
    source: Annotated[list[str] | None, typer.Option(help="Only this source; may be given several times.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed shows other rows.")] = 0,
) -> None:
    """Write a contact sheet: pictures before and after, and what is asked for, of some rows of every source."""
    from smartedit.data.manifest import Manifest
    from smartedit.data.sheet import write_sheet

    with plain_words():
        opened = Manifest(manifest)
        path = out or opened.path.parent / "contact-sheet.html"
        faults = write_sheet(opened, path, rows=rows, sources=source, seed=seed)
    typer.echo(f"{path}" + (f": {faults} rows could not be decoded; the page says why" if faults else ""))
