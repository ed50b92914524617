"""The authors' way of scoring, in our words: one sample at a time, every metric a module of torchmetrics."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmark.metrics.clip_models import TransformersClip
from reason_edit.schema import EditSample


class AuthorsWay:
    """One sample at a time through torchmetrics' modules, called as the authors call them (own words)."""

    def __init__(self, clip: TransformersClip | None) -> None:
        from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure
        from torchmetrics.regression import MeanSquaredError

        self.background = [
            PeakSignalNoiseRatio(data_range=1.0), StructuralSimilarityIndexMeasure(data_range=1.0), MeanSquaredError()
        ]  # fmt: skip
        self.networks: tuple[Any, Any] | None = None
        if clip is not None:
            from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity
            from torchmetrics.multimodal.clip_score import CLIPScore

            plain = self._without_output_objects(clip)
            self.networks = (
                LearnedPerceptualImagePatchSimilarity(net_type="squeeze"),
                CLIPScore(lambda: (plain, self._processor(clip))),
            )

    @staticmethod
    def _without_output_objects(clip: TransformersClip) -> Any:
        """The same model as torchmetrics expects it: features as tensors, as transformers 4 gave them."""

        class Plain(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.model, self.config = clip.model, clip.model.config

            def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
                return self.model.get_image_features(pixels).pooler_output

            def get_text_features(self, ids: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
                return self.model.get_text_features(ids, attention).pooler_output

        return Plain()

    @staticmethod
    def _processor(clip: TransformersClip) -> Callable[..., Any]:
        def process(text: list[str] | None = None, images: list[torch.Tensor] | None = None, **options: Any) -> Any:
            if text is not None:
                return clip.tokenizer(text, return_tensors="pt", padding=True)
            return clip.processor(images=images, return_tensors="pt")

        return process

    def load(self, sample: EditSample, edited: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, np.ndarray]:
        """Source, edited and background weight as 1 x C x H x W, and the mask's values."""

        def tensor(image: Image.Image) -> torch.Tensor:
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous().float().div(255)

        pictures = [
            tensor(Image.open(p).convert("RGB").resize((256, 256), Image.Resampling.BICUBIC))
            for p in (sample.image, edited)
        ]
        mask = np.array(Image.open(sample.mask).convert("L").resize((256, 256), Image.Resampling.NEAREST))
        weight = 1 - torch.from_numpy(mask)[None, None].float() / 255
        return pictures[0], pictures[1], weight, mask

    def score(
        self, source: torch.Tensor, edited: torch.Tensor, weight: torch.Tensor, mask: np.ndarray, label: str
    ) -> list[float]:
        """PSNR, SSIM, MSE and, with networks, LPIPS and CLIP score."""
        one, other = source * weight, edited * weight
        values = [float(metric(other, one)) for metric in self.background]
        if self.networks is not None:
            lpips, clip = self.networks
            values.append(float(lpips(other * 2 - 1, one * 2 - 1)))
            rows, columns = np.where(mask > 0)
            crop = edited[0, :, rows.min() : rows.max(), columns.min() : columns.max()]
            values.append(float(clip((crop * 255).to(torch.uint8), label)))
        return values
