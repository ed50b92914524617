"""What the frozen encoders make of a picture, kept on disk by the content of the picture and of the weights."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from reason_edit.files import atomic_path
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
    """Names of a row's pictures in the cache; `seen` is None where the image encoder's view is not kept."""

    source: str
    target: str
    seen: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRow:
    """What the cache holds of a row; None where it holds nothing."""

    source: Tensor | None
    target: Tensor | None
    seen: Tensor | None


class EncoderCache:
    """Moments of the autoencoder and features v of the image encoder, a file each.

    Every picture goes through an encoder on its own, so that what is kept does not depend on the batch in which it was
    first met, and a run that was killed goes on with the same numbers.
    """

    def __init__(self, folder: Path, *, autoencoder: Encoder, vision: Encoder | None, limit: int) -> None:
        """Open a cache.

        Args:
            folder: Shared by all runs with the same weights.
            autoencoder: To mean and log-variance.
            vision: To v; None where v is not kept.
            limit: Bytes in all; what comes afterwards is not kept.
        """
        self.folder = folder
        self.autoencoder: Encoder | None = autoencoder
        self.vision = vision
        self.limit = limit
        self._places = {"latents": folder / f"latents-{autoencoder.digest}"}
        if vision is not None:
            self._places["features"] = folder / f"features-{vision.digest}"
        self._size = sum(file.stat().st_size for place in self._places.values() for file in place.rglob("*.*"))

    def __getstate__(self) -> dict[str, Any]:
        # Workers read; they need no encoders.
        return {**self.__dict__, "autoencoder": None, "vision": None}

    def keys(self, row: Any) -> RowKeys:
        """Names of a row's pictures (a `TrainingRow`)."""
        return RowKeys(
            source=_digest([row.source]),
            target=_digest([row.target]),
            seen=_digest([row.pixel_values]) if "features" in self._places else None,
        )

    def read(self, keys: Sequence[RowKeys]) -> list[KeptRow]:
        """What is kept of rows."""
        return [
            KeptRow(
                source=self._get("latents", row.source),
                target=self._get("latents", row.target),
                seen=None if row.seen is None else self._get("features", row.seen),
            )
            for row in keys
        ]

    def complete(
        self, batch: Any, keys: Sequence[RowKeys], kept: Sequence[KeptRow], device: torch.device | str
    ) -> Seen:
        """What the encoders make of a batch: from the cache, and anew where it holds nothing.

        Args:
            batch: An `EditBatch` on the device.
            keys: Of its rows.
            kept: What `read` found.
            device: Where the result goes.
        """
        assert self.autoencoder is not None
        source, target, seen = [], [], []
        fresh: dict[str, Tensor] = {}
        for i, (row, found) in enumerate(zip(keys, kept, strict=True)):
            source.append(self._encoded("latents", self.autoencoder, row.source, found.source, batch.source[i], fresh))
            target.append(self._encoded("latents", self.autoencoder, row.target, found.target, batch.target[i], fresh))
            if row.seen is not None and self.vision is not None:
                seen.append(self._encoded("features", self.vision, row.seen, found.seen, batch.pixel_values[i], fresh))
        return Seen(
            source_moments=torch.stack(source).to(device),
            target_moments=torch.stack(target).to(device),
            image_features=torch.stack(seen).to(device) if seen else None,
        )

    def _encoded(
        self, kind: str, encoder: Encoder, key: str, found: Tensor | None, pixels: Tensor, fresh: dict[str, Tensor]
    ) -> Tensor:
        if found is not None:
            return found
        if (known := fresh.get(kind + key)) is None:
            with torch.no_grad():
                known = encoder.encode(pixels[None])[0].cpu()
            fresh[kind + key] = known
            self._put(kind, key, known)
        return known

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
        if self._size + len(content) > self.limit:
            return
        self._size += len(content)
        with atomic_path(self._path(kind, key)) as temporary:
            temporary.write_bytes(content)


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
