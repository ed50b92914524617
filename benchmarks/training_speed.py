"""A training step beside the same step written the authors' way.

Theirs computes latents and features anew, scores the next token at every position, pads every row to the longest, and
denoises every row, conversations too.

    python benchmarks/training_speed.py MANIFEST [--stage joint] [--steps 30] [--batch-size 8]

All runs are in one process, on the same rows: the first fills the cache and is not counted, then each way in turn.
CPU seconds are compared, so that a shared machine tells the same as a free one; on a GPU give --wall.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from smartedit.config.model import load_model_config
from smartedit.config.training import StageName, load_training_config
from smartedit.inference.loading import find_model, quiet_libraries
from smartedit.training import editing
from smartedit.training.journal import Progress
from smartedit.training.losses import Losses, edit_losses
from smartedit.training.train import train


@dataclass
class Clock:
    """The seconds of each step.

    Attributes:
        wall: Whether other processes' time counts.
    """

    wall: bool
    steps: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    last: float | None = None

    def __call__(self, progress: Progress) -> None:
        """Take the time behind a step."""
        now = time.perf_counter() if self.wall else time.process_time()
        if self.last is not None:
            self.steps.append(now - self.last)
            self.waited.append(progress.values["waited"] / progress.values["seconds"])
        self.last = now


def everything_computed(*args: Any, **settings: Any) -> Losses:
    """The losses of a step that computes what no loss reads, as the released code does."""
    return edit_losses(*args, **{**settings, "needed_only": False, "length_groups": 1})


def timed(asked: argparse.Namespace, cache: bool) -> Clock:
    """Train for some steps; the first, which also reads ahead, is left out."""
    clock = Clock(wall=asked.wall)
    overrides = [
        f"training.steps={asked.steps + 1}",
        f"training.cache={str(cache).lower()}",
        f"training.batch_size={asked.batch_size}",
        "training.gradient_accumulation=1",
        "training.log_every=1000",
        "training.checkpoint_every=1000000",
        "training.validate_every=0",
        "training.num_workers=0",
    ]
    model = load_model_config(asked.preset)
    with tempfile.TemporaryDirectory() as folder:
        train(
            asked.stage,
            start=find_model(asked.start or model.weights or ""),
            manifest=asked.manifest,
            run=Path(folder) / "run",
            model=model,
            training=load_training_config(asked.stage, asked.preset, overrides),
            on_step=clock,
        )
    return clock


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--preset", default="miniature")
    parser.add_argument("--start", help="the preset's own weights if left out")
    parser.add_argument("--stage", type=StageName, default=StageName.JOINT)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--wall", action="store_true")
    asked = parser.parse_args()
    quiet_libraries()
    timed(asked, cache=True)
    with patch.object(editing, "edit_losses", everything_computed):
        theirs, cached = timed(asked, cache=False), timed(asked, cache=True)
    ours = timed(asked, cache=True)
    ways = {"the authors' way": theirs, "that, with kept latents and features": cached, "ours": ours}
    for words, clock in ways.items():
        rate = asked.batch_size / statistics.median(clock.steps)
        times = statistics.median(theirs.steps) / statistics.median(clock.steps)
        waited = statistics.median(clock.waited)
        print(f"{words}: {rate:.2f} samples a second, {times:.2f} times as fast, {waited:.1%} waiting for data")
    print(f"{asked.stage.value}, medians of {asked.steps} steps of {asked.batch_size} rows")


if __name__ == "__main__":
    main()
