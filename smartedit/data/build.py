"""Building a manifest: every configured source read into a part, and the parts joined into one Parquet file."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from reason_edit.files import atomic_path, sole_holder
from reason_edit.tables import TableError, read_metadata
from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.columns import SCHEMA
from smartedit.data.digests import Digests, InputDigest
from smartedit.data.locations import Found, SourceError
from smartedit.data.parts import REJECTION_SCHEMA, SCHEMA_VERSION, Part, Progress, config_values, part_key, write_part
from smartedit.data.row_groups import RowGroupWriter
from smartedit.data.sources.registry import find_source, terms_of

MANIFEST, REJECTIONS, PARTS = "manifest.parquet", "rejections.parquet", ".parts"


class BuildError(ValueError):
    """A manifest cannot be built; the message says for every source that failed why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        manifest: The Parquet file.
        reused: Sources whose parts were already there.
        up_to_date: Whether the manifest itself was already there, so that nothing was written.
    """

    manifest: Path
    reused: tuple[str, ...]
    up_to_date: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A source that was found on disk and whose inputs are known."""

    found: Found
    digests: list[InputDigest]
    part: Part


def find_all(config: ManifestConfig, data_root: Path) -> dict[str, Found]:
    """Find every source on disk before anything is read.

    Raises:
        BuildError: There is no source, or some were not found; all of them are listed.
    """
    if not config.sources:
        raise BuildError("the configuration names no source; write [sources.NAME] with kind and root")
    found: dict[str, Found] = {}
    faults: list[str] = []
    for name, source in config.sources.items():
        if not name or any(c in name for c in "/\\\0") or name.startswith("."):
            faults.append(f"source {name!r}: a name holds no slash and begins with no dot, for it begins the row ids")
            continue
        try:
            found[name] = find_source(name, source, data_root)
        except SourceError as error:
            faults.append(str(error))
    if faults:
        raise BuildError("\n".join(faults))
    return found


def silent(name: str, done: int, total: int | None) -> None:
    """Report no progress."""


def build_manifest(config: ManifestConfig, out: Path, *, data_root: Path, progress: Progress = silent) -> BuildReport:
    """Build `manifest.parquet` and `rejections.parquet` in a folder.

    Run again after an interruption it goes on with the first source that is not done, to the same bytes; run again
    after a change it reads only the sources whose files or configuration changed.

    Args:
        config: The sources, in the order of the rows.
        out: The folder to write to.
        data_root: The folder that the configuration's paths and the rows' image paths are relative to.
        progress: Told how far a source is.

    Raises:
        BuildError: Sources were not found or hold nothing; what the others gave is kept for the next run.
    """
    data_root = Path(os.path.abspath(data_root))
    digests = Digests(data_root)
    prepared: dict[str, Prepared] = {}
    for name, found in find_all(config, data_root).items():
        taken = digests.of(found)
        part = Part(name=name, key=part_key(name, config.sources[name], found, taken), folder=out / PARTS)
        prepared[name] = Prepared(found=found, digests=taken, part=part)
    with _only_build_in(out):
        return _build(config, prepared, out, data_root, progress)


def build_from_file(config: Path, out: Path, overrides: Sequence[str] = (), progress: Progress = silent) -> BuildReport:
    """Build a manifest from a TOML file that names the sources; its paths are relative to the file.

    Args:
        config: The file.
        out: The folder to write to.
        overrides: Texts like `sources.llava.images=FOLDER`, over the file's.
        progress: Told how far a source is.

    Raises:
        ConfigError: The file cannot be used.
        BuildError: As in `build_manifest`.
    """
    tree = load_tree(ManifestConfig, source=config, overrides=overrides)
    return build_manifest(tree, out, data_root=config.parent / tree.root, progress=progress)


def _build(
    config: ManifestConfig, prepared: dict[str, Prepared], out: Path, data_root: Path, progress: Progress
) -> BuildReport:
    key = _manifest_key(list(prepared.values()))
    reused = tuple(name for name, source in prepared.items() if source.part.is_done())
    if _is_built(out, data_root, key):
        return BuildReport(manifest=out / MANIFEST, reused=tuple(prepared), up_to_date=True)
    _remove_leftovers(out)
    faults: list[str] = []
    for name, source in prepared.items():
        if not source.part.is_done():
            try:
                write_part(source.part, config.sources[name], source.found, data_root, progress)
            except SourceError as error:
                faults.append(str(error) if name in str(error) else f"source {name!r}: {error}")
    if faults:
        raise BuildError("\n".join(faults))
    _join(config, prepared, out, data_root, key)
    _remove_stale_parts(out / PARTS, [source.part for source in prepared.values()])
    return BuildReport(manifest=out / MANIFEST, reused=reused, up_to_date=False)


def _only_build_in(out: Path) -> AbstractContextManager[None]:
    """Keep a second build out of a folder."""
    (out / PARTS).mkdir(parents=True, exist_ok=True)
    return sole_holder(
        out / PARTS / "lock", f"{out}: another build is writing there; wait for it or choose another folder"
    )


def _manifest_key(prepared: Sequence[Prepared]) -> str:
    return hashlib.sha256("\n".join(f"{p.part.name}\0{p.part.key}" for p in prepared).encode()).hexdigest()


def _is_built(out: Path, data_root: Path, key: str) -> bool:
    """Whether the manifest is there, made of the same parts, and says where the data root is now."""
    if not (out / REJECTIONS).is_file():
        return False
    try:
        metadata = read_metadata(out / MANIFEST)
    except TableError:
        return False
    return (metadata.get("smartedit.key"), metadata.get("smartedit.root")) == (key, _stored_root(out, data_root))


def _stored_root(out: Path, data_root: Path) -> str:
    """The data root as it stands in a manifest: relative to the manifest's folder."""
    return Path(os.path.relpath(data_root, Path(os.path.abspath(out)))).as_posix()


def _remove_leftovers(out: Path) -> None:
    """Remove the half-written files of a build that was killed."""
    for folder in (out, out / PARTS):
        for path in folder.glob(".*.tmp-*.parquet") if folder.is_dir() else ():
            path.unlink(missing_ok=True)


def _remove_stale_parts(folder: Path, parts: Sequence[Part]) -> None:
    current = {path for part in parts for path in (part.rows, part.rejections)}
    for path in folder.glob("*.parquet"):
        if path not in current:
            path.unlink()


def _join(config: ManifestConfig, prepared: dict[str, Prepared], out: Path, data_root: Path, key: str) -> None:
    """Write the parts into one file each of rows and rejections; the manifest itself comes last."""
    parts = [source.part for source in prepared.values()]
    with atomic_path(out / REJECTIONS) as temporary, RowGroupWriter(temporary, REJECTION_SCHEMA) as writer:
        for part in parts:
            _copy(part.rejections, writer)
    with atomic_path(out / MANIFEST) as temporary, RowGroupWriter(temporary, SCHEMA) as writer:
        for part in parts:
            _copy(part.rows, writer)
        writer.add_metadata(_metadata(config, prepared, out, data_root, key))


def _copy(path: Path, writer: RowGroupWriter) -> None:
    """Append a file's rows; no row group holds two sources."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for batch in file.read_row_group(group).to_batches():
                writer.add(batch)
    writer.end_group()


def _metadata(
    config: ManifestConfig, prepared: dict[str, Prepared], out: Path, data_root: Path, key: str
) -> dict[str, str]:
    summaries = {name: source.part.summary() for name, source in prepared.items()}
    values: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "key": key,
        "root": _stored_root(out, data_root),
        "sources": list(prepared),
        "counts": {name: summary["tasks"] for name, summary in summaries.items()},
        "rejections": {name: summary["rejections"] for name, summary in summaries.items()},
        "layouts": {name: source.found.layout for name, source in prepared.items()},
        "terms": {name: asdict(terms_of(source)) for name, source in config.sources.items()},
        "config": {name: config_values(source) for name, source in config.sources.items()},
        "inputs": {name: [asdict(d) for d in source.digests] for name, source in prepared.items()},
        "label_names": {
            name: {str(k): v for k, v in source.found.label_names.items()}
            for name, source in prepared.items()
            if source.found.label_names
        },
    }
    return {
        f"smartedit.{k}": v if isinstance(v, str) else json.dumps(v, sort_keys=k != "sources", ensure_ascii=False)
        for k, v in values.items()
    }
