"""Writes trained parts in half precision, as they ship with the package."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from reason_edit.files import file_sha256, write_text
from smartedit.miniature.fit.schedule import NotFiniteError
from smartedit.training.saving import full_disk_in_plain


def ship(parts: dict[str, Path], out: Path) -> dict[str, int]:
    """Copy folders, their weights as float16, and say how large each becomes.

    A part that a second pipeline shares with the first (the frozen autoencoder) becomes a link, so that it lies in the
    repository once.

    Args:
        parts: Name and trained folder.
        out: The package's folder of weights; folders of these names in it are replaced.

    Returns:
        Bytes by name.
    """
    written: dict[str, str] = {}
    for name, folder in parts.items():
        target = out / name
        if target.exists():
            shutil.rmtree(target)
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            if file.suffix not in {".json", ".safetensors", ".txt"} or file.name.startswith("."):
                continue
            place = target / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".safetensors":
                _halve(file, place)
            elif file.name in {"config.json", "model_index.json"}:
                _without_origin(file, place)
            else:
                shutil.copyfile(file, place)
        _link_shared(target, out, written)
    return {name: sum(f.stat().st_size for f in (out / name).rglob("*") if f.is_file()) for name in parts}


def _halve(file: Path, place: Path) -> None:
    halved: dict[str, Any] = {}
    for name, weight in load_file(file).items():
        half = weight.half() if weight.is_floating_point() else weight
        if weight.is_floating_point() and not bool(half.isfinite().all()):
            raise NotFiniteError(f"{file}: {name} does not fit into float16; it must be trained anew at a lower rate")
        halved[name] = half.contiguous()
    with full_disk_in_plain(place):
        save_file(halved, place, metadata={"format": "pt"})


def _without_origin(file: Path, place: Path) -> None:
    """A configuration without the folder that the libraries note it was once loaded from."""
    content = json.loads(file.read_text(encoding="utf-8"))
    content.pop("_name_or_path", None)  # a folder of this machine
    write_text(place, json.dumps(content, indent=2, sort_keys=True) + "\n")


def _link_shared(target: Path, out: Path, written: dict[str, str]) -> None:
    for part in sorted(p for p in target.iterdir() if p.is_dir()):
        content = " ".join(f"{f.name} {file_sha256(f)}" for f in sorted(part.iterdir()) if f.is_file())
        if content in written:
            shutil.rmtree(part)
            part.symlink_to(Path("..") / written[content], target_is_directory=True)
        else:
            written[content] = str(part.relative_to(out))
