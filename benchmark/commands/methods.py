"""`smartedit-bench methods`: which editors can be measured."""

from typing import Annotated

import typer


def methods(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="With every setting's default.")] = False,
) -> None:
    """List the methods with their tags."""
    from pydantic import TypeAdapter
    from rich.console import Console
    from rich.table import Table

    from benchmark.methods.registry import METHODS

    table = Table("method", "tags", "what it is", *(["settings"] if verbose else []), title="smartedit-bench methods")
    for spec in METHODS.values():
        row = [spec.name, ", ".join(spec.tags) or "as tagged by you", spec.summary]
        if verbose:
            schema = TypeAdapter(spec.options).json_schema().get("properties", {})
            row.append("\n".join(f"{k} = {v.get('default', 'needed')}" for k, v in schema.items()))
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(
        "package.module:factory names an editor of your own: a function that makes an object with edit(requests)."
    )
