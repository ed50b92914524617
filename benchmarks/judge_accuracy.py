"""How often the exact judge is right, on drawn edits whose verdict is known.

python benchmarks/judge_accuracy.py --seed 900 --every 6     one scene in six of a benchmark of its own seed
python benchmarks/judge_accuracy.py --codes --every 22       right edits and copies through ever worse linear codes

The judge's limits were chosen on seeds 101 to 103; report other seeds. Shard with --start for several processes and add
the counts up. Prints Markdown: one row a variety, and right edits once more by what was done to the picture.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reason_edit.tables import read_rows
from smartedit.miniature.benchmark_set import FOLDERS, Answer, benchmark_cases, write_reason_edit
from smartedit.miniature.drawing import draw
from smartedit.miniature.judge import judge_edit
from smartedit.miniature.planted import plant
from smartedit.miniature.scene_truth import truth_of

Count = Counter[tuple[str, str]]
Floats = NDArray[np.float64]


def measure(folder: Path, seed: int, start: int, every: int, seconds: float) -> tuple[Count, Count, float]:
    """Judged and rightly judged edits by (verdict, variety or finish), and the judge's processor seconds."""
    write_reason_edit(folder, seed=seed)
    answers = read_rows(folder / "answers" / "scenes.parquet", Answer)[start::every]
    judged, right, spent, begun = Count(), Count(), 0.0, time.monotonic()
    for done, answer in enumerate(answers):
        if time.monotonic() - begun > seconds:
            print(f"stopped after {done} of {len(answers)} scenes")
            break
        _, _, stem = answer.sample_id.partition("/")
        source = np.asarray(Image.open(folder / FOLDERS[answer.category][0] / f"{stem}.png").convert("RGB"))
        truth = truth_of(answer, source)
        for planted in plant(answer, source.shape[0], seed, finishes=2):
            before = time.process_time()
            verdict = judge_edit(answer, truth, planted.image)
            spent += time.process_time() - before
            keys = [("right" if planted.aligned else "wrong", planted.variety)]
            keys += [("finish", planted.finish)] if planted.aligned else []
            judged.update(keys)
            right.update(keys if verdict.aligned is planted.aligned else [])
            if verdict.aligned is not planted.aligned:
                print(f"missed: {answer.sample_id}, {planted.variety}, {planted.finish}: {verdict.reply()}")
    return judged, right, spent


def resized(pixels: Floats | NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Bicubic, as an editor's own resizing."""
    picture = Image.fromarray(np.asarray(pixels).clip(0, 255).astype(np.uint8))
    return np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))


def patches(pixels: NDArray[np.uint8]) -> Floats:
    """The 64 patches of 8 x 8 of a picture at 64 px, one a row."""
    cut = resized(pixels, 64).astype(np.float64).reshape(8, 8, 8, 8, 3)
    return cut.transpose(0, 2, 1, 3, 4).reshape(64, -1)


def measure_codes(folder: Path, seed: int, start: int, every: int) -> None:
    """Print how right edits and copies fare behind a linear autoencoder of few numbers a patch."""
    write_reason_edit(folder, seed=seed)
    answers = read_rows(folder / "answers" / "scenes.parquet", Answer)[start::every]
    scenes = [case.scene for category in FOLDERS for case in list(benchmark_cases(category, seed + 1))[:25]]
    rows = np.concatenate([patches(draw(scene, 128).image) for scene in scenes])
    mean, axes = rows.mean(axis=0), np.linalg.eigh(np.cov(rows.T))[1][:, ::-1]
    print("| numbers a patch | PSNR | right edits judged right | copies judged wrong |\n|---|---|---|---|")
    for count in (64, 32, 20, 12):
        verdicts, errors = [], []
        for answer in answers:
            source = draw(answer.before, 128).image
            truth = truth_of(answer, source)
            for picture, aligned in ((draw(answer.after, 128).image, True), (source, False)):
                exact = patches(picture)
                coded = mean + (exact - mean) @ axes[:, :count] @ axes[:, :count].T
                errors.append(((coded - exact) ** 2).mean())
                shown = coded.reshape(8, 8, 8, 8, 3).transpose(0, 2, 1, 3, 4).reshape(64, 64, 3)
                verdicts.append(judge_edit(answer, truth, resized(resized(shown, 64), 128)).aligned is aligned)
        psnr = 10 * np.log10(255**2 / np.mean(errors))
        print(f"| {count} | {psnr:.1f} dB | {np.mean(verdicts[::2]):.2f} | {np.mean(verdicts[1::2]):.2f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=300, help="stop beginning new scenes after this")
    parser.add_argument("--codes", action="store_true", help="measure linear codes in the place of planted errors")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.codes:
            measure_codes(Path(folder), options.seed, options.start, options.every)
            return
        judged, right, spent = measure(Path(folder), options.seed, options.start, options.every, options.seconds)
    print("| edits | variety | judged | judged rightly |\n|---|---|---|---|")
    for key in sorted(judged):
        print(f"| {key[0]} | {key[1]} | {judged[key]} | {right[key] / judged[key]:.3f} |")
    count = sum(n for key, n in judged.items() if key[0] != "finish")
    hits = sum(n for key, n in right.items() if key[0] != "finish")
    print(f"| all | | {count} | {hits / count:.4f} |\n{1000 * spent / count:.0f} ms of processor time an edit")


if __name__ == "__main__":
    main()
