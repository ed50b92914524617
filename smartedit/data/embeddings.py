"""Pictures that an image model finds alike: what hashes cannot see, such as another photo of the same thing."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reason_edit.files import atomic_path
from smartedit.hub import locate_model

if TYPE_CHECKING:
    from PIL import Image

BATCH = 16
SHARD = 1024
SIMILARITY = 0.95
"""Cosine from which two pictures count as neighbours; a model's own scale, so look at the report before trusting it."""


class EmbeddingError(ValueError):
    """The image model cannot be used."""


class ImageEmbedder:
    """An image model of transformers: CLIP, SigLIP, DINOv2 and others that have one vector for a picture."""

    def __init__(self, model: str) -> None:
        """Load a model.

        Args:
            model: A folder or a name on the Hub.

        Raises:
            EmbeddingError: There is no such model.
        """
        from transformers import AutoImageProcessor, AutoModel

        try:
            where = locate_model(model)
            self._model = AutoModel.from_pretrained(where).eval()
            self._processor = AutoImageProcessor.from_pretrained(where)
        except (OSError, ValueError) as error:
            raise EmbeddingError(f"{model}: no image model of transformers can be loaded from it ({error})") from error
        weights = "\0".join(f"{n}{tuple(p.shape)}{p.sum().item()}" for n, p in self._model.named_parameters())
        self.key = hashlib.sha256(weights.encode()).hexdigest()[:16]

    def embed(self, pictures: "Sequence[Image.Image]") -> NDArray[np.float32]:
        """Vectors of length 1, [N, D]."""
        import torch

        found = []
        with torch.no_grad():
            for start in range(0, len(pictures), BATCH):
                batch = [picture.convert("RGB") for picture in pictures[start : start + BATCH]]
                inputs = self._processor(images=batch, return_tensors="pt")
                found.append(_vectors(self._model, inputs))
        return np.concatenate(found)


def _vectors(model: Any, inputs: Any) -> NDArray[np.float32]:
    import torch

    output = model.get_image_features(**inputs) if hasattr(model, "get_image_features") else model(**inputs)
    vectors = output if isinstance(output, torch.Tensor) else output.pooler_output
    return np.asarray(torch.nn.functional.normalize(vectors.flatten(1), dim=1).numpy(), dtype=np.float32)


def embed_all(
    embedder: ImageEmbedder,
    digests: Sequence[bytes],
    opened: "Callable[[int], Image.Image]",
    cache: Path,
    progress: Callable[[str, int, int | None], None],
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The vectors of many pictures, some at a time, kept on disk by model and pixels.

    Args:
        embedder: The model.
        digests: Digest of the pixels of each picture.
        opened: Opens a picture by its number.
        cache: Folder of the cache.
        progress: Told how many are done.

    Yields:
        The number of the first picture of a block, and the block's vectors.
    """
    for start in range(0, len(digests), SHARD):
        part = range(start, min(start + SHARD, len(digests)))
        name = hashlib.sha256(b"".join(digests[i] for i in part)).hexdigest()[:24]
        path = cache / f"vectors-{embedder.key}-{name}.npy"
        if not path.is_file():
            vectors = [embedder.embed([opened(i) for i in part[at : at + BATCH]]) for at in range(0, len(part), BATCH)]
            with atomic_path(path) as temporary:
                np.save(temporary, np.concatenate(vectors))
        progress("embeddings", part.stop, len(digests))
        yield start, np.load(path)
