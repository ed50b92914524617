"""Times the [IMG] states of one request: one pass over request and answer, against the token-by-token decode.

All ways compute the same states (`tests/smartedit/model/test_decoding.py`); the answer's words are the same here, so
that only the way differs. The picture stands where the released prompt has it: behind 105 of 122 words, which our
pipeline reads once and the loop in every request. Runs alternate, and the ratios of medians are of one process.

Run: python benchmarks/conditioning_speed.py [--repeats 5] [--size miniature]
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from smartedit.config.model import LanguageConfig, LoraConfig, MllmConfig, VisionConfig
from smartedit.model.build import build_mllm
from smartedit.model.decoding import decode_answer, gather_img_states, read_answer
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.prefix import read_prefix
from smartedit.model.sequences import Sequences, splice

REQUEST, BEFORE, WORDS, R = 122, 105, 12, 32
SIZES = {
    "miniature (width 128, 3 layers, 64 patches)": (128, 256, 3, 64, 8),
    "width 512, 8 layers, 256 patches": (512, 1376, 8, 224, 14),
    "width 1024, 8 layers, 256 patches": (1024, 2752, 8, 224, 14),
}


def build(width: int, feed_forward: int, layers: int, image_size: int, patch: int) -> ImageTextMllm:
    config = MllmConfig(
        language=LanguageConfig(
            vocab_size=4000, hidden_size=width, intermediate_size=feed_forward, num_layers=layers, num_heads=8
        ),
        vision=VisionConfig(
            hidden_size=128, intermediate_size=256, num_layers=3, num_heads=4, image_size=image_size, patch_size=patch
        ),
        lora=LoraConfig(rank=8, alpha=16),
    )
    return build_mllm(config).eval()


def median_seconds(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Processor seconds: those of the clock depend on what else runs."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in taken.items()}


class Request:
    """One request to one model, answered in both ways."""

    def __init__(self, mllm: ImageTextMllm) -> None:
        self.mllm = mllm
        self.img = range(4003, 4003 + R)
        self.request = [1, *range(10, 9 + BEFORE), 4003, *range(200, 199 + REQUEST - BEFORE)]
        self.answer = [*range(200, 200 + WORDS), *self.img, 2]
        self.pixels = torch.randn(1, 3, mllm.image_size, mllm.image_size)
        self.prefix = read_prefix(mllm, torch.tensor(self.request[:BEFORE]))

    def spliced(self, ids: list[int]) -> Sequences:
        """The token ids with room for the picture."""
        return splice(torch.tensor([ids]), img_tokens=self.img, pad_id=0, num_patches=self.mllm.num_patches)

    def one_pass(self) -> torch.Tensor:
        """H from one pass over request and answer."""
        whole = self.spliced([*self.request, *self.answer[:-1]])
        return gather_img_states(read_answer(self.mllm, whole, self.pixels).hidden_states, whole.img_mask)[0]

    def one_pass_behind_prefix(self) -> torch.Tensor:
        """The same, as from a pipeline's second request on: the words before the picture are known."""
        whole = self.spliced([*self.request, *self.answer[:-1]])
        read = read_answer(self.mllm, whole, self.pixels, self.prefix)
        return gather_img_states(read.hidden_states, whole.behind(BEFORE).img_mask)[0]

    def token_by_token(self) -> torch.Tensor:
        """H from the authors' loop, which says the same answer."""
        script = iter(self.answer)
        return decode_answer(
            self.mllm,
            self.spliced(self.request),
            self.pixels,
            img_tokens=self.img,
            eos=2,
            choose=lambda scores: next(script),
        ).img_states


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size", default="", help="only sizes whose name begins so")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), CPU, float32, batch 1")
    for name, sizes in SIZES.items():
        if not name.startswith(arguments.size):
            continue
        request = Request(build(*sizes))
        torch.testing.assert_close(request.one_pass(), request.token_by_token(), rtol=1e-3, atol=1e-4)
        ways = {
            "one pass": request.one_pass,
            "behind prefix": request.one_pass_behind_prefix,
            "decode": request.token_by_token,
        }
        seconds = median_seconds(ways, arguments.repeats)
        first, later, decode = seconds.values()
        print(
            f"{name}: one pass {first:.4f} s, behind the known words {later:.4f} s, decode {decode:.4f} s: "
            f"{decode / first:.1f} and {decode / later:.1f} times (CPU seconds)",
            flush=True,
        )


if __name__ == "__main__":
    main()
