"""A user's mistake as one plain message and exit code 1, without a traceback."""

import errno
import functools
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _told(error: Exception) -> str:
    """The error's own words, or ours where the system says only that something is no folder or no file."""
    if isinstance(error, OSError) and error.filename is not None:
        place = error.filename if error.filename2 is None else error.filename2
        is_file = os.path.isfile(place)
        if error.errno == errno.ENOTDIR or (error.errno == errno.EEXIST and is_file):
            return f"{place}: a folder is wanted there, and it is a file or lies below one; name another"
        if error.errno == errno.EISDIR:
            return f"{place}: a file is wanted there, and it is a folder; name another"
    return str(error)


def _is_read(stream: Any) -> bool:
    """Whether somebody still reads a stream; what nobody reads (`| head`) is led nowhere when Python flushes it."""
    try:
        descriptor = stream.fileno()
    except OSError:  # No file of the system's.
        return True
    poll = select.poll()
    poll.register(descriptor, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return True
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return False


@contextmanager
def plain_words() -> Iterator[None]:
    """Turn what a user can do something about (a `ValueError`, a full disk, no memory) into one message."""
    try:
        yield
    except BrokenPipeError as error:
        if _is_read(sys.stdout):
            typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    except (ValueError, OSError) as error:
        typer.echo(f"error: {_told(error)}", err=True)
        raise typer.Exit(1) from error
    except RuntimeError as error:
        if "out of memory" not in str(error).lower() and "not enough memory" not in str(error).lower():
            raise
        typer.echo(
            "error: the memory is used up; use smaller batches, bfloat16, offloading or another device", err=True
        )
        raise typer.Exit(1) from error


def plain_errors(command: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a whole command end in plain words."""

    @functools.wraps(command)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with plain_words():
            return command(*args, **kwargs)

    return run
