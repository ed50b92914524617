"""Tables as Markdown, LaTeX and CSV."""

import csv
import io
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from benchmark.report.layout import Cell, Heading, Table


def markdown_table(table: Table) -> str:
    """A table as GitHub Markdown, with its notes below."""
    several = len({h.group for h in table.headings if h.group}) > 1
    titles = [f"{h.group}: {h.title}" if several and h.group else h.title for h in table.headings]
    lines = [f"**{_md(table.title)}.**", "", _md_row(titles)]
    lines.append("|" + "|".join("---:" if h.numeric else ":---" for h in table.headings) + "|")
    for title, rows in table.sections:
        if len(table.sections) > 1 and title:
            lines.append(_md_row([f"*{_md(title)}*"] + [""] * (len(titles) - 1), escape=False))
        lines += [_md_row([_md_cell(c, table.intervals) for c in row], escape=False) for row in rows]
    return "\n".join([*lines, "", *(f"- {_md(note)}" for note in table.notes), ""])


def _md(text: str) -> str:
    return re.sub(r"([\\`*_{}<>|\[\]])", r"\\\1", text).replace("\n", " ")


def _md_row(cells: Sequence[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(_md(c) if escape else c for c in cells) + " |"


def _md_cell(cell: Cell, intervals: bool) -> str:
    text = f"**{_md(cell.text)}**" if cell.best else _md(cell.text)
    interval = f" {_md(cell.interval)}" if intervals and cell.interval else ""
    return text + interval + (f" ({_md(cell.mark)})" if cell.mark else "")


LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
}


def latex_escape(text: str) -> str:
    """Text that LaTeX sets as it is; letters beyond extended Latin, which pdfLaTeX lacks, become a question mark."""
    out = []
    for character in text:
        replacement = LATEX_CHARACTERS.get(character)
        if replacement is None:
            replacement = character if ord(character) < 0x250 else "?"
        out.append(replacement)
    return "".join(out)


def latex_table(table: Table, protocol: str) -> str:
    """A table as a `table` environment with booktabs rules; wide ones are scaled to the text width."""
    spec = "".join("r" if h.numeric else "l" for h in table.headings)
    body = [*_latex_head(table.headings), r"\midrule"]
    for index, (title, rows) in enumerate(table.sections):
        if len(table.sections) > 1 and title:
            body += [r"\addlinespace"] if index else []
            body.append(rf"\multicolumn{{{len(spec)}}}{{l}}{{\emph{{{latex_escape(title)}}}}} \\")
        body += [" & ".join(_latex_cell(c, table.intervals) for c in row) + r" \\" for row in rows]
    caption = f"{table.title} (protocol {protocol}). " + " ".join(table.notes)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{latex_escape(caption.strip())}}}",
            rf"\label{{tab:{re.sub('[^a-z0-9-]', '-', f'{protocol}-{table.name}'.lower())}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{spec}}}",
            r"\toprule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _latex_head(headings: Sequence[Heading]) -> list[str]:
    lines = []
    if any(h.group for h in headings):
        cells, rules, start = [], [], 1
        for group, members in itertools.groupby(headings, key=lambda h: h.group):
            span = len(list(members))
            cells.append(rf"\multicolumn{{{span}}}{{c}}{{{latex_escape(group)}}}" if group else "& " * (span - 1))
            rules += [rf"\cmidrule(lr){{{start}-{start + span - 1}}}"] if group else []
            start += span
        lines += [" & ".join(cells) + r" \\", " ".join(rules)]
    return [*lines, " & ".join(latex_escape(h.title) for h in headings) + r" \\"]


def _latex_cell(cell: Cell, intervals: bool) -> str:
    text = rf"\textbf{{{latex_escape(cell.text)}}}" if cell.best else latex_escape(cell.text)
    # A bracket first in a row would be read as the argument of the `\\` before it.
    interval = rf" {{\scriptsize {latex_escape(cell.interval)}}}" if intervals and cell.interval else ""
    return text + interval + (rf" {{\scriptsize ({latex_escape(cell.mark)})}}" if cell.mark else "")


def latex_document(tables: Sequence[str], comment: str) -> str:
    """Tables in a document that compiles as it is; each `table` may be copied into a paper that loads booktabs."""
    return "\n".join(
        [
            *(f"% {line}" for line in comment.splitlines()),
            r"\documentclass[10pt]{article}",
            r"\usepackage[utf8]{inputenc}",
            r"\usepackage{booktabs,graphicx}",
            r"\usepackage[margin=2cm,landscape]{geometry}",
            r"\begin{document}",
            *tables,
            r"\end{document}",
            "",
        ]
    )


def csv_rows(rows: Sequence[Any], row_type: type) -> str:
    """Dataclasses as CSV, one line each; NaN is empty, infinity is `inf`.

    Args:
        rows: Instances of `row_type`.
        row_type: A dataclass, whose fields are the columns.

    Returns:
        CSV with a header.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(row_type)]
    writer.writerow(names)
    writer.writerows([csv_value(getattr(row, name)) for name in names] for row in rows)
    return out.getvalue()


def csv_value(value: object) -> str:
    """A value in CSV: floats in the shortest form that reads back exactly, NaN empty."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)
