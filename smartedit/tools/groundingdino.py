"""GroundingDINO by its authors' package, groundingdino-py."""

import contextlib
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from smartedit.config.synthesis import GrounderConfig
from smartedit.tools.grounding_captions import Caption, by_picture, captions, detections, pixels
from smartedit.tools.groundingdino_compatibility import lent_methods
from smartedit.tools.protocols import Detection, GroundingRequest, ToolError, ToolUnavailable

logger = logging.getLogger(__name__)


class GroundingDinoGrounder:
    """Finds things with the authors' model.

    Args:
        model: A `groundingdino` model with its tokenizer.
        config: Thresholds, device and resolution.
    """

    def __init__(self, model: Any, config: GrounderConfig) -> None:
        self._model = model.eval().to(config.device)
        self._config = config

    @classmethod
    def load(cls, config: GrounderConfig) -> "GroundingDinoGrounder":
        """Build the model and read its checkpoint.

        Raises:
            ToolUnavailable: The checkpoint, the configuration file or the text encoder is missing or does not fit.
        """
        if config.model is None or not Path(config.model).is_file():
            raise ToolUnavailable(
                f"groundingdino: no checkpoint at {config.model!r}; set grounder.model to a released .pth file "
                "(groundingdino_swint_ogc.pth), or use grounding-dino-hf"
            )
        model = build_groundingdino(config)
        import torch

        content = torch.load(config.model, map_location="cpu", weights_only=True)
        state = {k.removeprefix("module."): v for k, v in content.get("model", content).items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        # Older checkpoints carry BERT's position ids, which are no weights.
        strange = [k for k in unexpected if not k.endswith("position_ids")]
        lacking = [k for k in missing if not k.endswith("relative_position_index")]
        if strange or lacking:
            raise ToolUnavailable(
                f"{config.model}: not a checkpoint of this model; missing {lacking[:3]}, unknown {strange[:3]}; "
                "set grounder.model_config to its configuration file"
            )
        return cls(model, config)

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
            for caption in captions(phrases, self._tokenize):
                try:
                    with torch.inference_mode():
                        scores, boxes = self._forward(pixels(image, self._config.short_side), caption)
                except RuntimeError as error:
                    raise ToolError(f"groundingdino: {error}") from error
                found = detections(
                    scores,
                    boxes,
                    caption,
                    [phrases[i] for i in caption.indices],
                    image.size,
                    box_threshold=self._config.box_threshold,
                    text_threshold=self._config.text_threshold,
                )
                for index, answer in zip(caption.indices, found, strict=True):
                    answers[group[index]] = answer
        return answers

    def _tokenize(self, text: str) -> Sequence[int]:
        ids: Sequence[int] = self._model.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _forward(self, values: Any, caption: Caption) -> tuple[Any, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            output = self._model(values[None].to(self._config.device), captions=[caption.text])
        scores = output["pred_logits"][0].float().sigmoid().cpu().numpy()
        return scores, output["pred_boxes"][0].float().cpu().numpy()


def build_groundingdino(config: GrounderConfig) -> Any:
    """A model of the authors' classes with random weights.

    Args:
        config: The configuration file; the text encoder, where another one is wanted.

    Raises:
        ToolUnavailable: The configuration file or the text encoder is missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from groundingdino.models import build_model
        from groundingdino.util.slconfig import SLConfig

        settings = SLConfig.fromfile(_config_file(config))
        settings.device = config.device
        if config.text_encoder is not None:
            settings.text_encoder_type = config.text_encoder
        try:
            # The package prints what it loads; our output is not the place for it.
            with lent_methods(), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                return build_model(settings)
        except OSError as error:
            raise ToolUnavailable(
                f"groundingdino: no text encoder {settings.text_encoder_type!r}: set grounder.text_encoder to a folder "
                f"with BERT and its tokenizer ({error})"
            ) from error


def _config_file(config: GrounderConfig) -> str:
    if config.model_config is None:
        import groundingdino

        return str(Path(groundingdino.__file__).parent / "config/GroundingDINO_SwinT_OGC.py")
    if not Path(config.model_config).is_file():
        raise ToolUnavailable(f"groundingdino: no configuration file {config.model_config!r}")
    return config.model_config
