"""Segment Anything by its authors' package, segment-anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smartedit.config.synthesis import SegmenterConfig
from smartedit.tools.protocols import Mask, SegmentationRequest, ToolError, ToolUnavailable


class SamSegmenter:
    """Cuts things out with a `segment_anything` model; boxes of one picture share its encoding.

    Args:
        model: A `Sam`.
        device: Where it runs.
    """

    def __init__(self, model: Any, device: str = "cpu") -> None:
        from segment_anything import SamPredictor

        self._predictor = SamPredictor(model.eval().to(device))

    @classmethod
    def load(cls, config: SegmenterConfig) -> "SamSegmenter":
        """Build the model and read its checkpoint.

        Raises:
            ToolUnavailable: The checkpoint is missing or of another model type.
        """
        from segment_anything import sam_model_registry

        if config.model_type not in sam_model_registry:
            raise ToolUnavailable(
                f"sam: no model type {config.model_type!r}; known are {', '.join(sam_model_registry)}"
            )
        if config.model is None or not Path(config.model).is_file():
            raise ToolUnavailable(
                f"sam: no checkpoint at {config.model!r}; set segmenter.model to a released .pth file and "
                "segmenter.model_type to its type, or use sam-hf"
            )
        try:
            model = sam_model_registry[config.model_type](checkpoint=config.model)
        except RuntimeError as error:
            raise ToolUnavailable(
                f"{config.model}: not a {config.model_type} checkpoint ({str(error).splitlines()[0]})"
            ) from error
        return cls(model, config.device)

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
                raise ToolError(f"sam: {error}") from error
        return masks

    def _of_picture(self, requests: Sequence[SegmentationRequest]) -> list[Mask]:
        import torch

        image = requests[0].picture.image
        self._predictor.set_image(np.asarray(image))
        boxes = torch.tensor([r.box for r in requests], device=self._predictor.device)
        moved = self._predictor.transform.apply_boxes_torch(boxes, (image.height, image.width))
        found, _, _ = self._predictor.predict_torch(
            point_coords=None, point_labels=None, boxes=moved, multimask_output=False
        )
        return [np.asarray(mask[0].cpu().numpy(), dtype=bool) for mask in found]
