"""How fast scoring is, beside the authors' way of one sample at a time through torchmetrics, in one run.

    python benchmarks/score_speed.py --samples 16 --threads 1

Real-size networks with random weights: CLIP ViT-L/14 (428 M parameters) and SqueezeNet 1.1. Both sides read the same
files and use the same weights, and the largest difference between their numbers is printed beside the ratios.
"""

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from authors_way import AuthorsWay
from score_inputs import write_networks, write_run

from benchmark.metrics.background import compare, fill_edited, fill_source
from benchmark.metrics.clip_models import TransformersClip
from benchmark.metrics.foreground import foreground_crop
from benchmark.metrics.pictures import edited_frame, read_file, source_frame
from benchmark.networks import Located, Networks, find_clip, find_lpips
from benchmark.protocols import PROTOCOLS
from benchmark.runs import Run
from benchmark.score import score_with

AUTHORS = PROTOCOLS["smartedit-v1"]
BATCH = 16


@contextmanager
def timed(times: dict[str, tuple[float, float]], name: str) -> Iterator[None]:
    """Keep wall and CPU seconds under a name."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    times[name] = (time.perf_counter() - wall, time.process_time() - cpu)


def background_speed(run: Run, methods: int, threads: int, times: dict[str, tuple[float, float]]) -> None:
    """PSNR + SSIM + MSE: on decoded pictures, and from the files."""
    theirs, samples = AuthorsWay(None), run.samples()
    names = [f"m{m}" for m in range(methods)]
    pairs = [(s, run.image_path(m, s.sample_id)) for s in samples for m in names]
    decoded = [theirs.load(s, e) for s, e in pairs]
    frames = [source_frame(read_file(s.image), read_file(s.mask), AUTHORS) for s in samples]
    edits = [[edited_frame(read_file(run.image_path(m, s.sample_id)), (256, 256), AUTHORS) for m in names]
             for s in samples]  # fmt: skip
    with torch.inference_mode(), timed(times, "theirs, decoded"):
        for parts in decoded:
            theirs.score(*parts, "")
    with torch.inference_mode(), timed(times, "theirs, files"):
        for sample, edited in pairs:
            theirs.score(*theirs.load(sample, edited), "")

    def measure(i: int) -> None:
        source = fill_source(frames[i], AUTHORS)
        for edited in edits[i]:
            compare(source, fill_edited(source, edited, AUTHORS), AUTHORS)

    def from_files(i: int) -> None:
        frame = source_frame(read_file(samples[i].image), read_file(samples[i].mask), AUTHORS)
        source = fill_source(frame, AUTHORS)
        for name in names:
            edited = edited_frame(read_file(run.image_path(name, samples[i].sample_id)), frame.size, AUTHORS)
            compare(source, fill_edited(source, edited, AUTHORS), AUTHORS)

    with ThreadPoolExecutor(threads) as pool:
        for name, work in (("ours, decoded", measure), ("ours, files", from_files)):
            with timed(times, name):
                list(pool.map(work, range(len(samples))))


def network_speed(
    run: Run, clip: TransformersClip, lpips: Any, threads: int, times: dict[str, tuple[float, float]]
) -> float:
    """All metrics: theirs, ours from files to tables, and the networks' own batched passes; the largest difference."""
    theirs, samples = AuthorsWay(clip), run.samples()
    with torch.inference_mode(), timed(times, "theirs, all"):
        rows = [theirs.score(*theirs.load(s, run.image_path("m0", s.sample_id)), s.target_label) for s in samples]
    networks = Networks(
        clip=Located(name="random", sha256="clip", load=lambda: clip),
        lpips=Located(name="random", sha256="lpips", load=lambda: lpips),
    )
    with timed(times, "ours, all"):
        score_with(run, AUTHORS, networks, batch_size=BATCH, workers=threads)
    inputs = network_inputs(run, clip)
    with torch.inference_mode(), timed(times, "networks alone"):
        for pixels, pairs in inputs.batches:
            clip.model.visual_projection(clip.model.vision_model(pixel_values=pixels).pooler_output)
            for pictures in pairs:
                lpips.network.net(lpips.network.scaling_layer(pictures))
        for ids in inputs.labels:
            clip.model.get_text_features(**ids)
    ours = {(s.sample_id, s.metric): s.value for s in run.scores() if s.method == "m0"}
    # torchmetrics averages the whole SSIM map, the authors' version of it did not; the other four are the same number.
    columns = {0: "background_psnr", 2: "background_mse", 3: "background_lpips", 4: "clip_score"}
    return max(
        abs(ours[s.sample_id, name] - row[i]) / max(abs(row[i]), 1e-9)
        for s, row in zip(samples, rows, strict=True)
        for i, name in columns.items()
    )


def network_inputs(run: Run, clip: TransformersClip) -> SimpleNamespace:
    """What the networks see, prepared beforehand: crops, picture pairs and labels in batches."""
    samples = run.samples()
    batches = []
    for start in range(0, len(samples), BATCH):
        crops, sources, edits = [], [], []
        for s in samples[start : start + BATCH]:
            frame = source_frame(read_file(s.image), read_file(s.mask), AUTHORS)
            edited = edited_frame(read_file(run.image_path("m0", s.sample_id)), frame.size, AUTHORS)
            source = fill_source(frame, AUTHORS)
            crops.append(foreground_crop(frame, edited, AUTHORS))
            sources.append(source.pixels)
            edits.append(fill_edited(source, edited, AUTHORS))
        pixels = clip.processor(images=crops, return_tensors="pt")["pixel_values"]
        pairs = [torch.from_numpy(np.stack(p)).permute(0, 3, 1, 2).contiguous() * 2 - 1 for p in (sources, edits)]
        batches.append((pixels, pairs))
    texts = [s.target_label for s in samples]
    labels = [clip.tokenizer(texts[i : i + BATCH], return_tensors="pt", padding=True)
              for i in range(0, len(texts), BATCH)]  # fmt: skip
    return SimpleNamespace(batches=batches, labels=labels)


def show(title: str, times: dict[str, tuple[float, float]], count: int, pairs: list[tuple[str, str]]) -> None:
    """Print seconds for each sample and the ratios."""
    print(f"\n{title}")
    for name, (wall, cpu) in times.items():
        print(f"  {name:24s} {1e3 * wall / count:9.2f} ms wall  {1e3 * cpu / count:9.2f} ms CPU a sample")
    for one, other in pairs:
        wall, cpu = (times[one][i] / times[other][i] for i in (0, 1))
        print(f"  {one} / {other}: {wall:.2f} (wall), {cpu:.2f} (CPU)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=16, help="samples with networks")
    parser.add_argument("--background-samples", type=int, default=60, help="samples without networks")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, OpenCV and decoding")
    arguments = parser.parse_args()
    import cv2

    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    folder = Path(tempfile.mkdtemp(prefix="score-speed-"))
    try:
        for methods in (1, 3):
            run = write_run(folder / f"background{methods}", arguments.background_samples, methods)
            background: dict[str, tuple[float, float]] = {}
            background_speed(run, methods, arguments.threads, background)
            show(f"PSNR + SSIM + MSE, {methods} method(s), {arguments.background_samples} samples", background,
                 arguments.background_samples * methods,
                 [("theirs, decoded", "ours, decoded"), ("theirs, files", "ours, files")])  # fmt: skip
        os.environ["TORCH_HOME"] = str(folder / "torch")
        write_networks(folder)
        clip = find_clip(str(folder / "clip")).load()
        lpips = find_lpips("squeezenet1_1").load()
        assert isinstance(clip, TransformersClip)
        run = write_run(folder / "networks", arguments.samples, 1)
        times: dict[str, tuple[float, float]] = {}
        difference = network_speed(run, clip, lpips, arguments.threads, times)
        show(f"all metrics, real-size random networks, {arguments.samples} samples", times, arguments.samples,
             [("theirs, all", "ours, all"), ("ours, all", "networks alone")])  # fmt: skip
        print(f"  largest relative difference of PSNR, MSE, LPIPS and CLIP score: {difference:.1e}")
        print(f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
