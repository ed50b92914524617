"""Where CLIP and LPIPS weights lie, their hashes, and how they are loaded; nothing random ever stands in for them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from benchmark.hub import answers, hub_answers, told_offline
from benchmark.metrics.clip_models import ClipModel, OpenClip, TransformersClip
from benchmark.metrics.lpips_distance import SqueezeLpips
from benchmark.protocols import Protocol
from reason_edit.files import file_sha256, missing_file
from smartedit.inference.memory import DeviceError, check_device
from smartedit.weights import shipped

Network = TypeVar("Network", ClipModel, SqueezeLpips)

TORCHVISION_BACKBONE = "squeezenet1_1"
TORCHVISION_FILE = "squeezenet1_1-b8a52dc0.pth"
SHIPPED_BACKBONE = "features.safetensors"
OPEN_CLIP_PREFIX = "open_clip:"
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""The weights of a repository where open_clip names no file, in the order that it looks for them."""
CLIP_FILES = ["config.json", "preprocessor_config.json", "tokenizer*.json", "special_tokens_map.json", "vocab.json"]
CLIP_FILES += ["merges.txt", "model*.safetensors*", "pytorch_model*.bin*", "open_clip*"]


class NetworkError(ValueError):
    """A network's weights are not there, are broken, or cannot be fetched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Located(Generic[Network]):
    """A network whose weights lie on this machine.

    Attributes:
        name: What the user or the protocol calls it.
        sha256: Hash over the files that decide its numbers.
        load: Builds it on its device, or moves there what was built before.
    """

    name: str
    sha256: str
    load: Callable[[], Network]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """A network that cannot be had, and that nobody named.

    Attributes:
        reason: Why its metric is NaN, with the remedy.
    """

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """The two networks of a protocol."""

    clip: Located[ClipModel] | Unavailable
    lpips: Located[SqueezeLpips] | Unavailable


def find_networks(
    protocol: Protocol, *, clip_model: str | None = None, lpips_backbone: str | None = None, device: str = "auto"
) -> Networks:
    """Find the weights of a protocol's networks.

    Args:
        protocol: Names the networks where the user does not.
        clip_model: A transformers folder, a hub id, `open_clip:ARCH@FILE`, `open_clip:ARCH@TAG`, `open_clip:FOLDER`,
            or None for the protocol's own.
        lpips_backbone: A file with torchvision's SqueezeNet 1.1 weights, `squeezenet1_1`, or None for the protocol's.
        device: "auto" (cuda, mps, cpu) or a torch device.

    Returns:
        Each network, or why it cannot be had. One that the user named is built here already, outside the device's
        memory: what is wrong with it is to be known before pictures are edited for hours.

    Raises:
        NetworkError: A network that the user named cannot be had.
    """
    place = pick_device(device)
    return Networks(
        clip=_found(find_clip, clip_model, protocol.clip_model, protocol, "--clip-model", place),
        lpips=_found(find_lpips, lpips_backbone, protocol.lpips_backbone, protocol, "--lpips-backbone", place),
    )


def _found(
    find: Callable[[str, str], Located[Network]],
    named: str | None,
    own: str | None,
    protocol: Protocol,
    option: str,
    device: str,
) -> Located[Network] | Unavailable:
    if named is not None:
        found = find(named, "cpu")
        return replace(found, load=partial(found.load().to, device))
    if own is None:
        return Unavailable(
            reason=f"not available: no trained small network ships for {protocol.name}; name one with {option}"
        )
    try:
        return find(own, device)
    except NetworkError as error:
        return Unavailable(reason=f"not available: {error}")


def pick_device(device: str) -> str:
    """A torch device's name; "auto" takes cuda, then mps, then cpu.

    Raises:
        NetworkError: The device is not there.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        check_device(device)
    except DeviceError as error:
        raise NetworkError(str(error)) from error
    return device


def find_lpips(name: str, device: str = "cpu") -> Located[SqueezeLpips]:
    """Find the LPIPS backbone.

    Args:
        name: A `.safetensors` or `.pth` file with torchvision's keys, the name of weights that ship, or
            `squeezenet1_1` for torchvision's own weights in the torch hub cache (fetched where the host answers).
        device: A torch device.

    Returns:
        The network; its linear heads ship with the `lpips` package.

    Raises:
        NetworkError: The weights are not there.
    """
    folder = shipped(name)
    path = Path(name).expanduser() if folder is None else folder / SHIPPED_BACKBONE
    if name == TORCHVISION_BACKBONE:
        path = _torchvision_backbone()
    if not path.is_file():
        raise NetworkError(
            f"LPIPS backbone {name}: {missing_file(path)}; give a .safetensors or .pth file with torchvision's "
            f"SqueezeNet 1.1 weights, or {TORCHVISION_BACKBONE}"
        )
    return Located(name=name, sha256=file_sha256(path), load=partial(_load_lpips, path, device))


def _torchvision_backbone() -> Path:
    import torch

    path = Path(str(torch.hub.get_dir())) / "checkpoints" / TORCHVISION_FILE
    if path.is_file():
        return path
    remedy = f"put {path.name} into {path.parent}, or give the file with --lpips-backbone FILE"
    missing = f"LPIPS backbone {TORCHVISION_BACKBONE}: not in the torch hub cache, its host does not answer; {remedy}"
    if told_offline():
        raise NetworkError(missing)
    # Imported only where a fetch is tried: torchvision's models take seconds to import.
    from torchvision.models import SqueezeNet1_1_Weights

    url = str(SqueezeNet1_1_Weights.IMAGENET1K_V1.url)
    if not answers(url):
        raise NetworkError(missing)
    try:
        torch.hub.load_state_dict_from_url(url, progress=False, check_hash=True, map_location="cpu")
    except (OSError, RuntimeError) as error:
        raise NetworkError(f"LPIPS backbone {TORCHVISION_BACKBONE}: cannot be fetched ({error}); {remedy}") from error
    return path


def _load_lpips(path: Path, device: str) -> SqueezeLpips:
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return SqueezeLpips(load_file(path), device)
        return SqueezeLpips(torch.load(path, map_location="cpu", weights_only=True), device)
    except (ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise NetworkError(f"LPIPS backbone {path}: cannot be loaded ({error})") from error
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError, IndexError) as error:
        # torch takes any file for a pickle, and its words would have the user trust it.
        raise NetworkError(
            f"LPIPS backbone {path}: cannot be loaded ({type(error).__name__}); give a .safetensors or .pth file with "
            "torchvision's SqueezeNet 1.1 weights"
        ) from error


def find_clip(name: str, device: str = "cpu") -> Located[ClipModel]:
    """Find a CLIP.

    Args:
        name: A transformers folder, the name of weights that ship, a hub id (fetched where it is not cached and the
            hub answers), `open_clip:ARCH@FILE`, `open_clip:ARCH@TAG`, or `open_clip:FOLDER` with an
            `open_clip_config.json`.
        device: A torch device.

    Returns:
        The network.

    Raises:
        NetworkError: The weights are not there.
    """
    if name.startswith(OPEN_CLIP_PREFIX):
        return _find_open_clip(name, device)
    folder = shipped(name) or Path(name).expanduser()
    if not folder.is_dir():
        folder = _hub_folder(name)
    if not (folder / "config.json").is_file():
        raise NetworkError(f"CLIP {name}: {folder} holds no config.json; give the folder of a transformers CLIP model")
    return Located(
        name=name,
        sha256=_files_sha256(folder),
        load=partial(_load_clip, name, partial(TransformersClip, folder), device),
    )


def _find_open_clip(name: str, device: str) -> Located[ClipModel]:
    import open_clip

    architecture, at, source = name.removeprefix(OPEN_CLIP_PREFIX).partition("@")
    if not at:
        folder = Path(architecture).expanduser()
        if not (folder / "open_clip_config.json").is_file():
            raise NetworkError(
                f"CLIP {name}: no folder with an open_clip_config.json; write open_clip:ARCH@FILE or open_clip:ARCH@TAG"
            )
        build = partial(OpenClip, f"local-dir:{folder}", None)
        return Located(name=name, sha256=_files_sha256(folder), load=partial(_load_clip, name, build, device))
    if architecture not in open_clip.list_models():
        raise NetworkError(f"CLIP {name}: open_clip knows no architecture {architecture}, e.g. ViT-L-14")
    path = Path(source).expanduser()
    if path.is_file():
        content, build = f"{architecture} {file_sha256(path)}", partial(OpenClip, architecture, path)
    else:
        config = open_clip.get_pretrained_cfg(architecture, source)
        if not config:
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none"
            raise NetworkError(f"CLIP {name}: {source} is no file, and no weights of {architecture}; there are {tags}")
        path, settings = _open_clip_weights(name, config), _open_clip_settings(config)
        content = f"{architecture} {file_sha256(path)} {json.dumps(settings, sort_keys=True)}"
        build = partial(OpenClip, architecture, path, settings=settings)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return Located(name=name, sha256=digest, load=partial(_load_clip, name, build, device))


def _open_clip_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a tag's weights were trained, which open_clip does not know of a file, as keywords of its own."""
    return {
        "force_quick_gelu": bool(config.get("quick_gelu")),
        "image_mean": config.get("mean"),
        "image_std": config.get("std"),
        "image_interpolation": config.get("interpolation"),
        "image_resize_mode": config.get("resize_mode"),
    }


def _open_clip_weights(name: str, config: Mapping[str, Any]) -> Path:
    import open_clip
    from huggingface_hub import try_to_load_from_cache

    repository, _, file = str(config.get("hf_hub", "")).rpartition("/")
    for stored in OPEN_CLIP_FILES if not file else (file,):
        cached = try_to_load_from_cache(repository, stored) if repository else None
        if isinstance(cached, str):
            return Path(cached)
    if not hub_answers(repository or "openai/clip-vit-large-patch14"):
        raise NetworkError(f"CLIP {name}: not cached and the hub does not answer; give a file: open_clip:ARCH@FILE")
    try:
        return Path(open_clip.download_pretrained(config))
    except (OSError, RuntimeError, ValueError) as error:
        raise NetworkError(f"CLIP {name}: cannot be fetched ({error}); give a file: open_clip:ARCH@FILE") from error


def _hub_folder(name: str) -> Path:
    """The snapshot of a hub id, from the cache or, where the hub answers, fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    remedy = "give a local folder"
    try:
        folder = Path(snapshot_download(name, allow_patterns=CLIP_FILES, local_files_only=True))
        if any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
            return folder
    except HFValidationError as error:
        raise NetworkError(f"CLIP {name}: neither a folder nor a hub id; {remedy}") from error
    except OSError:
        pass
    if not hub_answers(name):
        raise NetworkError(f"CLIP {name}: no such folder, not cached, and the hub does not answer; {remedy}")
    try:
        return Path(snapshot_download(name, allow_patterns=CLIP_FILES, ignore_patterns=["*.bin*", "*.msgpack"]))
    except (OSError, ValueError) as error:
        raise NetworkError(f"CLIP {name}: cannot be fetched ({error}); {remedy}") from error


def _load_clip(name: str, build: Callable[[str], ClipModel], device: str) -> ClipModel:
    import pickle

    from safetensors import SafetensorError

    try:
        return build(device)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise NetworkError(f"CLIP {name}: cannot be loaded ({said[0]})") from error
    except (pickle.UnpicklingError, EOFError) as error:
        # torch takes any file for a pickle, and its words would have the user trust it.
        raise NetworkError(
            f"CLIP {name}: cannot be loaded ({type(error).__name__}); its file of weights is broken, get it again"
        ) from error


def _files_sha256(folder: Path) -> str:
    """A hash over the names and contents of the files that decide a CLIP's numbers."""
    files: Iterable[Path] = {file for pattern in CLIP_FILES for file in folder.glob(pattern) if file.is_file()}
    lines = [f"{file.name} {file_sha256(file)}\n" for file in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
