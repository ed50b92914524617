"""The Segment Anything family by transformers: SAM, SAM-HQ, SAM 2, EdgeTAM, by what the checkpoint says."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from smartedit.config.synthesis import SegmenterConfig
from smartedit.hub import locate_model
from smartedit.tools.protocols import Mask, SegmentationRequest, ToolError, ToolUnavailable


class SamHFSegmenter:
    """Cuts things out with a model for mask generation; boxes of one picture share its encoding.

    Args:
        model: For example a `SamModel` or a `Sam2Model`.
        processor: Its processor.
        device: Where it runs.
    """

    def __init__(self, model: Any, processor: Any, device: str = "cpu") -> None:
        self._model = model.eval().to(device)
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, config: SegmenterConfig) -> "SamHFSegmenter":
        """Read a model from a folder or the hub's cache.

        Raises:
            ToolUnavailable: There is none of that name.
        """
        from transformers import AutoModelForMaskGeneration, AutoProcessor

        if config.model is None:
            raise ToolUnavailable("sam-hf: set segmenter.model, for example facebook/sam-vit-huge")
        try:
            where = locate_model(config.model)
            model = AutoModelForMaskGeneration.from_pretrained(where)
            processor = AutoProcessor.from_pretrained(where)
        except (OSError, ValueError) as error:
            raise ToolUnavailable(f"sam-hf: no model {config.model!r} ({error})") from error
        return cls(model, processor, config.device)

    def segment(self, requests: Sequence[SegmentationRequest]) -> list[Mask]:
        """Segment things.

        Raises:
            ToolError: The model failed, for example for lack of memory.
        """
        masks: list[Mask] = [np.zeros((1, 1), dtype=bool)] * len(requests)
        for image_id in dict.fromkeys(id(r.picture.image) for r in requests):
            indices = [i for i, r in enumerate(requests) if id(r.picture.image) == image_id]
            try:
                for index, mask in zip(indices, self._of_picture([requests[i] for i in indices]), strict=True):
                    masks[index] = mask
            except RuntimeError as error:
                raise ToolError(f"sam-hf: {error}") from error
        return masks

    def _of_picture(self, requests: Sequence[SegmentationRequest]) -> list[Mask]:
        import torch

        boxes = [[[float(v) for v in r.box] for r in requests]]
        inputs = self._processor(images=requests[0].picture.image, input_boxes=boxes, return_tensors="pt")
        inputs = inputs.to(self._device)
        sizes = [inputs.pop(name).cpu() for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
        with torch.inference_mode():
            output = self._model(**inputs, multimask_output=False)
        found = self._processor.post_process_masks(output.pred_masks.float().cpu(), *sizes)[0]
        return [np.asarray(mask[0].numpy(), dtype=bool) for mask in found]
