"""Peak memory of converting a synthetic released checkpoint whose language model is several shards large."""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from smartedit.config.model import as_released, load_model_config
from smartedit.inference.conversion import ConversionSettings, convert_released
from smartedit.model.released_shards import SHARD_BYTES
from smartedit.model.released_sources import ReleasedFolders

TOKENIZER = Path(__file__).parents[1] / "tests" / "golden" / "tokenizer"


def config(layers: int):
    """Miniature parts round a language model of width 2048 (about 100 MB a layer in bfloat16)."""
    small = as_released(load_model_config("miniature"))
    language = replace(
        small.mllm.language, vocab_size=700, hidden_size=2048, intermediate_size=5504, num_layers=layers, num_heads=16
    )
    return replace(small, mllm=replace(small.mllm, language=language))


def write(root: Path, layers: int) -> None:
    """Make the ingredients."""
    from tests.smartedit.released.ingredients import LANGUAGE, random_values, write_ingredients

    values = random_values(config(layers))
    for name in values:
        if name.startswith(f"{LANGUAGE}layers"):
            values[name] = values[name].bfloat16()
    write_ingredients(root / "in", config(layers), values, TOKENIZER)


def peak_gib() -> float:
    """The most memory this process has held so far, mapped files included (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def convert(root: Path, layers: int, shard_bytes: int) -> None:
    """Convert, and say the peak."""
    names = ["released", "vicuna", "llava", "instruct_diffusion", "clip"]
    folders = ReleasedFolders(**{name: root / "in" / name.replace("_", "-") for name in names})
    before = peak_gib()
    began = time.perf_counter()
    convert_released(folders, root / "out", ConversionSettings(sizes=config(layers), shard_bytes=shard_bytes))
    seconds = time.perf_counter() - began
    peak = peak_gib()
    size = sum(p.stat().st_size for p in (root / "in" / "released").rglob("*.bin")) / 2**30
    largest = max(p.stat().st_size for p in (root / "out").rglob("*.safetensors")) / 2**30
    print(
        f"input {size:.2f} GiB, largest shard {largest:.2f} GiB, peak {peak:.2f} GiB "
        f"({before:.2f} GiB before), over the largest shard {peak - largest:.2f} GiB, {seconds:.1f} s"
    )


def main() -> None:
    """Write the ingredients in one process, convert in another, so that the peak is the conversion's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=36)
    parser.add_argument("--shard-bytes", type=int, default=SHARD_BYTES)
    parser.add_argument("--convert", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.convert is not None:
        convert(arguments.convert, arguments.layers, arguments.shard_bytes)
        return
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), arguments.layers)
        options = ["--layers", str(arguments.layers), "--shard-bytes", str(arguments.shard_bytes), "--convert", name]
        subprocess.run([sys.executable, "-m", "benchmarks.convert_memory", *options], check=True)


if __name__ == "__main__":
    main()
