"""Keeps a run out of a folder that holds something else."""

import json
from pathlib import Path

CONFIG = "config.json"
_KINDS = {
    "run.json": "a benchmark run",
    "pictures.parquet": "a run of `smartedit synth`",
    "checkpoints": "a training run",
    "ablations.json": "a run of `ablations`",
    "manifest.parquet": "a manifest",
    "sources.toml": "corpora",
    "recipe.json": "the work of `miniature fit`",
    "model_index.json": "a pipeline",
}
"""What a folder is, by what lies in it."""


class OtherContentError(ValueError):
    """A folder holds something else; the message says what."""


def refuse_other_content(folder: Path, key: str, option: str) -> None:
    """Raise where a folder is known to hold something else than what a command writes there.

    Args:
        folder: The folder; need not exist.
        key: What the command's own `config.json` always has.
        option: By which the folder was named.

    Raises:
        OtherContentError: It holds something else.
    """
    if folder.exists() and not folder.is_dir():
        raise OtherContentError(f"{option} {folder}: is a file; name a folder")
    config = folder / CONFIG
    if config.is_file():
        try:
            content = json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise OtherContentError(
                f"{config}: cannot be read ({error}); remove it, or name another {option}"
            ) from error
        if isinstance(content, dict) and key in content:
            return  # What else came into a folder of our own since is no matter.
        raise OtherContentError(f"{option} {folder}: holds the {CONFIG} of something else; name another folder")
    for name, kind in _KINDS.items():
        if (folder / name).exists():
            raise OtherContentError(f"{option} {folder}: holds {kind} ({name}); name another folder")
