"""Flow `manifest`: from data sets on disk to one audited training manifest, with a contact sheet.

The tasks are plain functions of `smartedit.data`; this file only orders them.
"""

from pathlib import Path

import flows.quiet  # noqa: F401  (Prefect reads its settings when it is imported)

# isort: split
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE

from smartedit.data.audit import Audit, Kind, audit_manifest
from smartedit.data.audit_report import write_audit
from smartedit.data.build import BuildReport, build_from_file
from smartedit.data.manifest import Manifest
from smartedit.data.sheet import write_sheet


class ManifestLeaks(RuntimeError):
    """The manifest shows pictures of the benchmark; the report says which."""


@task(name="build", cache_policy=NO_CACHE)
def build(config: Path, out: Path, settings: list[str]) -> BuildReport:
    """Read all sources; those whose parts lie there already are kept."""
    return build_from_file(config, out, settings)


@task(name="contact-sheet", cache_policy=NO_CACHE)
def show(manifest: Path) -> Path:
    """Some rows of every source on one page."""
    path = manifest.parent / "contact-sheet.html"
    write_sheet(Manifest(manifest), path)
    return path


@task(name="audit", cache_policy=NO_CACHE)
def audit(manifest: Path, against: Path | None) -> tuple[Audit, Path]:
    """Look for the benchmark's pictures and instructions; fingerprints that are known already are kept."""
    opened = Manifest(manifest)
    found = audit_manifest(opened, against)
    return found, write_audit(found, opened, against, manifest.parent / "audit")


@flow(name="manifest")
def manifest(
    config: str, out: str, against: str | None = None, settings: list[str] | None = None, max_leaks: int = 0
) -> str:
    """Build a manifest, show it and audit it.

    Args:
        config: TOML file that names the sources.
        out: Folder for the manifest and its reports; the same run again resumes.
        against: Reason-Edit in any form; None to look for duplicates inside only.
        settings: `sources.NAME.KEY=VALUE` texts over the file's.
        max_leaks: Rows with pictures of the benchmark that are no failure.

    Returns:
        The manifest's path.

    Raises:
        ManifestLeaks: More rows than that show pictures of the benchmark; manifest and reports are kept.
    """
    built = build(Path(config), Path(out), settings or [])
    sheet = show(built.manifest)
    found, page = audit(built.manifest, Path(against) if against is not None else None)
    report(built, found, sheet, page)
    leaks = len(found.leaking_rows())
    if leaks > max_leaks:
        raise ManifestLeaks(f"{leaks} rows show pictures of the benchmark, {max_leaks} allowed; see {page}")
    return str(built.manifest)


def report(built: BuildReport, found: Audit, sheet: Path, page: Path) -> None:
    """Counts, rejections and the audit as artifacts of the flow run."""
    opened = Manifest(built.manifest)
    counts = [{"source": s, "task": t, "rows": n} for s in opened.sources for t, n in opened.counts[s].items()]
    create_table_artifact(table=counts, key="manifest-counts", description=f"{len(opened)} rows")
    left_out = [
        {"source": s, "reason": r, "records": n} for s in opened.sources for r, n in opened.rejections[s].items()
    ]
    create_table_artifact(table=left_out, key="manifest-rejections", description="Records that were left out, and why")
    overlaps = [
        {"kind": kind.value, "rows": len(found.leaking_rows([kind])), "pairs inside": found.count(kind, inside=True)}
        for kind in Kind
    ]
    create_table_artifact(table=overlaps, key="manifest-audit", description=f"Against {found.samples} samples")
    create_link_artifact(link=sheet.resolve().as_uri(), link_text="contact sheet", key="manifest-sheet")
    create_link_artifact(link=page.resolve().as_uri(), link_text="audit", key="manifest-audit-page")
    state = "was up to date" if built.up_to_date else f"written; kept from before: {', '.join(built.reused) or 'none'}"
    get_run_logger().info("%s: %d rows, %s", built.manifest, len(opened), state)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Run the flow manifest without a deployment.")
    parser.add_argument("config")
    parser.add_argument("out")
    parser.add_argument("--against")
    parser.add_argument("--set", action="append", dest="settings", metavar="sources.NAME.KEY=VALUE")
    parser.add_argument("--max-leaks", type=int, default=0)
    manifest(**vars(parser.parse_args()))
