"""What Prefect costs on top of the data factory's stages, with stand-ins as slow as the real models on a GPU.

    python benchmarks/synthesis_overhead.py [--pictures 80] [--scale 0.1]

The stand-ins answer from ground truth and sleep. Assumed seconds (one data-centre GPU, half precision, batches of 4):
GroundingDINO-B 0.15 a picture and caption, SAM ViT-H 0.2 a picture, Stable Diffusion inpainting 512 x 512 with 30 steps
1.2 a target, CLIP ViT-L 0.03 a pair. `--scale` shortens the sleeps; the overhead is printed in seconds and against the
stages' time both as measured and at full length. Only ratios of one run are comparable.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SECONDS = {"ground": 0.15, "segment": 0.2, "inpaint": 1.2, "score": 0.03}
SLEPT = "SMARTEDIT_STAND_IN_SCALE"


def _sleep(what: str, count: int) -> None:
    time.sleep(SECONDS[what] * count * float(os.environ.get(SLEPT, "1")))


class SlowGrounder:
    """Ground truth at a detector's pace."""

    def __init__(self, truth: Any) -> None:
        self._truth = truth

    def ground(self, requests: Sequence[Any]) -> list[Any]:
        """One pass a picture."""
        _sleep("ground", len({id(r.picture.image) for r in requests}))
        return list(self._truth.ground(requests))

    def segment(self, requests: Sequence[Any]) -> list[Any]:
        """One encoding a picture."""
        _sleep("segment", len({id(r.picture.image) for r in requests}))
        return list(self._truth.segment(requests))


class SlowInpainter:
    """Paints the region plain at a diffusion model's pace."""

    def inpaint(self, requests: Sequence[Any]) -> list[Any]:
        """One target a request."""
        from PIL import Image, ImageOps

        from smartedit.tools.protocols import Inpainted

        _sleep("inpaint", len(requests))
        made = []
        for request in requests:
            mask = Image.fromarray(request.region)
            made.append(
                Inpainted(image=Image.composite(ImageOps.invert(request.image), request.image, mask), origin="x")
            )
        return made


class SlowScorer:
    """The same scores for all, at CLIP's pace."""

    def score(self, requests: Sequence[Any]) -> list[Any]:
        """One crop pair a request."""
        from smartedit.tools.protocols import ChangeScores

        _sleep("score", len(requests))
        return [ChangeScores(target=0.3, source_drop=0.1, direction=0.2)] * len(requests)


def put_stand_ins_in(root: Path) -> None:
    """Wrap the tools of a run's toolbox, which this process keeps."""
    from smartedit.synthesis.toolbox import toolbox

    tools = toolbox(root)
    slow = SlowGrounder(tools.segmenter())
    tools._built.update(
        {
            tools.config.grounder: slow,
            tools.config.segmenter: slow,
            tools.config.remover: SlowInpainter(),
            tools.config.scorer: SlowScorer(),
        }
    )
    tools.available()
    tools._built[tools.config.replacer] = _with_kinds(tools)


def _with_kinds(tools: Any) -> Any:
    from smartedit.tools.exemplar_inpainter import ExemplarInpainter

    class Slow(ExemplarInpainter):
        """Knows the bank's kinds and paints plainly."""

        def inpaint(self, requests: Sequence[Any]) -> list[Any]:
            return SlowInpainter().inpaint(requests)

    return Slow(tools._bank())


def main() -> None:
    """Run once without Prefect's share and once with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=80)
    parser.add_argument("--scale", type=float, default=0.1)
    options = parser.parse_args()
    os.environ[SLEPT] = str(options.scale)
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    from flows.synth_data import task_runner, work_on_shards
    from smartedit.config.synthesis import load_synthesis
    from smartedit.miniature.corpora import write_corpora
    from smartedit.miniature.stock import Stock
    from smartedit.synthesis.pipeline import prepare
    from smartedit.synthesis.records import QualityScores
    from smartedit.synthesis.run_folder import STAGES, RunFolder

    with tempfile.TemporaryDirectory() as folder:
        data, root = Path(folder) / "data", Path(folder) / "run"
        write_corpora(data, Stock(seed=0, count=options.pictures, size=128, synthetic=1), ["coco"], lambda _: None)
        settings = [
            f"pictures.annotations='{data}/coco/annotations/instances_train2017.json'",
            f"proposals.knowledge='{data}/coco/knowledge.toml'",
            "pictures.min_side=64",
        ]
        shards = prepare(data / "coco/train2017", root, load_synthesis(None, settings))
        put_stand_ins_in(root)
        one_worker = work_on_shards.with_options(task_runner=task_runner(1, None))
        one_worker(str(root), 0)  # starts Prefect's server, which is not part of the overhead
        start = time.perf_counter()
        stages = one_worker(str(root), shards)
        wall = time.perf_counter() - start
        pairs = sum(1 for _ in RunFolder(root).all_rows("score", QualityScores))
    overhead = wall - stages
    per_476 = overhead * 476 / pairs
    full = stages / options.scale
    print(f"{pairs} pairs, {shards * len(STAGES)} tasks; wall {wall:.1f} s, stages {stages:.1f} s")
    print(f"overhead {overhead:.1f} s, {per_476:.1f} s for 476 pairs")
    print(
        f"{overhead / stages:.1%} of the stages at scale {options.scale:g}, about {overhead / full:.2%} at full length"
    )


if __name__ == "__main__":
    main()
