"""Progress of a build on the terminal, a bar a source."""

from collections.abc import Iterator
from contextlib import contextmanager

from smartedit.data.parts import Progress


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A callback that draws bars on standard error; where that is no terminal, nothing is drawn."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, int] = {}

        def report(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = int(bars.add_task(name, total=total))
            bars.update(tasks[name], completed=done)  # type: ignore[arg-type]

        yield report
