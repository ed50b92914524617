"""Training rows a second on one core, by source, and what the time goes to.

python benchmarks/decoding_speed.py MANIFEST TOKENIZER [--rows 200]
"""

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

from smartedit.config.mixture import MixtureConfig
from smartedit.data.decoding import Decoder, DecodingRules, Visit
from smartedit.data.examples import TrainingExample
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture
from smartedit.data.pictures import PictureStore
from smartedit.data.row_access import RowAccess
from smartedit.model.tokenizer import add_img_tokens, load_tokenizer
from smartedit.training.dataset import ManifestDataset


def say(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(text + "\n")


def main() -> None:
    """Time every source on its own: its row, its pictures, painting and sizes, tensors and tokens."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--rows", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    manifest = Manifest(arguments.manifest)
    tokenizer = load_tokenizer(arguments.tokenizer)
    layout = add_img_tokens(tokenizer, 32)
    names = [name for name in manifest.sources if "caption" not in manifest.counts[name]]
    mixture = Mixture.over(manifest.sizes, MixtureConfig(weights=dict.fromkeys(names, 1.0)))
    dataset = ManifestDataset(manifest, mixture, tokenizer=tokenizer, layout=layout, length=10**9)
    access, decoder = RowAccess(manifest, names), Decoder.of(manifest, DecodingRules())
    store = PictureStore(Path(manifest.data_root))
    say(f"{'source':20s} {'rows/s':>7s}  per row: row, open pictures, sizes and painting, tensors and tokens (ms)")
    for name in names:
        spent: dict[str, float] = defaultdict(float)
        numbers = np.random.default_rng(0).choice(manifest.rows(name), arguments.rows).tolist()
        for visit, number in enumerate([*numbers[:3], *numbers]):
            if visit == 3:
                spent.clear()
            open_all(store, access[number])  # from now on in the page cache: the disk is not what is measured
            marks = [time.process_time()]
            example = access[number]
            marks.append(time.process_time())
            open_all(store, example)
            marks.append(time.process_time())
            decoded = decoder.decode(example, Visit(number=visit))
            marks.append(time.process_time())
            dataset.assemble(example, decoded, 0)
            marks.append(time.process_time())
            row, opened, whole, tensors = np.diff(marks).tolist()
            for part, seconds in (("row", row), ("open", opened), ("paint", whole - opened), ("tensors", tensors)):
                spent[part] += seconds
        each = {part: 1000 * seconds / arguments.rows for part, seconds in spent.items()}
        words = ", ".join(f"{part} {ms:.2f}" for part, ms in each.items())
        say(f"{name:20s} {1000 / sum(each.values()):7.0f}  {words}")


def open_all(store: PictureStore, example: TrainingExample) -> None:
    """Read and decode the pictures of a row."""
    for ref in (example.image, example.target, example.mask_image):
        if ref is not None:
            store.open(ref).convert("RGB")


if __name__ == "__main__":
    main()
