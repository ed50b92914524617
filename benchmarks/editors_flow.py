"""Six editors of small random weights through the flow `benchmark` on two Dask workers, beside one process.

    python -m benchmarks.editors_flow OUT                                         # one miniature sample a category
    python -m benchmarks.editors_flow OUT --photographs ../shared/samples/anyedit # pairs X_origin.jpg, X_edit.jpg

Give both ways as many threads (`OMP_NUM_THREADS=1`): another number sums in another order. OUT/flow is the run, with
its report. Printed are counts, seconds and whether both ways gave the same bytes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.commands.data_sets import find_samples
from benchmark.edit import edit_run
from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.provenance import describe_dataset, open_run
from benchmark.runs import Run
from reason_edit.index import write_index
from reason_edit.loading import load_reason_edit
from reason_edit.schema import PAPER_CATEGORIES, EditSample
from tests.benchmark.methods.tiny_editors import write_tiny_editor
from tests.benchmark.tiny_pipeline import write_tiny_pipeline

ROOT = Path(__file__).parents[1]
EDITORS = ("flux-kontext", "flux2-klein", "omnigen", "glm-image", "qwen-image-2.1")
CHANGED = 40
"""Levels of 255 by which a pixel has to differ between the two pictures of a pair to be in its mask."""


def miniature(folder: Path, each: int) -> Path:
    """An index of the first samples of every category of the miniature set."""
    _, samples = find_samples(None)
    chosen = [s for c in PAPER_CATEGORIES for s in [s for s in samples if s.category is c][:each]]
    write_index(folder / "index.parquet", chosen)
    return folder / "index.parquet"


def photographs(folder: Path, pairs: Path) -> Path:
    """An index of photographs; a mask is where a pair's second picture differs from its first."""
    samples = []
    for number, origin in enumerate(sorted(pairs.glob("*_origin.jpg"))):
        name = origin.stem.removesuffix("_origin")
        before, after = (
            np.asarray(Image.open(p).convert("RGB"), dtype=int) for p in (origin, pairs / f"{name}_edit.jpg")
        )
        mask = folder / f"{name}.png"
        Image.fromarray((abs(before - after).max(axis=2) > CHANGED).astype(np.uint8) * 255).save(mask)
        category = PAPER_CATEGORIES[number % len(PAPER_CATEGORIES)]
        samples.append(
            EditSample(
                sample_id=f"{category}/{name}",
                category=category,
                instruction=f"{name.replace('_', ' ')} what is in the middle",
                target_label="the middle",
                image=origin.resolve(),
                mask=mask.resolve(),
            )
        )
    write_index(folder / "index.parquet", samples)
    return folder / "index.parquet"


def six_methods(folder: Path) -> MethodWords:
    """InstructPix2Pix and five of today's editors, one step at a small size."""
    places = {name: write_tiny_editor(name, folder) for name in EDITORS}
    places["instruct-pix2pix"] = write_tiny_pipeline(folder / "instruct-pix2pix")
    return MethodWords(
        methods=list(places),
        models=[f"{name}={path}" for name, path in places.items()],
        sets=[f"{name}.{setting}" for name in places for setting in ("steps=1", "side=96")],
    )


def run_flow(out: Path, dataset: Path, words: MethodWords) -> str:
    """The flow as a user starts it; returns what it said."""
    command = [sys.executable, "-m", "flows.measure", str(out / "flow"), "--dataset", str(dataset)]
    for option, values in (("--method", words.methods), ("--model", words.models), ("--set", words.sets)):
        command += [part for value in values for part in (option, value)]
    command += ["--shards", "2", "--workers", "2", "--dask", "local", "--device", "cpu", "--protocol", "strict-v1"]
    command += ["--batch-size", "2"]
    environment = os.environ | {"PREFECT_HOME": str(out / "prefect"), "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    (out / "flow.log").write_text(done.stderr, encoding="utf-8")
    if done.returncode != 0:
        raise SystemExit(f"the flow failed; see {out / 'flow.log'}: {done.stderr[-2000:]}")
    return done.stderr


def main() -> None:
    """Run both ways and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--each", type=int, default=1, help="miniature samples of a category")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True)
    index = photographs(out, arguments.photographs) if arguments.photographs else miniature(out, arguments.each)
    words = six_methods(out / "models")

    start = time.perf_counter()
    said = run_flow(out, index, words)
    seconds = time.perf_counter() - start
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)

    samples, methods, plain = load_reason_edit(index), resolve_methods(words), Run(out / "plain")
    described = describe_dataset(samples, index, index.name)
    open_run(plain, dataset=described, samples=samples, methods=methods, device="cpu", seed=0, batch_size=2, command=[])
    records = edit_run(plain, methods, samples, device="cpu", batch_size=2)
    flow = Run(out / "flow")
    pictures = sorted(p.relative_to(plain.folder) for p in plain.folder.rglob("edits/**/*.png"))
    told = {
        "methods": len(methods),
        "samples": len(samples),
        "pictures": len(pictures),
        "errors": sum(r.error is not None for r in records),
        "same_table": flow.edits_path.read_bytes() == plain.edits_path.read_bytes(),
        "same_pictures": all((flow.folder / p).read_bytes() == (plain.folder / p).read_bytes() for p in pictures),
        "servers": said.count("Starting temporary server"),
        "flow_seconds": round(seconds, 1),
        "flow_cpu_seconds": round(spent.ru_utime + spent.ru_stime, 1),
        "report": str(flow.folder / "report.html"),
    }
    sys.stdout.write(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
