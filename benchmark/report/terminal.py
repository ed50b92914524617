"""Tables in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark.report.content import load_content
from benchmark.report.layout import Cell, Table, main_table
from benchmark.runs import Run

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderResult
    from rich.table import Table as RichTable
    from rich.text import Text


def run_tables(run: Run) -> "Group":
    """The main table of each protocol of a scored run, to print at the end of `evaluate`.

    Args:
        run: A scored run.

    Returns:
        Something that a rich console prints; groups of columns stand below each other where a line is too short.

    Raises:
        RunError: The run is not scored yet.
    """
    from rich.console import Group

    content = load_content(run)
    return Group(*(TerminalTable(main_table(content, p), f"{content.dataset_name}, {p}") for p in content.protocols))


@dataclass(frozen=True, slots=True)
class TerminalTable:
    """A table and its notes for a rich console.

    Attributes:
        table: The table.
        subject: What stands before its title.
    """

    table: Table
    subject: str = ""

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """The whole table where it fits the line, or a table for each group of columns."""
        from rich.measure import Measurement
        from rich.text import Text

        title = f"{self.subject}: {self.table.title}" if self.subject else self.table.title
        yield Text(title, style="bold")
        whole = _rich_table(self.table)
        groups = list(dict.fromkeys(h.group for h in self.table.headings if h.group))
        # Measured on an endless line: on the real one, every table claims that it can be squeezed.
        wanted = Measurement.get(console, options.update(max_width=10_000), whole).maximum
        if wanted <= options.max_width or len(groups) < 2:
            yield whole
        else:
            for group in groups:
                yield Text(f"\n{group}")
                yield _rich_table(_only(self.table, group))
        for note in self.table.notes:
            yield Text(f"  {note}", style="dim")


def _only(table: Table, group: str) -> Table:
    """The columns of one group and those of none."""
    keep = [place for place, h in enumerate(table.headings) if h.group in ("", group)]
    sections = tuple((title, tuple(tuple(row[k] for k in keep) for row in rows)) for title, rows in table.sections)
    return replace(table, headings=tuple(replace(table.headings[k], group="") for k in keep), sections=sections)


def _rich_table(table: Table) -> "RichTable":
    from rich import box
    from rich.table import Table as RichTable

    rich = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    groups = [h.group for h in table.headings]
    for place, heading in enumerate(table.headings):
        first = heading.group and heading.group not in groups[:place]
        over = (f"{heading.group}\n" if first else "\n") if any(groups) else ""
        rich.add_column(
            over + heading.title,
            justify="right" if heading.numeric else "left",
            overflow="fold",
            no_wrap=heading.numeric,
        )
    for _, rows in table.sections:
        for place, row in enumerate(rows):
            rich.add_row(*_texts(row, table.intervals), end_section=place == len(rows) - 1)
    return rich


def _texts(row: Sequence[Cell], intervals: bool) -> "list[Text]":
    from rich.text import Text

    texts = []
    for cell in row:
        text = Text(cell.text, style="bold green" if cell.best else "")
        for extra in (cell.interval if intervals else "", cell.mark):
            if extra:
                text.append(f"\n{extra}", style="dim")
        texts.append(text)
    return texts
