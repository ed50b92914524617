"""Models by folder or hub name, and whether their host can be reached: answered within seconds and never by hanging."""

import hashlib
import os
import re
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from reason_edit.files import file_sha256
from smartedit.weights import shipped

COMMIT = re.compile(r"[0-9a-f]{40}")

ANSWER_SECONDS = 5.0
"""How long a host may take to answer before it counts as out of reach."""

NEVER_READ = ("*.bin", "*.ckpt", "*.pt", "*.pth", "*.msgpack", "*.h5", "*.py")
"""Files of a hub's model that are not fetched: code, and weights in forms that execute code or that nobody reads."""

WEIGHTS = frozenset({".safetensors", ".bin", ".pth", ".pt", ".ckpt"})
"""Suffixes of files of weights."""


class ModelNotFoundError(OSError):
    """A model is neither a folder, nor in the cache, nor to be had; the message says what to do."""


def locate_model(model: str | Path, revision: str | None = None, cache: str | Path | None = None) -> str:
    """What `from_pretrained` is to be given, so that it never waits for a host that does not answer.

    Args:
        model: A folder, a hub id, or the name of weights that ship.
        revision: Commit, tag or branch of a hub id.
        cache: The cache's folder; None for the usual one.

    Returns:
        The folder; the hub id where the hub answers (the library then fetches what it needs, or finds it up to date);
        else the snapshot in the cache.

    Raises:
        ModelNotFoundError: There is no such folder, and the hub does not answer and the cache does not hold it.
    """
    folder = shipped(model) or Path(model).expanduser()
    if folder.exists():
        return str(folder)
    name = str(model)
    if name.startswith((".", "~", "/")) or name.count("/") > 1:
        raise ModelNotFoundError(f"{name}: there is no such folder")
    if hub_answers(name):
        return name
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return str(snapshot_download(name, revision=revision, cache_dir=cache, local_files_only=True))
    except (OSError, HFValidationError) as error:
        raise ModelNotFoundError(
            f"{name}: no such folder, not in the cache, and the hub does not answer; fetch it where there is a network "
            f"(`hf download {name}`) and name its folder"
        ) from error


def fetch_model(
    model: str | Path, *, revision: str | None = None, cache: str | Path | None = None, **more: Any
) -> Path:
    """The local folder of a model, all its files fetched where it is a hub id and the hub answers.

    Args:
        model: A folder, a hub id, or the name of weights that ship.
        revision: Commit, tag or branch of a hub id.
        cache: The cache's folder; None for the usual one.
        **more: For `snapshot_download`, for example `token`.

    Raises:
        ModelNotFoundError: As in `locate_model`.
        HfHubHTTPError: The hub answers, and refuses.
    """
    where = locate_model(model, revision, cache)
    if Path(where).is_dir():
        return Path(where)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(where, revision=revision, cache_dir=cache, ignore_patterns=list(NEVER_READ), **more))


def hub_answers(model: str) -> bool:
    """Whether the Hugging Face hub may be asked and answers in time.

    Args:
        model: A hub id. It is this model's page that is asked for: a proxy may answer for the host and let everything
            behind it wait, which the hub's own client does not give up on.
    """
    from urllib.parse import quote

    from huggingface_hub import constants

    return not constants.HF_HUB_OFFLINE and answers(f"{constants.ENDPOINT}/api/models/{quote(model)}")


def told_offline() -> bool:
    """Whether the user said, by `HF_HUB_OFFLINE=1`, that nothing is to be fetched."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def answers(url: str, seconds: float | None = None) -> bool:
    """Whether a web host answers within `seconds` (`ANSWER_SECONDS`), name look-up included; any HTTP status counts."""
    if told_offline():
        return False
    patience = ANSWER_SECONDS if seconds is None else seconds
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=patience).close()
        except urllib.error.HTTPError:
            answered.set()
        except (OSError, ValueError):
            return
        else:
            answered.set()

    # A daemon thread, because a name look-up obeys no timeout.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return answered.is_set()


def folder_commit(folder: Path) -> str | None:
    """The hub's commit that a folder was fetched at; None where the folder does not tell.

    It is the folder's name in the hub's cache, and the first line of a note that `hf download --local-dir` leaves.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    note = folder / ".cache" / "huggingface" / "download" / "model_index.json.metadata"
    try:
        commit = note.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if COMMIT.fullmatch(commit) else None


def cached_commit(model: str, revision: str | None) -> str | None:
    """The commit of a hub id in the cache of this machine, nothing asked of the hub; None where it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return folder_commit(Path(snapshot_download(model, revision=revision, local_files_only=True)))
    except (OSError, HFValidationError):
        return None


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
