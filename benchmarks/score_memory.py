"""Peak memory of scoring a run, in a process of its own: real-size networks with random weights.

python benchmarks/score_memory.py write FOLDER --samples 219     # pictures and networks
python benchmarks/score_memory.py score FOLDER [--no-clip]
"""

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path

from score_inputs import write_networks, write_run

from benchmark.networks import Unavailable, find_networks
from benchmark.protocols import PROTOCOLS
from benchmark.runs import Run
from benchmark.score import score_with


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["write", "score"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=219)
    parser.add_argument("--no-clip", action="store_true", help="without CLIP, which takes nearly all of the time")
    arguments = parser.parse_args()
    if arguments.step == "write":
        write_run(arguments.folder / "pictures", arguments.samples, 1)
        write_networks(arguments.folder)
        return
    backbone = next((arguments.folder / "torch" / "hub" / "checkpoints").glob("squeezenet*"))
    networks = find_networks(
        PROTOCOLS["smartedit-v1"], clip_model=str(arguments.folder / "clip"), lpips_backbone=str(backbone), device="cpu"
    )
    if arguments.no_clip:
        networks = replace(networks, clip=Unavailable(reason="left out"))
    run, begin = Run(arguments.folder / "pictures" / "run"), time.perf_counter()
    score_with(run, PROTOCOLS["smartedit-v1"], networks)
    seconds, peak = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(run.samples())} samples: {seconds:.0f} s, peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
