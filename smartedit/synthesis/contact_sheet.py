"""A contact sheet of a set: pairs side by side with their instructions, as one picture."""

import base64
import io
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from smartedit.synthesis.finish import selected_rows
from smartedit.synthesis.records import Candidate, EditedPair, Instructions
from smartedit.synthesis.run_folder import RunFolder
from smartedit.synthesis.stage import read_rgb

GAP, LINE = 10, 17


def contact_sheet(root: Path, *, columns: int = 3, rows: int = 6, side: int = 200) -> Image.Image | None:
    """Pairs of the chosen set, evenly spread over it.

    Args:
        root: The run folder, selected.
        columns: Pairs in a row.
        rows: Rows.
        side: Longer side of each picture, pixels.

    Returns:
        The sheet; None where the set is empty.
    """
    folder = RunFolder(root)
    chosen = selected_rows(root)
    if not chosen:
        return None
    count = min(columns * rows, len(chosen))
    picked = [chosen[i * len(chosen) // count] for i in range(count)]
    candidates = {c.candidate_id: c for c in folder.all_rows("propose", Candidate)}
    said = {i.candidate_id: i.texts[0] for i in folder.all_rows("instruct", Instructions)}
    targets = {p.pair_id: p.target for p in folder.all_rows("inpaint", EditedPair)}
    pictures = {p.picture_id: p.path for p in folder.pictures()}
    width, height = 2 * side + GAP // 2, side + 2 * LINE + GAP
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, -(-count // columns) * height + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for number, row in enumerate(picked):
        left = GAP + (number % columns) * (width + GAP)
        top = GAP + (number // columns) * height
        source = read_rgb(root / pictures[candidates[row.candidate_id].picture_id])
        for offset, image in ((0, source), (side + GAP // 2, read_rgb(root / targets[row.pair_id]))):
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
            sheet.paste(image, (left + offset, top))
        text = said[row.candidate_id]
        for line, part in enumerate(_wrapped(text, font, width)[:2]):
            pen.text((left, top + side + 2 + line * LINE), part, fill=(30, 30, 30), font=font)
    return sheet


def _wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if font.getlength(longer) > width and line:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def contact_sheet_address(root: Path) -> str | None:
    """The sheet as a JPEG in a `data:` address, small enough to be kept by a server."""
    sheet = contact_sheet(root, columns=2, rows=4, side=160)
    if sheet is None:
        return None
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
