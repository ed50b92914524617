"""A run folder drawn by code: a few pictures, methods that do well or badly, and files that would betray them."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.schema import Category, EditSample
from reason_edit.tables import write_rows

METHODS = ("zebra-edit", "quokka-edit", "walrus-edit")
CATEGORIES = (Category.LEFT_RIGHT, Category.COLOR, Category.REASONING)
COLORS = ("crimson", "royalblue", "seagreen", "darkorange", "purple", "gold")
ROOT = Path(__file__).parents[3]


def scene(number: int, new: bool, side: int = 64) -> Image.Image:
    picture = Image.new("RGB", (side * 3 // 2, side), "gainsboro")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, side * 3 // 4, side * 2, side), fill="tan")
    first, second = COLORS[number % 6], COLORS[(number + 2) % 6]
    box = (side // 8, side // 3, side // 8 + side // 2, side // 3 + side // 2)
    draw.ellipse(box, fill=first)
    box = (side * 7 // 8, side // 3, side * 7 // 8 + side // 2, side // 3 + side // 2)
    if new:
        draw.rectangle(box, fill=COLORS[(number + 4) % 6])
    else:
        draw.ellipse(box, fill=second)
    return picture


def write_run(folder: Path, *, samples: int = 6, methods: Sequence[str] = METHODS, missing: int = 0) -> Run:
    """Every method leaves its own size, format and metadata; the last `missing` edits of the last method failed."""
    run = Run(folder)
    rows, records = [], []
    for i in range(samples):
        category = CATEGORIES[i % len(CATEGORIES)]
        sample_id = f"{category.value}/{i:03d}"
        image, mask = folder / "data" / f"{sample_id}.png", folder / "data" / f"{sample_id}_mask.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        scene(i, False).save(image)
        painted = Image.new("L", (96, 64), 0)
        ImageDraw.Draw(painted).rectangle((56, 21, 88, 53), fill=255)
        painted.save(mask)
        rows.append(
            EditSample(
                sample_id=sample_id,
                category=category,
                instruction=f"Replace the right disc of picture {i} with a {COLORS[(i + 4) % 6]} square",
                target_label=f"{COLORS[(i + 4) % 6]} square",
                image=image,
                mask=mask,
            )
        )
        for m, method in enumerate(methods):
            failed = m == len(methods) - 1 and i >= samples - missing
            path = run.image_path(method, sample_id)
            if not failed:
                path.parent.mkdir(parents=True, exist_ok=True)
                note = PngInfo()
                note.add_text("Software", method)
                edited = scene(i, new=(i + m) % 3 != 0).resize((96 + 16 * m, 64 + 8 * m))
                edited.save(path, pnginfo=note, compress_level=m, dpi=(72 + m, 72))
            records.append(
                EditRecord(
                    method=method,
                    sample_id=sample_id,
                    image=None if failed else path.relative_to(folder).as_posix(),
                    image_sha256=None if failed else sha256(path.read_bytes()).hexdigest(),
                    seed=i,
                    response=None,
                    error="out of memory" if failed else None,
                )
            )
    run.write_settings({"dataset": {"name": "drawn"}, "methods": {m: {"tags": ["direct"]} for m in methods}})
    run.write_samples(rows)
    write_rows(run.edits_path, records, EditRecord)
    return run


@dataclass
class Served:
    process: subprocess.Popen[str]
    links: dict[str, str]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()


def serve(*arguments: str | Path, port: int = 0) -> Served:
    """`rate serve` as a process of its own, once it answers."""
    command = [sys.executable, "-c", "from benchmark.commands.rate import app; app()", "serve", *map(str, arguments)]
    process = subprocess.Popen([*command, "--port", str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    links = {}
    assert process.stdout is not None
    for line in process.stdout:
        name, _, url = line.strip().partition("\t")
        if url:
            links[name] = url
        if line.startswith("Serving"):
            break
    served = Served(process, links)
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(next(iter(links.values())), timeout=2)
            return served
        except httpx.TransportError:
            time.sleep(0.05)
    served.kill()
    raise RuntimeError(f"the server did not start: {json.dumps(links)}")
