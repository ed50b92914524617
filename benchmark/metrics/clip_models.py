"""CLIP through transformers and through open_clip: unit features of crops and of labels (Radford et al. 2021)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, Self

from PIL import Image

if TYPE_CHECKING:
    import torch


class ClipModel(Protocol):
    """A CLIP that compares crops with labels."""

    def to(self, device: str) -> Self:
        """Move it to a torch device."""
        ...

    def crop_features(self, crops: Sequence[Image.Image]) -> "torch.Tensor":
        """Unit features of RGB crops of any size: float32, B x D."""
        ...

    def label_feature(self, label: str, keep_end: bool) -> "torch.Tensor":
        """The unit feature of one label, float32, D.

        A label is encoded alone, so that its feature depends on nothing else. One longer than the model's window is
        cut; `keep_end` says whether its last token is then the end token.
        """
        ...


def clip_scores(crops: "torch.Tensor", labels: "torch.Tensor") -> list[float]:
    """100 times the cosine of each crop and its label, at least 0 (Hessel et al. 2021, without their 2.5).

    Args:
        crops: Unit features, B x D.
        labels: Unit features, B x D.

    Returns:
        One score for each pair, in [0, 100].
    """
    return [max(100 * float(v), 0.0) for v in (crops * labels).sum(dim=-1).cpu()]


class TransformersClip:
    """A `CLIPModel` folder of transformers, with the Pillow image processor that the authors' library used."""

    def __init__(self, folder: Path, device: str) -> None:
        """Load the model.

        Args:
            folder: A folder with configuration, weights, image processor and tokenizer.
            device: A torch device.

        Raises:
            ValueError: Weights are missing, or the tokenizer's words; a network with random weights never scores.
            OSError: A file is missing.
        """
        import torch
        from transformers import AutoTokenizer, CLIPModel
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        with _without_progress_bar():
            model, loaded = CLIPModel.from_pretrained(
                folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
            )
        lost = sorted(loaded["missing_keys"]) + [str(k) for k in loaded["mismatched_keys"]]
        if lost:
            raise ValueError(f"the weights of {', '.join(lost[:3])} and {len(lost)} tensors in all lack")
        self.model = model.eval().requires_grad_(False).to(device)
        self.processor = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if len(self.tokenizer) <= len(self.tokenizer.all_special_tokens):
            raise ValueError(
                "the tokenizer knows no words; put its tokenizer.json, or vocab.json and merges.txt, there"
            )
        self.window = int(model.config.text_config.max_position_embeddings)
        self.device = device

    def to(self, device: str) -> Self:
        """Move it to a torch device."""
        self.model.to(device)
        self.device = device
        return self

    def crop_features(self, crops: Sequence[Image.Image]) -> "torch.Tensor":
        """Unit features of RGB crops of any size: float32, B x D."""
        import torch

        pixels = self.processor(images=list(crops), return_tensors="pt")["pixel_values"].to(self.device)
        with torch.inference_mode():
            pooled = self.model.vision_model(pixel_values=pixels).pooler_output
            return torch.nn.functional.normalize(self.model.visual_projection(pooled), dim=-1)

    def label_feature(self, label: str, keep_end: bool) -> "torch.Tensor":
        """The unit feature of one label, float32, D.

        The state at the highest token id is taken, as CLIP and the authors' library do: the end token where the label
        holds one, another token where it was cut without one.
        """
        import torch

        tokens = self.tokenizer(label, truncation=keep_end, max_length=self.window if keep_end else None)["input_ids"]
        ids = torch.tensor([tokens[: self.window]], device=self.device)
        with torch.inference_mode():
            states = self.model.text_model(input_ids=ids).last_hidden_state[0]
            return torch.nn.functional.normalize(self.model.text_projection(states[ids[0].argmax()]), dim=-1)


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    """Loading a folder takes seconds and needs no bar among a command's own output."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class OpenClip:
    """A model of open_clip, with its own transform and tokenizer."""

    def __init__(
        self, name: str, weights: Path | None, device: str, settings: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Load the model.

        Args:
            name: An architecture of open_clip, or `local-dir:FOLDER`.
            weights: The weights' file; None where the folder holds them.
            device: A torch device.
            settings: Further keywords of `create_model_from_pretrained`; what they leave out is the architecture's, and
                pictures are then prepared as OpenAI's CLIP has it.

        Raises:
            RuntimeError: The folder holds no weights; a network with random weights never scores.
        """
        import open_clip
        import torch

        with torch.random.fork_rng(devices=[]):
            model, transform = open_clip.create_model_from_pretrained(
                name, pretrained=None if weights is None else str(weights), device=device, **settings
            )
        self.model = model.eval().requires_grad_(False)
        self.transform: Callable[[Image.Image], Any] = transform
        self.tokenizer = open_clip.get_tokenizer(name)
        self.device = device

    def to(self, device: str) -> Self:
        """Move it to a torch device."""
        self.model.to(device)
        self.device = device
        return self

    def crop_features(self, crops: Sequence[Image.Image]) -> "torch.Tensor":
        """Unit features of RGB crops of any size: float32, B x D."""
        import torch

        pixels = torch.stack([self.transform(crop) for crop in crops]).to(self.device)
        with torch.inference_mode():
            return self.model.encode_image(pixels, normalize=True)  # type: ignore[no-any-return]

    def label_feature(self, label: str, keep_end: bool) -> "torch.Tensor":
        """The unit feature of one label, float32, D; open_clip keeps the end token of a label that it cuts."""
        import torch

        with torch.inference_mode():
            return self.model.encode_text(self.tokenizer([label]).to(self.device), normalize=True)[0]  # type: ignore[no-any-return]
