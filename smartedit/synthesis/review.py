"""The review sheet: one self-contained page of pairs with keep and reject keys, which saves decisions."""

import base64
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image

from reason_edit.files import write_text
from smartedit.synthesis.finish import read_decisions, selected_rows
from smartedit.synthesis.records import Candidate, EditedPair, Instructions, QualityScores, Region
from smartedit.synthesis.regions import bounding_box
from smartedit.synthesis.run_folder import RunFolder
from smartedit.synthesis.stage import read_mask, read_rgb

THUMBNAIL = 256
"""Longer side of the pictures on the sheet, pixels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """One pair on the sheet; pictures are data addresses, the box is in percent of the picture."""

    pair_id: str
    category: str
    operation: str
    instruction: str
    others: tuple[str, ...]
    notes: str
    source: str
    target: str
    box: tuple[float, float, float, float]
    decision: str


def write_review_sheet(root: Path, *, everything: bool = False, limit: int | None = None) -> Path:
    """Write `review.html` of a run.

    Args:
        root: The run folder.
        everything: All scored pairs instead of the chosen set.
        limit: The first so many pairs.

    Returns:
        The page; its decisions are saved as `decisions.json`, to be put into the run folder.
    """
    from jinja2 import Environment, StrictUndefined

    text = resources.files("smartedit.synthesis").joinpath("templates/review.html").read_text(encoding="utf-8")
    # The page is one template of our own; every value is escaped but the JSON below.
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(text)
    cards = list(_cards(RunFolder(root), everything=everything, limit=limit))
    # Inside a script element nothing is unescaped, so the one thing that could end it is.
    decided = json.dumps({c.pair_id: c.decision for c in cards if c.decision}).replace("<", "\\u003c")
    page = template.render(cards=cards, name=root.name, decided=decided, count=len(cards))
    path = root / "review.html"
    write_text(path, page)
    return path


def _cards(folder: RunFolder, *, everything: bool, limit: int | None) -> Iterable[Card]:
    candidates = {c.candidate_id: c for c in folder.all_rows("propose", Candidate)}
    regions = {r.candidate_id: r for r in folder.all_rows("segment", Region)}
    said = {i.candidate_id: i for i in folder.all_rows("instruct", Instructions)}
    pairs = {p.pair_id: p for p in folder.all_rows("inpaint", EditedPair)}
    scores = {s.pair_id: s for s in folder.all_rows("score", QualityScores)}
    pictures = {p.picture_id: p.path for p in folder.pictures()}
    decisions = read_decisions(folder.root / "decisions.json", set(scores))
    ids: Sequence[str] = list(scores) if everything else [s.pair_id for s in selected_rows(folder.root)]
    for pair_id in ids[:limit]:
        pair, score = pairs[pair_id], scores[pair_id]
        candidate = candidates[pair.candidate_id]
        source = read_rgb(folder.root / pictures[candidate.picture_id])
        mask = read_mask(folder.root / regions[pair.candidate_id].mask)
        x0, y0, x1, y1 = bounding_box(mask)
        height, width = mask.shape
        first, *rest = said[pair.candidate_id].texts
        yield Card(
            pair_id=pair_id,
            category=candidate.category.value,
            operation=candidate.operation.value,
            instruction=first,
            others=tuple(rest),
            notes=_notes(pair, score),
            source=thumbnail_address(source),
            target=thumbnail_address(read_rgb(folder.root / pair.target)),
            box=(100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height),
            decision=decisions.get(pair_id, ""),
        )


def _notes(pair: EditedPair, score: QualityScores) -> str:
    shown = {
        "direction": score.clip_direction,
        "found": score.target_found,
        "left": score.source_left,
        "seam": score.seam_energy,
        "changed": score.changed_fraction,
    }
    values = "  ".join(f"{name} {value:.2f}" for name, value in shown.items() if not np.isnan(value))
    return f"{values}  {pair.origin}"


def thumbnail_address(image: Image.Image, side: int = THUMBNAIL) -> str:
    """A small JPEG of a picture as a `data:` address."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
