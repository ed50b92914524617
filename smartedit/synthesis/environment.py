"""What a run is made with: the versions and the weights that its results may depend on."""

import hashlib
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reason_edit.files import file_sha256
from smartedit.hub import cached_commit

PACKAGES = (
    "smartedit",
    "numpy",
    "pillow",
    "opencv-python",
    "torch",
    "transformers",
    "diffusers",
    "groundingdino-py",
    "segment-anything",
    "pyarrow",
    "prefect",
)


def environment() -> dict[str, str]:
    """Versions of Python, the platform and the packages that are installed."""
    found = {"python": sys.version.split()[0], "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


WEIGHTS = frozenset({".safetensors", ".bin", ".pth", ".pt", ".ckpt"})


def model_revision(model: str) -> str:
    """Which weights stand behind a model's name: a hub's commit, or a hash of what lies on disk.

    Args:
        model: A file, a folder or a hub id.

    Returns:
        `"commit <40 hex digits>"` for what lies in the hub's cache, `"sha256 <16 hex digits>"` of a file or of the
        weights in a folder (names and contents), or `"unknown"`, for example for what a server answers with.
    """
    path = Path(model).expanduser()
    if not path.exists():
        commit = cached_commit(model, None)
        return f"commit {commit}" if commit else "unknown"
    if path.is_file():
        return f"sha256 {file_sha256(path)[:16]}"
    if path.resolve().parent.name == "snapshots":
        return f"commit {path.resolve().name}"
    files = sorted(p for p in path.rglob("*") if p.suffix in WEIGHTS)
    lines = "".join(f"{p.relative_to(path).as_posix()} {file_sha256(p)}\n" for p in files)
    return f"sha256 {hashlib.sha256(lines.encode()).hexdigest()[:16]}" if files else "unknown"
