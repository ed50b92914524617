"""What two choices of `smartedit miniature fit` bring: Muon's iteration on the Gram matrix, and `--bf16`.

    python benchmarks/fit_speed.py [--threads 1] [--steps 12] [--batch-size 80]

Random weights and rows at the miniature's sizes, all in one process: the denoiser's matrices by both iterations, and
steps of its last training in float32 and under bfloat16 autocast with torch's own attention and with its formula; then
steps of the autoencoder and its encoder alone.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from smartedit.config.model import ModelConfig, load_model_config
from smartedit.miniature.fit import denoiser, precision
from smartedit.miniature.fit.autoencoder import fit_autoencoder, moments
from smartedit.miniature.fit.denoiser import EditLatents, TextToEdit, fit_denoiser, fit_denoiser_on
from smartedit.miniature.fit.muon import ITERATION, ITERATIONS, orthogonal
from smartedit.miniature.fit.schedule import Plan


def on_the_whole_matrix(matrix: Tensor) -> Tensor:
    """The same update, with every step of the iteration on the matrix itself."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    a, b, c = ITERATION
    for _ in range(ITERATIONS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


def seconds_of(update: Callable[[Tensor], Tensor], matrices: list[Tensor], times: int = 10) -> float:
    """Mean seconds for all matrices."""
    begun = time.perf_counter()
    for _ in range(times):
        for matrix in matrices:
            update(matrix)
    return (time.perf_counter() - begun) / times


def seconds_a_step(
    rows: EditLatents, config: ModelConfig, plan: Plan, start: Path, attention: Callable[..., Any] | None = None
) -> float:
    """Seconds between the second step and the last; `attention` stands in for the choice of attention."""
    times: list[float] = []
    step_loss = denoiser._step_loss

    def timed(*arguments: Any) -> Tensor:
        times.append(time.perf_counter())
        return step_loss(*arguments)

    chosen = patch.object(precision, "sdpa_kernel", attention) if attention else nullcontext()
    with tempfile.TemporaryDirectory() as folder, patch.object(denoiser, "_step_loss", timed), chosen:
        fit_denoiser_on(rows, config, 1.0, plan, Path(folder), start=start, until=plan.steps)
    return (times[-1] - times[1]) / (len(times) - 2)


def autoencoder_seconds(config: ModelConfig, plan: Plan) -> tuple[float, float]:
    """Seconds of a step between the second and the last, and of a picture that is encoded."""
    side = config.sampling.image_size
    pictures = np.random.default_rng(0).integers(0, 256, size=(512, side, side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        vae = fit_autoencoder(pictures, config.vae, plan, Path(folder))
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines]
    begun = time.perf_counter()
    moments(vae, pictures, bf16=plan.bf16)
    return (seconds[-1] - seconds[1]) / (len(seconds) - 2), (time.perf_counter() - begun) / len(pictures)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=80)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    config = load_model_config("miniature")
    kernels = [p for p in TextToEdit(config).unet.parameters() if p.ndim >= 2]
    matrices = [torch.randn_like(kernel).flatten(1) for kernel in kernels]
    for name, update in {"whole matrices": on_the_whole_matrix, "Gram matrices": orthogonal}.items():
        print(f"Muon, {len(matrices)} matrices, {name}: {seconds_of(update, matrices):.4f} s")
    count, side = 4 * asked.batch_size, config.sampling.image_size // 4
    rows = EditLatents(
        latents=torch.randn(2 * count, config.vae.latent_channels, side, side).half(),
        before=np.arange(count),
        after=np.arange(count, 2 * count),
        ids=torch.randint(3, 200, (count, config.qformer.num_queries)),
    )
    plan = Plan(steps=asked.steps, batch_size=asked.batch_size, learning_rate=1e-3, save_every=10**6)
    half = replace(plan, bf16=True)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder)
        fit_denoiser(rows, config, 1.0, replace(plan, steps=1), start, text_steps=0, until=1)
        own = lambda backend: nullcontext()  # noqa: E731
        ways = {
            "float32": seconds_a_step(rows, config, plan, start),
            "bfloat16, torch's own attention": seconds_a_step(rows, config, half, start, own),
            "bfloat16, attention by its formula (--bf16)": seconds_a_step(rows, config, half, start),
            "float32, again": seconds_a_step(rows, config, plan, start),
        }
    for name, seconds in ways.items():
        print(f"step of {plan.batch_size} rows, {asked.threads} threads, {name}: {seconds:.3f} s")
    short = Plan(steps=asked.steps, batch_size=12, learning_rate=2e-3, save_every=10**6, log_every=1)
    for name, chosen in {"float32": short, "bfloat16 (--bf16)": replace(short, bf16=True)}.items():
        step, picture = autoencoder_seconds(config, chosen)
        print(
            f"autoencoder, {name}: step of {chosen.batch_size} {step:.3f} s, encoder {1000 * picture:.2f} ms a picture"
        )


if __name__ == "__main__":
    main()
