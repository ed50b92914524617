"""A progress bar on the error stream, with one line a method; silent where nobody watches."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show progress.

    Args:
        title: What is going on.

    Yields:
        A function to be called with a line's name, how much is done, and the total.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = not logging.getLogger().isEnabledFor(logging.WARNING)  # `--quiet`
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(f"{title} {name}", total=total)
            bar.update(tasks[name], completed=done, total=total)

        yield advance
