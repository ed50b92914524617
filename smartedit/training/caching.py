"""What the frozen encoders make of a picture, kept on disk by the content of the picture and of the weights."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from smartedit.training.losses import Seen

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A frozen encoder.

    Attributes:
        encode: Pixels [1, 3, H, W] to what it makes of them, [1, ...].
        digest: Names its weights.
    """

    encode: Callable[[Tensor], Tensor]
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RowKeys:
    """Names of a row's pictures in the cache; None for those that are not kept.

    Not kept are pictures that were drawn for this visit (crops, painted targets), which hardly come again and would
    take the place of those that do.
    """

    source: str | None
    target: str | None
    seen: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What the cache holds of one kind of picture of a batch, in one tensor: a worker hands over few of them.

    Attributes:
        found: Which rows, [B].
        values: Of those rows, stacked; None where there are none.
    """

    found: tuple[bool, ...]
    values: Tensor | None

    def rows(self) -> list[Tensor | None]:
        """One entry a row of the batch."""
        values = iter(() if self.values is None else self.values)
        return [next(values) if found else None for found in self.found]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptBatch:
    """What the cache holds of a batch; `seen` is None where the image encoder's view is not kept."""

    source: Kept
    target: Kept
    seen: Kept | None


class EncoderCache:
    """Moments of the autoencoder and features v of the image encoder, a file each.

    Every picture goes through an encoder on its own, so that what is kept does not depend on the batch in which it was
    first met, and a run that was killed goes on with the same numbers.
    """

    def __init__(
        self, folder: Path, *, autoencoder: Encoder, vision: Encoder | None, limit: float, processes: int = 1
    ) -> None:
        """Open a cache.

        Args:
            folder: Shared by all runs on the manifest.
            autoencoder: To mean and log-variance.
            vision: To v; None where v is not kept.
            limit: Bytes in all, those of other weights among them; what comes afterwards is not kept.
            processes: Of the run; each takes its part of the bytes that are left.
        """
        self.folder = folder
        self.autoencoder: Encoder | None = autoencoder
        self.vision = vision
        self._places = {"latents": folder / f"latents-{autoencoder.digest}"}
        if vision is not None:
            self._places["features"] = folder / f"features-{vision.digest}"
        self._room = max(0, limit - _size(folder)) / processes
        if limit and not self._room:
            logger.warning(
                "%s: is as large as training.cache_gib allows, and nothing more is kept; what folders of other weights "
                "than %s hold may be removed",
                folder,
                " and ".join(place.name for place in self._places.values()),
            )

    def __getstate__(self) -> dict[str, Any]:
        # Workers read; they need no encoders.
        return {**self.__dict__, "autoencoder": None, "vision": None}

    def keys(self, row: Any) -> RowKeys:
        """Names of a row's pictures (a `TrainingRow`)."""

        def key(name: str, pixels: Tensor) -> str | None:
            return None if name in row.drawn else _digest([pixels])

        return RowKeys(
            source=key("source", row.source),
            target=key("target", row.target),
            seen=key("seen", row.pixel_values) if "features" in self._places else None,
        )

    def read(self, keys: Sequence[RowKeys]) -> KeptBatch:
        """What is kept of a batch."""
        features = "features" in self._places
        return KeptBatch(
            source=self._kept("latents", [row.source for row in keys]),
            target=self._kept("latents", [row.target for row in keys]),
            seen=self._kept("features", [row.seen for row in keys]) if features else None,
        )

    def _kept(self, kind: str, keys: Sequence[str | None]) -> Kept:
        values = [None if key is None else self._get(kind, key) for key in keys]
        held = [value for value in values if value is not None]
        return Kept(found=tuple(value is not None for value in values), values=torch.stack(held) if held else None)

    def complete(self, batch: Any, keys: Sequence[RowKeys], kept: KeptBatch, device: torch.device | str) -> Seen:
        """What the encoders make of a batch: from the cache, and anew where it holds nothing.

        Args:
            batch: An `EditBatch` or a `PairBatch` on the device.
            keys: Of its rows.
            kept: What `read` found.
            device: Where the result goes.
        """
        assert self.autoencoder is not None
        sources, targets = [row.source for row in keys], [row.target for row in keys]
        seen = None
        if self.vision is not None and kept.seen is not None:
            views = [row.seen for row in keys]
            seen = self._completed("features", self.vision, views, kept.seen, batch.pixel_values).to(device)
        return Seen(
            source_moments=self._completed("latents", self.autoencoder, sources, kept.source, batch.source).to(device),
            target_moments=self._completed("latents", self.autoencoder, targets, kept.target, batch.target).to(device),
            image_features=seen,
        )

    def _completed(self, kind: str, encoder: Encoder, keys: Sequence[str | None], kept: Kept, pixels: Tensor) -> Tensor:
        if all(kept.found) and kept.values is not None:
            return kept.values
        rows, fresh = kept.rows(), dict[str, Tensor]()
        for i, key in enumerate(keys):
            row = rows[i] if key is None else fresh.get(key, rows[i])
            if row is None:
                with torch.no_grad():
                    row = encoder.encode(pixels[i : i + 1])[0].cpu()
                if key is not None:
                    fresh[key] = row
                    self._put(kind, key, row)
            rows[i] = row
        return torch.stack([row for row in rows if row is not None])

    def _path(self, kind: str, key: str) -> Path:
        return self._places[kind] / key[:2] / f"{key}.safetensors"

    def _get(self, kind: str, key: str) -> Tensor | None:
        try:
            return load(self._path(kind, key).read_bytes())["encoded"]
        except FileNotFoundError:
            return None
        except (SafetensorError, KeyError) as error:
            logger.warning("%s: damaged (%s); computed anew", self._path(kind, key), error)
            return None

    def _put(self, kind: str, key: str, encoded: Tensor) -> None:
        content = save({"encoded": encoded.contiguous()})
        if len(content) > self._room:
            return
        self._room -= len(content)
        path = self._path(kind, key)
        # Not flushed to disk, which would take longer than the encoder: what a power cut damages is computed anew.
        temporary = path.with_name(f".{key}.tmp-{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            temporary.replace(path)
        except OSError as error:
            self._room = 0
            logger.warning("%s: %s; nothing more is kept", path, error)
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _size(folder: Path) -> int:
    """Bytes of the files below a folder, other runs' half-written ones left out."""
    return sum(file.stat().st_size for file in folder.rglob("[!.]*.safetensors"))


def weights_digest(modules: Iterable[nn.Module], *settings: Any) -> str:
    """A name for weights and what else decides an encoder's result."""
    states = [tensor for module in modules for _, tensor in sorted(module.state_dict().items())]
    return _digest(states, *settings)[:16]


def _digest(tensors: Iterable[Tensor], *settings: Any) -> str:
    """The SHA-256 of contents, shapes and settings."""
    digest = hashlib.sha256(repr(settings).encode())
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        values = tensor.detach().cpu().contiguous()
        digest.update(values.view(torch.uint8).numpy().data if values.dim() else np.asarray(values.item()).tobytes())
    return digest.hexdigest()
