"""`smartedit-bench methods`: which editors can be measured."""

from typing import Annotated

import typer

from smartedit.commands.plain_errors import plain_errors


@plain_errors
def methods(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="With class, licence, memory and every setting's default.")
    ] = False,
    pin: Annotated[
        list[str] | None, typer.Option(help="NAME or all: print the commit that is cached here, or on the hub now.")
    ] = None,
) -> None:
    """List the methods with their tags."""
    if pin:
        _print_pins(pin)
        return
    from pydantic import TypeAdapter
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from benchmark.methods.registry import METHODS

    table = Table(title="smartedit-bench methods", show_lines=verbose)
    for column in ("method", "tags", "what it is", *(["facts", "settings"] if verbose else [])):
        table.add_column(column, overflow="fold")
    for spec in METHODS.values():
        row = [spec.name, ", ".join(spec.tags) or "as tagged by you", spec.summary]
        if verbose:
            schema = TypeAdapter(spec.options).json_schema().get("properties", {})
            row.append("\n".join(f"{k}: {v}" for k, v in spec.facts.items()))
            row.append("\n".join(f"{k} = {v.get('default', 'needed')}" for k, v in schema.items()))
        table.add_row(*map(escape, row))
    console = Console()
    console.print(table)
    console.print(
        "package.module:factory names an editor of your own: a function that makes an object with edit(requests)."
    )


def _print_pins(names: list[str]) -> None:
    """Settings that pin what would be run today, ready to be pasted."""
    from benchmark.methods.pins import pins
    from benchmark.methods.registry import METHODS

    found = pins(METHODS, () if names == ["all"] else names)
    for one in found:
        if one.commit is not None:
            typer.echo(f"--set {one.method}.revision={one.commit}  # {one.model}, from the {one.source}")
        else:
            typer.echo(f"# {one.method}: {one.model}: {one.source}", err=True)
    if any(one.commit is None for one in found):
        raise typer.Exit(1)
