"""Changes judged by CLIP: likeness to the target text, loss of the source text, and direction."""

from collections.abc import Sequence
from typing import Any

from smartedit.hub import locate_model
from smartedit.tools.protocols import ChangeRequest, ChangeScores, ToolError, ToolUnavailable


class ClipScorer:
    """Scores changes with a CLIP model of transformers.

    Args:
        model: A `CLIPModel` or another with `get_image_features` and `get_text_features`.
        processor: Its processor.
        device: Where it runs.
    """

    def __init__(self, model: Any, processor: Any, device: str = "cpu") -> None:
        self._model = model.eval().to(device)
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, name: str, device: str = "cpu") -> "ClipScorer":
        """Read a model from a folder or the hub's cache.

        Raises:
            ToolUnavailable: There is none of that name.
        """
        from transformers import AutoModel, AutoProcessor

        try:
            where = locate_model(name)
            model, processor = AutoModel.from_pretrained(where), AutoProcessor.from_pretrained(where)
        except (OSError, ValueError) as error:
            raise ToolUnavailable(
                f"clip: no model {name!r}; set scorer.clip to a folder or a hub name ({error})"
            ) from error
        if not hasattr(model, "get_image_features"):
            raise ToolUnavailable(f"clip: {name!r} is a {type(model).__name__}, which has no image and text features")
        return cls(model, processor, device)

    def score(self, requests: Sequence[ChangeRequest]) -> list[ChangeScores]:
        """Score changes: cosines of normalised features.

        Raises:
            ToolError: The model failed.
        """
        import torch

        try:
            with torch.inference_mode():
                source, target = (self._images([getattr(r, n) for r in requests]) for n in ("source", "target"))
                before, after = (self._texts([getattr(r, n) for r in requests]) for n in ("source_text", "target_text"))
        except RuntimeError as error:
            raise ToolError(f"clip: {error}") from error
        cosine = torch.nn.functional.cosine_similarity
        near_target = cosine(target, after)
        drop = cosine(source, before) - cosine(target, before)
        direction = cosine(target - source, after - before)
        return [
            ChangeScores(target=float(t), source_drop=float(s), direction=float(d))
            for t, s, d in zip(near_target, drop, direction, strict=True)
        ]

    def _images(self, images: Sequence[Any]) -> Any:
        inputs = self._processor(images=list(images), return_tensors="pt").to(self._device)
        return _normalised(self._model.get_image_features(pixel_values=inputs["pixel_values"]))

    def _texts(self, texts: Sequence[str]) -> Any:
        inputs = self._processor(text=list(texts), return_tensors="pt", padding=True, truncation=True)
        inputs = inputs.to(self._device)
        features = self._model.get_text_features(
            input_ids=inputs["input_ids"], attention_mask=inputs.get("attention_mask")
        )
        return _normalised(features)


def _normalised(features: Any) -> Any:
    values = getattr(features, "pooler_output", features).float()
    return values / values.norm(dim=-1, keepdim=True).clamp_min(1e-12)
