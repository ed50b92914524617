"""Time and memory of `smartedit manifest build` on annotations of full size, and of scanning label maps.

python benchmarks/full_size_annotations.py DATA        # 3.6 GB of random annotations
python benchmarks/manifest_speed.py DATA
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SOURCES = ("refcoco", "grefcoco", "instructpix2pix", "llava", "cc12m")
ROOTS = {"cc12m": "."}
TURNS = 4


def write_config(path: Path, data: Path, names: tuple[str, ...]) -> None:
    """A manifest configuration of these sources."""
    sections = [f'[sources.{name}]\nroot = "{ROOTS.get(name, name)}"\n' for name in names]
    path.write_text(f'root = "{data.resolve().as_posix()}"\n\n' + "\n".join(sections))


def timed(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MB of a child process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure_build(data: Path, work: Path, names: tuple[str, ...], label: str) -> None:
    """Build a manifest from nothing and print what it took."""
    out, config = work / "out", work / "sources.toml"
    shutil.rmtree(out, ignore_errors=True)
    write_config(config, data, names)
    program = "from smartedit.commands.manifest import app; app()"
    command = [sys.executable, "-c", program, "build", "--config", str(config), "--out", str(out)]
    wall, cpu, memory = timed(command)
    size = (out / "manifest.parquet").stat().st_size / 1e6
    print(
        f"{label:16s} wall {wall:6.1f} s   CPU {cpu:6.1f} s   peak {memory:6.0f} MB   manifest {size:6.0f} MB",
        flush=True,
    )


def measure_again(work: Path, diff: bool) -> None:
    """What the same command costs when nothing changed, and what comparing costs."""
    program, out = "from smartedit.commands.manifest import app; app()", str(work / "out")
    commands = {"again": ["build", "--config", str(work / "sources.toml"), "--out", out]}
    if diff:
        commands["diff"] = ["diff", out, out]
    for label, arguments in commands.items():
        wall, cpu, memory = timed([sys.executable, "-c", program, *arguments])
        print(f"{label:16s} wall {wall:6.1f} s   CPU {cpu:6.1f} s   peak {memory:6.0f} MB", flush=True)


def write_label_maps(folder: Path, count: int) -> None:
    """Label maps of 640 x 480 with regions of curved borders, of 6 kB as COCO-Stuff's are, and black pictures."""
    rng = np.random.default_rng(0)
    (folder / "cocostuff/train2017").mkdir(parents=True)
    (folder / "coco/train2017").mkdir(parents=True)
    names = "\n".join(f"{i}: class{i}" for i in range(183))
    (folder / "cocostuff/labels.txt").write_text(names)
    for i in range(count):
        coarse = rng.normal(size=(7, 5, 7)).astype(np.float32)
        fields = [Image.fromarray(field).resize((640, 480), Image.Resampling.BICUBIC) for field in coarse]
        values = rng.choice(181, len(fields), replace=False).astype(np.uint8)
        labels = values[np.stack([np.asarray(field) for field in fields]).argmax(axis=0)]
        Image.fromarray(labels).save(folder / f"cocostuff/train2017/{i:012d}.png")
        Image.new("RGB", (640, 480)).save(folder / f"coco/train2017/{i:012d}.jpg")


def measure_scan(work: Path, count: int) -> None:
    """Label maps a second of the reader, beside those of decoding the PNGs alone, in turns; the best turn of each."""
    from smartedit.data.sources import cocostuff

    folder = work / "maps"
    write_label_maps(folder, count)
    paths = sorted((folder / "cocostuff/train2017").iterdir())
    size = sum(path.stat().st_size for path in paths) / count / 1000

    def decode() -> None:
        for path in paths:
            with Image.open(path) as picture:
                picture.load()

    ways: dict[str, Callable[[], object]] = {
        "decoding with Pillow": decode,
        "values with Pillow": lambda: [np.asarray(Image.open(path)) for path in paths],
        "decoding as the reader does": lambda: [cocostuff.read_label_map(path) for path in paths],
        "reader": lambda: list(cocostuff.read(folder, "train2017")),
    }
    best = dict.fromkeys(ways, (float("inf"), float("inf")))
    for _ in range(TURNS):
        for name, way in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            way()
            spent = time.perf_counter() - start, time.process_time() - cpu
            best[name] = min(best[name], spent, key=lambda pair: pair[1])
    for name, (wall, cpu) in best.items():
        print(f"{count} label maps of {size:.1f} kB, {name}: {count / wall:.0f}/s wall, {count / cpu:.0f} a CPU second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--maps", type=int, default=2000)
    parser.add_argument("--diff", action="store_true", help="also compare the full manifest with itself (minutes)")
    parser.add_argument("--only", nargs="*", default=[], help=f"of {', '.join(SOURCES)}, maps")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in options.only or SOURCES:
            if name == "maps":
                measure_scan(work, options.maps)
            else:
                measure_build(options.data, work, (name,), name)
        if not options.only:
            measure_build(options.data, work, SOURCES, "all in one")
            measure_again(work, options.diff)
            measure_scan(work, options.maps)


if __name__ == "__main__":
    main()
