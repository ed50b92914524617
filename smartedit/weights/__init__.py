"""Trained weights that ship with the package; README.md beside this file says how each of them was made."""

from importlib import resources
from pathlib import Path


def shipped(name: str | Path) -> Path | None:
    """The folder or file of weights that ship under a name; None where there are none of that name.

    Args:
        name: For example `smartedit-miniature`.
    """
    words = str(name)
    if not words or "/" in words or words.startswith("."):
        return None
    path = Path(str(resources.files(__name__))) / words
    return path if path.is_dir() and not words.startswith("_") else None
