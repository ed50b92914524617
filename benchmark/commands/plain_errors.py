"""A user's mistake as one plain message and exit code 1, without a traceback."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def plain_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a command end on a `ValueError` or an operating system's error with its message alone."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error

    return run
