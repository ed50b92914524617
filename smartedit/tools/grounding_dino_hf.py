"""GroundingDINO by transformers."""

from collections.abc import Sequence
from typing import Any

from smartedit.config.synthesis import GrounderConfig
from smartedit.hub import locate_model
from smartedit.tools.grounding_captions import by_picture, captions, detections, pixels
from smartedit.tools.protocols import Detection, GroundingRequest, ToolError, ToolUnavailable


class GroundingDinoHFGrounder:
    """Finds things with `GroundingDinoForObjectDetection`.

    Args:
        model: The model.
        tokenizer: Its BERT tokenizer.
        config: Thresholds, device and resolution.
    """

    def __init__(self, model: Any, tokenizer: Any, config: GrounderConfig) -> None:
        self._model = model.eval().to(config.device)
        self._tokenizer = tokenizer
        self._config = config

    @classmethod
    def load(cls, config: GrounderConfig) -> "GroundingDinoHFGrounder":
        """Read a model from a folder or the hub's cache.

        Raises:
            ToolUnavailable: There is none of that name.
        """
        from transformers import AutoTokenizer, GroundingDinoForObjectDetection

        if config.model is None:
            raise ToolUnavailable(
                "grounding-dino-hf: set grounder.model, for example IDEA-Research/grounding-dino-tiny"
            )
        try:
            where = locate_model(config.model)
            model = GroundingDinoForObjectDetection.from_pretrained(where)
            tokenizer = AutoTokenizer.from_pretrained(where)
        except (OSError, ValueError) as error:
            raise ToolUnavailable(f"grounding-dino-hf: no model {config.model!r} ({error})") from error
        return cls(model, tokenizer, config)

    def ground(self, requests: Sequence[GroundingRequest]) -> list[list[Detection]]:
        """Find things; the phrases of one picture share a caption.

        Raises:
            ToolError: The model failed, for example for lack of memory.
        """
        import torch

        answers: list[list[Detection]] = [[] for _ in requests]
        for group in by_picture(requests):
            image = requests[group[0]].picture.image
            phrases = [requests[i].phrase for i in group]
            for caption in captions(phrases, lambda text: self._tokenizer(text, add_special_tokens=False)["input_ids"]):
                tokens = self._tokenizer(caption.text, return_tensors="pt").to(self._config.device)
                values = pixels(image, self._config.short_side)[None].to(self._config.device, self._model.dtype)
                try:
                    with torch.inference_mode():
                        output = self._model(pixel_values=values, **tokens)
                except RuntimeError as error:
                    raise ToolError(f"grounding-dino-hf: {error}") from error
                found = detections(
                    output.logits[0].float().sigmoid().cpu().numpy(),
                    output.pred_boxes[0].float().cpu().numpy(),
                    caption,
                    [phrases[i] for i in caption.indices],
                    image.size,
                    box_threshold=self._config.box_threshold,
                    text_threshold=self._config.text_threshold,
                )
                for index, answer in zip(caption.indices, found, strict=True):
                    answers[group[index]] = answer
        return answers
