"""A figure of chosen samples and methods side by side, in the manner of the paper's Figures 5 to 7."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.report.content import ReportContent
from benchmark.runs import Run
from reason_edit.files import atomic_path
from reason_edit.loading import ImageError, read_image
from reason_edit.schema import EditSample
from smartedit.seeding import seed_from

CELL = 1.55
"""Inches of a picture's side."""

GAP = 0.34
"""Inches below a row, for its instruction."""


class FigureError(ValueError):
    """A figure of these samples or methods cannot be drawn."""


def choose_samples(content: ReportContent, ids: Sequence[str] = ()) -> list[EditSample]:
    """The samples of a figure: those named, or one of each category.

    The choice follows from the ids alone, not from any score, so that a default figure is never a selection of good
    results; it does prefer samples that every method has a picture of.

    Raises:
        FigureError: An id is not in the run.
    """
    known = {sample.sample_id: sample for sample in content.samples}
    if unknown := [i for i in ids if i not in known]:
        raise FigureError(f"no sample {', '.join(unknown)} in this run; ids look like {next(iter(known))}")
    if ids:
        return [known[i] for i in ids]
    chosen: dict[str, EditSample] = {}
    for sample in sorted(content.samples, key=lambda s: (not _complete(content, s), seed_from("figure", s.sample_id))):
        chosen.setdefault(sample.category, sample)
    return [sample for sample in content.samples if sample in chosen.values()]


def _complete(content: ReportContent, sample: EditSample) -> bool:
    edits = [content.edits.get((m.label, sample.sample_id)) for m in content.methods]
    return all(edit is not None and edit.image is not None for edit in edits)


def choose_methods(content: ReportContent, labels: Sequence[str] = ()) -> list[str]:
    """The methods of a figure: those named, or all.

    Raises:
        FigureError: A label is not in the run.
    """
    known = [m.label for m in content.methods]
    if unknown := [label for label in labels if label not in known]:
        raise FigureError(f"no method {', '.join(unknown)} in this run; there are {', '.join(known)}")
    return list(labels) or known


def write_figure(
    run: Run, content: ReportContent, *, samples: Sequence[str] = (), methods: Sequence[str] = ()
) -> list[Path]:
    """Draw `figure.png` and `figure.pdf` into the run folder.

    Args:
        run: The run folder.
        content: The report's content.
        samples: Sample ids, one row each; one of each category by default.
        methods: Labels, one column each beside the input; all by default.

    Returns:
        The two files.

    Raises:
        FigureError: A sample or method is not in the run.
    """
    import matplotlib
    from matplotlib.figure import Figure

    rows, labels = choose_samples(content, samples), choose_methods(content, methods)
    width, height = CELL * (len(labels) + 1) + 0.1, (CELL + GAP) * len(rows) + 0.35
    figure = Figure(figsize=(width, height), layout=None)
    for place, sample in enumerate(rows):
        top = 1 - (0.35 + place * (CELL + GAP)) / height
        pictures: list[tuple[str, Path | None, str]] = [("Input Image", sample.image, "missing")]
        for label in labels:
            edit = content.edits.get((label, sample.sample_id))
            path = run.folder / edit.image if edit and edit.image else None
            pictures.append((label, path, edit.error or "missing" if edit else "not edited"))
        for column, (title, path, missing) in enumerate(pictures):
            left = (0.05 + column * CELL) / width
            axes = figure.add_axes((left + 0.02 / width, top - CELL / height, (CELL - 0.04) / width, CELL / height))
            _draw(axes, path, missing)
            if place == 0:
                axes.set_title(textwrap.shorten(title, 24, placeholder="…"), fontsize=9, pad=5)
        text = textwrap.fill(f"“{sample.instruction}”", int(width * 13))
        figure.text(0.5, top - (CELL + 0.06) / height, text, ha="center", va="top", fontsize=9, parse_math=False)
    paths = [run.folder / "figure.png", run.folder / "figure.pdf"]
    with matplotlib.rc_context({"pdf.fonttype": 42, "svg.hashsalt": "smartedit"}):
        for path, metadata in zip(
            paths, ({"Software": None}, {"CreationDate": None, "Producer": None, "Creator": None}), strict=True
        ):
            with atomic_path(path) as temporary:
                figure.savefig(temporary, dpi=200, metadata=metadata, facecolor="white")
    return paths


def _draw(axes: Any, path: Path | None, missing: str) -> None:
    """A picture, or why there is none."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_anchor("N")
    try:
        if path is None:
            raise ImageError(missing)
        axes.imshow(read_image(path), interpolation="antialiased")
    except ImageError as error:
        axes.set_facecolor("#f1f1f3")
        reason = textwrap.fill(textwrap.shorten(str(error), 90, placeholder="…"), 22)
        axes.text(0.5, 0.5, reason, ha="center", va="center", fontsize=7, transform=axes.transAxes, parse_math=False)
