"""A training step with cached latents and features beside the same step that computes them anew, as the authors' does.

    python benchmarks/training_speed.py MANIFEST [--stage joint] [--steps 30]

Both run in one process, on the same rows in turn; the first half, in which the cache is filled, is left out.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from smartedit.config.model import load_model_config
from smartedit.config.training import StageName, load_training_config
from smartedit.inference.loading import find_model, quiet_libraries
from smartedit.training.journal import Progress
from smartedit.training.train import train


def seconds_a_step(manifest: Path, stage: StageName, steps: int, cache: bool, batch_size: int) -> tuple[float, float]:
    """Median seconds of a step, and the share of them that it waited for data."""
    seen: list[Progress] = []
    overrides = [f"training.steps={steps}", f"training.cache={str(cache).lower()}", f"training.batch_size={batch_size}"]
    model = load_model_config("miniature")
    with tempfile.TemporaryDirectory() as folder:
        train(
            stage,
            start=find_model(model.weights or ""),
            manifest=manifest,
            run=Path(folder) / "run",
            model=model,
            training=load_training_config(
                stage, "miniature", [*overrides, "training.log_every=1", "training.validate_every=0"]
            ),
            on_step=seen.append,
        )
    later = seen[steps // 2 :]
    seconds = statistics.median(p.values["seconds"] for p in later)
    return seconds, statistics.median(p.values["waited"] for p in later) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--stage", type=StageName, default=StageName.JOINT)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=8)
    asked = parser.parse_args()
    quiet_libraries()
    for cache in (True, False, True):
        seconds, waited = seconds_a_step(asked.manifest, asked.stage, asked.steps, cache, asked.batch_size)
        words = "kept" if cache else "computed anew"
        print(f"latents and features {words}: {seconds:.3f} s a step, {waited:.1%} of it waiting for data", flush=True)


if __name__ == "__main__":
    main()
