"""One picture of a whole miniature Reason-Edit: source, target and instruction of every sample."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from reason_edit.files import atomic_path
from reason_edit.tables import read_rows
from smartedit.miniature.benchmark_set import FOLDERS, Answer

INK, PAPER, ACCENT = (44, 40, 48), (252, 250, 246), (214, 48, 49)


def write_contact_sheet(folder: Path, out: Path, columns: int = 5, side: int = 128, most: int | None = None) -> None:
    """Draw the sheet.

    Args:
        folder: A miniature Reason-Edit, answers included.
        out: The picture to write; its suffix chooses the format.
        columns: Samples in a row.
        side: Pixels of each picture on the sheet.
        most: Samples of each category, all if None.

    Raises:
        TableError: The folder has no answers.
    """
    answers = read_rows(folder / "answers" / "scenes.parquet", Answer)
    font, heading = ImageFont.load_default(max(11, side // 10)), ImageFont.load_default(max(16, side // 6))
    width = columns * (2 * side + 22) + 20
    strips: list[Image.Image] = []
    for category, (name, _) in FOLDERS.items():
        rows = [answer for answer in answers if answer.category is category][:most]
        title = Image.new("RGB", (width, side // 3 + 10), PAPER)
        ImageDraw.Draw(title).text((18, 14), f"{name}  ({len(rows)})", fill=INK, font=heading)
        strips.append(title)
        starts = range(0, len(rows), columns)
        strips += [_strip(folder, name, rows[k : k + columns], width, side, font) for k in starts]
    sheet = Image.new("RGB", (width, sum(strip.height for strip in strips) + 12), PAPER)
    y = 0
    for strip in strips:
        sheet.paste(strip, (0, y))
        y += strip.height
    with atomic_path(out) as temporary:
        sheet.save(temporary)


def _strip(
    folder: Path,
    name: str,
    rows: Sequence[Answer],
    width: int,
    side: int,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> Image.Image:
    line = round(side / 128 * 15)
    strip = Image.new("RGB", (width, side + 4 * line + 14), PAPER)
    pen = ImageDraw.Draw(strip)
    for k, answer in enumerate(rows):
        x, stem = 16 + k * (2 * side + 22), answer.sample_id.partition("/")[2]
        source = _picture(folder / name / f"{stem}.png", side)
        mask = np.asarray(_picture(folder / name / f"{stem}_mask.jpg", side).convert("L")) >= 128
        strip.paste(_outlined(source, mask), (x, 4))
        strip.paste(_picture(folder / "answers" / answer.target, side), (x + side + 4, 4))
        words = textwrap.wrap(f"{stem}  {answer.instruction}", 42)[:3]
        for row, text in enumerate([*words, f"CLIP: {answer.target_label}"]):
            pen.text((x, side + 8 + row * line), text, fill=INK if row < len(words) else ACCENT, font=font)
    return strip


def _picture(path: Path, side: int) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def _outlined(image: Image.Image, mask: np.ndarray) -> Image.Image:
    """The picture with the border of the mask drawn on it."""
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    pixels = np.array(image)
    pixels[mask & ~inner] = ACCENT
    return Image.fromarray(pixels)
