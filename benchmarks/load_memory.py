"""Peak host memory of loading a checkpoint of random weights, in a process of its own, against the checkpoint's size.

A language model of width 1024 makes most of it, as in the real one. Printed is the peak of all memory, mapped pages of
the files included, above what the process held before: when loading is done, and when every weight was read, because
what is only mapped is read when it is first used.

Run: python -m benchmarks.load_memory [--layers 12] [--shard 100MB] [--precision float32]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from smartedit.config.model import load_model_config
from smartedit.inference.memory import Precision

TOKENIZER = Path(__file__).parents[1] / "tests" / "golden" / "tokenizer"


def write(folder: Path, layers: int, shard: str) -> None:
    """Make the checkpoint."""
    from smartedit.inference.build import build_pipeline
    from smartedit.model.tokenizer import load_tokenizer

    language = {"vocab_size": 4000, "hidden_size": 1024, "intermediate_size": 2752, "num_layers": layers}
    sizes = [f"model.mllm.language.{name}={value}" for name, value in language.items()]
    config = load_model_config("miniature", ("model.unet.block_channels=[48, 128, 256]", *sizes))
    build_pipeline(config, load_tokenizer(TOKENIZER)).save_pretrained(folder, max_shard_size=shard)


def status(name: str) -> int:
    """A line of this process's memory, in bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def load(folder: Path, precision: str) -> None:
    """Load, and say the peak."""
    import smartedit.inference.pipeline  # noqa: F401  (not part of what loading costs)
    from smartedit.inference.loading import LoadSettings, load_pipeline

    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    began = time.process_time()
    pipeline = load_pipeline(folder, LoadSettings(device="cpu", precision=Precision(precision)))
    loaded, seconds = status("VmHWM"), time.process_time() - began
    weights = [p for part in (pipeline.mllm, pipeline.unet) for p in part.parameters()]
    held = sum(p.numel() * p.element_size() for p in weights)
    for weight in weights:
        weight.detach().amax()  # what was only mapped is in memory behind this
    used = status("VmHWM")
    print(
        f"{precision}: checkpoint {size / 2**20:.0f} MiB, weights of language model and UNet {held / 2**20:.0f} MiB; "
        f"above the {before / 2**20:.0f} MiB before: peak of loading {(loaded - before) / size:.2f} of the checkpoint, "
        f"once every weight was read {(used - before) / size:.2f}; {seconds:.1f} CPU s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--shard", default="100MB")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.load is not None:
        for precision in arguments.precision:
            load(arguments.load, precision)
        return
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), arguments.layers, arguments.shard)
        for precision in arguments.precision:
            command = [sys.executable, "-m", "benchmarks.load_memory", "--precision", precision, "--load", name]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
