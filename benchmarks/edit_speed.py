"""Times edits a second: a batch of 8 in one pipeline call, against one picture at a time as the authors run it.

Runs alternate in one process; readings are forgotten before each call, so that every picture is read anew.

Run: python benchmarks/edit_speed.py [--steps 5] [--repeats 3] [--device cuda]
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from smartedit.config.model import load_model_config
from smartedit.inference.build import build_pipeline
from smartedit.model.tokenizer import load_tokenizer

COUNT = 8
SIZES = {
    "miniature preset, 64 px": ("miniature", ()),
    "256 px, UNet of 64-128-256-256 channels": (
        "miniature",
        (
            "model.sampling.image_size=256",
            "model.unet.block_channels=[64, 128, 256, 256]",
            "model.unet.attention_levels=[true, true, true, false]",
            "model.unet.norm_groups=32",
            "model.vae.block_channels=[16, 32, 32, 32]",
        ),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokenizer", default=str(Path(__file__).parent.parent / "tests" / "golden" / "tokenizer"))
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), {arguments.device}, float32")
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, 256, 256, 3), dtype=np.uint8)
    pictures = [Image.fromarray(pixels) for pixels in noise]
    texts = [f"change the {i}th thing to red" for i in range(COUNT)]
    for name, (preset, overrides) in SIZES.items():
        pipeline = build_pipeline(load_model_config(preset, overrides), load_tokenizer(arguments.tokenizer))
        pipeline.to(arguments.device)
        pipeline.set_progress_bar_config(disable=True)
        taken: dict[int, list[float]] = {1: [], COUNT: []}
        for repeat in range(arguments.repeats + 1):
            for batch, seconds in taken.items():
                pipeline.readings.clear()
                start = time.perf_counter()
                for first in range(0, COUNT, batch):
                    part = slice(first, first + batch)
                    generators = [torch.Generator().manual_seed(i) for i in range(COUNT)[part]]
                    pipeline(
                        pictures[part],
                        texts[part],
                        num_inference_steps=arguments.steps,
                        generator=generators,
                        square=True,
                    )
                if repeat:
                    seconds.append(time.perf_counter() - start)
        rates = {batch: COUNT / statistics.median(seconds) for batch, seconds in taken.items()}
        print(
            f"{name}, {arguments.steps} steps: one at a time {rates[1]:.2f} edits/s, batch {COUNT} "
            f"{rates[COUNT]:.2f} edits/s, {rates[COUNT] / rates[1]:.2f} times"
        )


if __name__ == "__main__":
    main()
