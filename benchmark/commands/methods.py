"""`smartedit-bench methods`: which editors can be measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smartedit.commands.plain_errors import plain_errors

if TYPE_CHECKING:
    from benchmark.methods.specs import MethodSpec


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
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from benchmark.methods.registry import METHODS
    from benchmark.methods.specs import Tag

    if verbose:
        for spec in METHODS.values():
            typer.echo("\n".join(_described(spec)) + "\n")
    else:
        table = Table(title="smartedit-bench methods")
        for column in ("method", "tags", "what it is"):
            table.add_column(column, overflow="fold")
        for spec in METHODS.values():
            table.add_row(*map(escape, (spec.name, ", ".join(spec.tags) or "as tagged by you", spec.summary)))
        Console().print(table)
    typer.echo(
        "package.module:factory names an editor of your own: a function that makes an object with edit(requests).\n"
        "--set LABEL.tags=TAG says how its pictures come to be, or those of outputs, http and openai-images: one or "
        f"several of {', '.join(Tag)}."
    )


def _described(spec: "MethodSpec") -> list[str]:
    """A method's lines, none of them folded, so that a hub id or a commit can be copied and searched for."""
    from pydantic import TypeAdapter

    schema = TypeAdapter(spec.options).json_schema()
    settings, needed = schema.get("properties", {}), schema.get("required", [])
    return [
        f"{spec.name} ({', '.join(spec.tags) or 'as tagged by you'}): {spec.summary}",
        *(f"    {name}: {text}" for name, text in spec.facts.items()),
        *(f"    --set {spec.name}.{name}={_default(setting, name in needed)}" for name, setting in settings.items()),
    ]


def _default(setting: Mapping[str, Any], needed: bool) -> str:
    if needed:
        return "VALUE (needed)"
    value = setting.get("default")
    return str(value).lower() if isinstance(value, bool) else "(not set)" if value in (None, []) else str(value)


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
