"""Where a method's weights lie: a local folder, the hub's cache, or the hub itself, which is never waited for."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmark.hub import hub_answers
from benchmark.methods.specs import MethodError
from reason_edit.files import file_sha256
from smartedit.hub import folder_commit
from smartedit.weights import shipped

PIPELINE_FILES = ("model_index.json", "*/*")
"""What a diffusers pipeline needs of its page, which often holds the same weights once more as one large file."""

WEIGHT_PATTERNS = ("*.safetensors", "*.bin", "*.json", "*.txt", "*.model")


def find_weights(
    model: str, *, revision: str | None = None, option: str = "--model", patterns: Sequence[str] | None = None
) -> Path:
    """The local folder of a model.

    Args:
        model: A folder, the name of weights that ship, or a hub id, fetched where it is not cached and the hub answers.
        revision: Commit, tag or branch of a hub id; None takes its main branch.
        option: Names the option in an error's remedy.
        patterns: Which files of a hub id to fetch; None for all.

    Returns:
        The folder.

    Raises:
        MethodError: The weights cannot be had; says at once what to do.
    """
    folder = shipped(model) or Path(model).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise MethodError(f"{model}: revision={revision}: a local folder has none; leave revision out")
        return folder
    if folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise MethodError(f"{model}: there is no such folder; {option} takes a local folder or a hub id `owner/name`")
    return _snapshot(model, revision, option, None if patterns is None else list(patterns))


def _snapshot(model: str, revision: str | None, option: str, patterns: list[str] | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    remedy = f"fetch it where there is a network (`hf download {model}`) and give its folder with {option} FOLDER"
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns, local_files_only=True))
    except HFValidationError as error:
        raise MethodError(f"{model}: neither a folder nor a hub id; {remedy}") from error
    except OSError:
        pass
    if not hub_answers(model):
        at = "" if revision is None else f" at revision {revision}"
        raise MethodError(f"{model}: no such folder, not in the cache{at}, and the hub does not answer; {remedy}")
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except GatedRepoError as error:
        raise MethodError(f"{model}: gated; accept its licence on its page and log in (`hf auth login`)") from error
    except RevisionNotFoundError as error:
        raise MethodError(
            f"{model}: the hub knows no revision {revision}; set revision=main for its newest, or a commit of its page"
        ) from error
    except RepositoryNotFoundError as error:
        raise MethodError(f"{model}: the hub knows no such model, or it is private; check the name") from error
    except (OSError, ValueError) as error:
        raise MethodError(f"{model}: cannot be fetched ({error}); {remedy}") from error


def weights_description(
    model: str, revision: str | None = None, patterns: Sequence[str] | None = None
) -> Mapping[str, Any]:
    """What `run.json` keeps of a model: its hash over all weight and configuration files, and the hub's commit."""
    folder = find_weights(model, revision=revision, patterns=patterns)
    return {"weights_sha256": folder_sha256(folder), "commit": folder_commit(folder)}


@lru_cache(maxsize=32)
def folder_sha256(folder: Path, patterns: tuple[str, ...] = WEIGHT_PATTERNS) -> str:
    """A hash over the names and contents of a folder's files."""
    files = sorted({f for pattern in patterns for f in folder.rglob(pattern) if f.is_file()})
    lines = [f"{f.relative_to(folder).as_posix()} {file_sha256(f)}\n" for f in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
