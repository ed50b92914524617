"""`smartedit manifest`: builds training manifests from data sets on disk, and says what is in them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from smartedit.commands import manifest_audit
from smartedit.commands.plain_errors import plain_words

if TYPE_CHECKING:
    from smartedit.data.manifest import Manifest

app = typer.Typer(help="Build training manifests from data sets on disk, and look into them.", no_args_is_help=True)
manifest_audit.add_to(app)

ManifestPath = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A manifest, or the folder it was built in.")]


@app.command()
def build(
    config: Annotated[Path, typer.Option("--config", help="TOML file that names the sources.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for manifest.parquet and rejections.parquet.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="sources.NAME.KEY=VALUE, over the file's.")
    ] = None,
) -> None:
    """Read all sources into one manifest; the same command goes on after an interruption."""
    from smartedit.data.build import build_from_file
    from smartedit.data.manifest import Manifest
    from smartedit.data.progress import progress_bars

    with plain_words():
        with progress_bars() as progress:
            report = build_from_file(config, out, overrides or (), progress)
        manifest = Manifest(report.manifest)
    _print_summary(manifest)
    reused = f"; kept from an earlier run: {', '.join(report.reused)}" if report.reused else ""
    state = "is up to date" if report.up_to_date else f"written{reused}"
    typer.echo(f"{report.manifest}: {len(manifest)} rows, {state}")


@app.command()
def summary(
    manifest: ManifestPath,
    mixture: Annotated[
        str | None, typer.Option(help="Show how often this mixture draws each source: a preset or a TOML file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Say what a manifest holds: layouts, rows by source and task, what was left out and why, licenses."""
    from smartedit.data.manifest import Manifest
    from smartedit.data.mixture import load_mixture, resolve_weights

    with plain_words():
        opened = Manifest(manifest)
        shares = resolve_weights(load_mixture(mixture), opened.sizes) if mixture else None
    if as_json:
        names = ("layouts", "terms", "config", "inputs")
        content = {"rows": len(opened), "counts": dict(opened.counts), "rejections": dict(opened.rejections)}
        content |= {name: opened.value(name) for name in names}
        typer.echo(json.dumps(content | ({"shares": shares} if shares else {}), indent=1))
        return
    _print_summary(opened, shares)


def _print_summary(manifest: "Manifest", shares: dict[str, float] | None = None) -> None:
    terms, layouts = manifest.value("terms"), manifest.value("layouts")
    for name in manifest.sources:
        rows = ", ".join(f"{count} {task}" for task, count in manifest.counts[name].items())
        share = f", drawn {shares.get(name, 0.0):.2%}" if shares is not None else ""
        typer.echo(f"{name}: {rows}{share}  [{terms[name]['license']}]")
        typer.echo(f"    {layouts[name]}")
        for reason, count in manifest.rejections[name].items():
            typer.echo(f"    left out {count}: {reason}")


@app.command()
def diff(
    before: ManifestPath,
    after: Annotated[Path, typer.Argument(metavar="AFTER", help="The manifest to compare it with.")],
) -> None:
    """Compare two manifests by example id; exit code 1 when they differ, as diff does, and 2 when one is unreadable."""
    from smartedit.data.comparing import compare_manifests
    from smartedit.data.manifest import Manifest

    try:
        differences = compare_manifests(Manifest(before), Manifest(after))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for change in differences:
        counts = f"{change.added} added, {change.removed} removed, {change.changed} changed"
        state = "the same" if change.is_same else counts
        typer.echo(f"{change.source}: {change.before} -> {change.after} rows, {state}")
        for example in change.examples:
            typer.echo(f"    {example}")
    if not all(change.is_same for change in differences):
        raise typer.Exit(1)
