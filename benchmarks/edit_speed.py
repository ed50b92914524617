"""Times edits a second: a batch of 8 in one pipeline call, one picture a call, and one at a time as the authors run it.

The authors' way decodes the answer token by token, gives the denoiser the three branches of one picture, and projects
the text in every step; this package's parts stand in for theirs, at the same float32. v of the picture is given to it,
and the answer's words are the same, so that only the way differs. Ways alternate in one process, in processor seconds;
readings are forgotten before each call, so that every picture is read anew.

Run: python benchmarks/edit_speed.py [--steps 20] [--repeats 3] [--singles 2] [--size miniature]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from smartedit.config.model import load_model_config
from smartedit.inference.build import build_pipeline
from smartedit.inference.conditioning import Reading
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.decoding import decode_answer
from smartedit.model.images import encoder_pixels
from smartedit.model.prompts import Phrasing, Prompts, encode_edit, encode_request
from smartedit.model.sequences import splice
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


class Pictures:
    """Eight pictures and instructions, edited in three ways."""

    def __init__(self, pipeline: SmartEditPipeline, steps: int, singles: int) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (COUNT, 256, 256, 3), dtype=np.uint8)
        self.pictures = [Image.fromarray(pixels) for pixels in noise]
        self.texts = [f"change the {i}th thing to red" for i in range(COUNT)]
        self.pipeline, self.steps, self.singles = pipeline, steps, singles
        self.readings = pipeline.read(self.pictures, self.texts)
        phrasing = Phrasing(request=pipeline.config.request, answer=pipeline.config.answer)
        self.prompts = Prompts(system=pipeline.config.system, phrasings=(phrasing,))

    def batch(self) -> int:
        """All of them in one call."""
        self.pipeline.readings.clear()
        self.edit(range(COUNT))
        return COUNT

    def one_by_one(self) -> int:
        """Our pipeline, a picture a call."""
        for i in range(self.singles):
            self.pipeline.readings.clear()
            self.edit([i])
        return self.singles

    def authors_way(self) -> int:
        """A picture a call, its answer decoded token by token."""
        for i in range(self.singles):
            decoded = self.decode(i)
            with (
                patch.object(self.pipeline, "read", lambda *_, decoded=decoded, **__: [decoded]),
                patch("smartedit.inference.sampling.text_projected_once", lambda unet: nullcontext()),
            ):
                self.edit([i])
        return self.singles

    def decode(self, i: int) -> Reading:
        """H by the authors' loop; v is known already."""
        pipeline, layout, most = self.pipeline, self.pipeline.layout, self.pipeline.config.max_text_tokens
        whole = encode_edit(pipeline.tokenizer, layout, self.prompts, self.texts[i], max_tokens=most).input_ids
        request = encode_request(pipeline.tokenizer, layout, self.prompts, self.texts[i], max_tokens=most)
        answer = iter(whole[len(request) :])
        mllm = pipeline.mllm
        said = decode_answer(
            mllm,
            splice(
                torch.tensor([request]), img_tokens=layout.img_tokens, pad_id=layout.pad, num_patches=mllm.num_patches
            ),
            encoder_pixels(self.pictures[i : i + 1], mllm.image_size),
            img_tokens=layout.img_tokens,
            eos=layout.eos,
            choose=lambda scores: next(answer),
        )
        known = self.readings[i]
        torch.testing.assert_close(said.img_states, known.hidden_states, rtol=1e-3, atol=1e-4)
        return Reading(
            hidden_states=said.img_states, image_features=known.image_features, answer=None, agreement=known.agreement
        )

    def edit(self, which: range | list[int]) -> None:
        """One call of the pipeline."""
        self.pipeline(
            [self.pictures[i] for i in which],
            [self.texts[i] for i in which],
            num_inference_steps=self.steps,
            generator=[torch.Generator().manual_seed(i) for i in which],
            square=True,
        )


def edits_a_second(ways: dict[str, Callable[[], int]], repeats: int) -> dict[str, float]:
    """Medians over the repeats, the first of which is left out."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            start = time.process_time()
            count = way()
            if repeat:
                rates[name].append(count / (time.process_time() - start))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--singles", type=int, default=2, help="pictures that are edited one at a time in a repeat")
    parser.add_argument("--size", default="", help="only sizes whose name begins so")
    parser.add_argument("--tokenizer", default=str(Path(__file__).parent.parent / "tests" / "golden" / "tokenizer"))
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), CPU, float32, {arguments.steps} steps")
    for name, (preset, overrides) in SIZES.items():
        if not name.startswith(arguments.size):
            continue
        torch.manual_seed(0)
        pipeline = build_pipeline(load_model_config(preset, overrides), load_tokenizer(arguments.tokenizer))
        pipeline.set_progress_bar_config(disable=True)
        pictures = Pictures(pipeline, arguments.steps, arguments.singles)
        ways = {
            "authors' way": pictures.authors_way,
            "one a call": pictures.one_by_one,
            f"batch of {COUNT}": pictures.batch,
        }
        rates = edits_a_second(ways, arguments.repeats)
        authors, alone, batch = rates.values()
        shown = ", ".join(f"{way} {rate:.2f}/s" for way, rate in rates.items())
        print(f"{name}: {shown}; {alone / authors:.2f} and {batch / authors:.2f} times the authors' way", flush=True)


if __name__ == "__main__":
    main()
