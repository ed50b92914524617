"""A manifest without what an audit found."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from reason_edit.files import atomic_path
from reason_edit.tables import write_rows
from smartedit.data.audit import Audit
from smartedit.data.columns import SCHEMA
from smartedit.data.fingerprint_cache import find_pictures_of
from smartedit.data.manifest import MANIFEST, Manifest, ManifestError
from smartedit.data.overlaps import LEAKS, Kind, Overlap
from smartedit.data.row_groups import RowGroupWriter

EXCLUDED = "excluded.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """What was left out.

    Attributes:
        manifest: The new manifest.
        rows: How many rows were left out.
        left: How many are left.
    """

    manifest: Path
    rows: int
    left: int


def exclude(
    manifest: Manifest, audit: Audit, out: Path, *, kinds: Collection[Kind] = LEAKS, inside: bool = False
) -> Exclusion:
    """Write a manifest without the rows that an audit found, and `excluded.parquet`, which says why each went.

    Args:
        manifest: The manifest that was audited.
        audit: What was found.
        out: The folder to write to.
        kinds: In what a row must be like the benchmark to go.
        inside: Leave out rows whose pictures occur earlier in the manifest, too (`exact` and `near`).

    Raises:
        ManifestError: `out` is the folder of the manifest itself, or nothing would be left.
    """
    if (out / MANIFEST).resolve() == manifest.path.resolve():
        raise ManifestError(f"{out}: holds the manifest itself; choose another folder for the one without its copies")
    reasons = [o for o in audit.overlaps if (inside and _is_later(o)) or (not o.inside and o.kind in kinds)]
    gone = {_gone(overlap) for overlap in reasons}
    gone |= _with_its_picture(manifest, [overlap for overlap in reasons if overlap.inside])
    if len(gone) == len(manifest):
        raise ManifestError(f"{manifest.path}: every row would be left out")
    write_rows(out / EXCLUDED, reasons, Overlap)
    keep = np.ones(len(manifest), dtype=bool)
    keep[sorted(gone)] = False
    counts: dict[str, dict[str, int]] = {}
    with atomic_path(out / MANIFEST) as temporary, RowGroupWriter(temporary, SCHEMA) as writer:
        for name in manifest.sources:
            tasks: Counter[str] = Counter()
            start = manifest.rows(name).start
            for batch in manifest.batches(name):
                kept = batch.filter(pa.array(keep[start : start + batch.num_rows]))
                start += batch.num_rows
                tasks.update(kept.column("task").to_pylist())
                writer.add(kept)
            writer.end_group()
            counts[name] = dict(tasks)
        writer.add_metadata(_metadata(manifest, out, counts, gone))
    return Exclusion(manifest=out / MANIFEST, rows=len(gone), left=len(manifest) - len(gone))


def _is_later(overlap: Overlap) -> bool:
    return overlap.inside and overlap.other_row != overlap.row


def _gone(overlap: Overlap) -> int:
    """Of two rows the later one."""
    return overlap.row if overlap.other_row is None else max(overlap.row, overlap.other_row)


def _with_its_picture(manifest: Manifest, overlaps: Collection[Overlap]) -> set[int]:
    """Of pairs inside, every row but the first that shows the later picture: an overlap names one row of many."""
    shown = find_pictures_of(manifest).of_rows if overlaps else {}
    gone: set[int] = set()
    for overlap in overlaps:
        assert overlap.other_row is not None and overlap.other_role is not None
        (first, _), (later, role) = sorted(((overlap.row, overlap.role), (overlap.other_row, overlap.other_role)))
        number = shown[role][later]
        rows = np.flatnonzero((shown["image"] == number) | (shown["target"] == number))
        gone.update(row for row in rows.tolist() if row != first)
    return gone


def _digest(rows: set[int]) -> str:
    """A mark of which rows they are, so that two selections of one size are not taken for one."""
    return hashlib.sha256(np.array(sorted(rows), dtype=np.int64).tobytes()).hexdigest()[:16]


def _metadata(manifest: Manifest, out: Path, counts: dict[str, dict[str, int]], gone: set[int]) -> dict[str, str]:
    sources = [name for name in manifest.sources if counts[name]]
    root = Path(os.path.relpath(os.path.abspath(manifest.data_root), os.path.abspath(out))).as_posix()
    excluded = {name: manifest.sizes[name] - sum(counts[name].values()) for name in manifest.sources}
    changed = {
        "smartedit.key": f"{manifest.metadata.get('smartedit.key', '')} without {len(gone)} rows, {_digest(gone)}",
        "smartedit.root": root,
        "smartedit.sources": json.dumps(sources),
        "smartedit.counts": json.dumps({name: counts[name] for name in sources}, sort_keys=True),
        "smartedit.excluded": json.dumps(excluded, sort_keys=True),
    }
    return {**manifest.metadata, **changed}
