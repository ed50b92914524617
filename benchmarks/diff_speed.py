"""What `smartedit manifest diff` costs: two manifests of captions that are the same, and two that differ in four rows.

python benchmarks/diff_speed.py [--rows 1000000]
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from smartedit.data.columns import SCHEMA, columns_to_batch
from smartedit.data.comparing import compare_manifests
from smartedit.data.manifest import Manifest
from smartedit.data.row_groups import RowGroupWriter
from smartedit.data.sources.terms import TERMS

BLOCK = 65_536


def write_captions(path: Path, rows: int, dropped: Collection[int] = (), changed: Collection[int] = ()) -> Manifest:
    """A manifest of random captions of about 70 characters, without some rows and with others in other words."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(map(chr, rng.integers(97, 123, rng.integers(2, 10)))) for _ in range(5000)])
    starts, lengths = rng.integers(0, 4980, 50_000), rng.integers(8, 20, 50_000)
    texts = pa.array([" ".join(words[a : a + n]) for a, n in zip(starts, lengths, strict=True)])
    shared = {"source": "cc12m", "task": "caption", "split": "train", "license": TERMS["cc12m"].license}
    with RowGroupWriter(path, SCHEMA) as writer:
        for start in range(0, rows, BLOCK):
            numbers = np.arange(start, min(start + BLOCK, rows))
            captions = pc.if_else(
                np.isin(numbers, list(changed)), "other words", texts.take(pa.array(numbers * 7919 % len(texts)))
            )
            ids = pc.binary_join_element_wise("cc12m/", pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 8, "0"), "")
            columns = {**shared, "terms": TERMS["cc12m"].terms, "example_id": ids, "caption": captions}
            batch = columns_to_batch(len(numbers), columns)
            writer.add(batch.filter(pa.array(~np.isin(numbers, list(dropped)))))
        counts = f'{{"cc12m": {{"caption": {rows - len(dropped)}}}}}'
        values = {"schema_version": "1", "root": ".", "sources": '["cc12m"]', "label_names": "{}", "counts": counts}
        writer.add_metadata({f"smartedit.{name}": value for name, value in values.items()})
    return Manifest(path)


def main() -> None:
    """Write the manifests and compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = write_captions(folder / "before.parquet", rows)
        others = {
            "the same": before,
            "four rows differ": write_captions(folder / "after.parquet", rows, (5, rows // 2), (7, rows - 3)),
        }
        for label, after in others.items():
            started, used = time.perf_counter(), time.process_time()
            (change,) = compare_manifests(before, after)
            seconds, cpu = time.perf_counter() - started, time.process_time() - used
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            sys.stdout.write(
                f"{rows} rows, {label}: {change.removed} removed, {change.changed} changed, "
                f"{seconds:.1f} s wall, {cpu:.1f} CPU s, {peak:.0f} MB\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
