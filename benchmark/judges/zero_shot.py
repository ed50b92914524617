"""A judge without words: CLIP names the edited region among a vocabulary, and the background must have stayed."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from benchmark.judges.verdicts import Case, JudgeError, Opinion
from benchmark.metrics.background import compare, fill_edited, fill_source
from benchmark.metrics.clip_models import ClipModel
from benchmark.metrics.foreground import crop_refusal, foreground_crop
from benchmark.metrics.pictures import PictureError, edited_frame, read_file, source_frame
from benchmark.protocols import protocol_named
from reason_edit.rating.study import Answer

if TYPE_CHECKING:
    import torch

PROTOCOL = "judge-zero-shot-v1"
FRAME = protocol_named("strict-v1")
"""Pictures at 256 px, the mask's whole box padded to a square; what judges the background is outside the mask."""

LOWEST_PSNR = 18.0
"""dB; a background that differs more is not kept. A diffusion model's autoencoder alone leaves well above 20."""


@dataclass(slots=True)
class ZeroShotJudge:
    """Names the edited region.

    Aligned means that of all labels the sample's own fits the region best, that it fits better than before the edit,
    and that the background was kept.

    Attributes:
        clip: The CLIP.
        model: Its name and hash; what else its answers follow from is added: the threshold and the vocabulary.
        vocabulary: The labels to choose from.
        lowest_psnr: In dB; the background must be at least so close to the source's.
        protocol: Name and version of this procedure.
    """

    clip: ClipModel
    model: str
    vocabulary: tuple[str, ...]
    lowest_psnr: float = LOWEST_PSNR
    protocol: str = PROTOCOL
    _features: "torch.Tensor | None" = None

    def __post_init__(self) -> None:
        """Sort the vocabulary, and name the judge in full.

        Raises:
            JudgeError: There is nothing to choose from.
        """
        self.vocabulary = tuple(sorted({label for label in self.vocabulary if label}))
        if len(self.vocabulary) < 2:
            raise JudgeError(
                f"zero-shot needs at least two labels to choose from, not {list(self.vocabulary)}; a choice among one "
                "is always right. Give more with --vocabulary FILE"
            )
        labels = hashlib.sha256("\n".join(self.vocabulary).encode()).hexdigest()[:12]
        self.model = f"{self.model}, {self.lowest_psnr:g} dB, {len(self.vocabulary)} labels {labels}"

    def judge(self, cases: Sequence[Case]) -> Iterator[Opinion]:
        """Judge cases one by one; what lacks a label, a mask or a readable picture gets no answer."""
        for case in cases:
            try:
                yield self._one(case)
            except PictureError as error:
                yield Opinion(answer=None, reason=str(error), reply=None)

    def _one(self, case: Case) -> Opinion:
        label = case.sample.target_label
        if label not in self.vocabulary:
            return Opinion(answer=None, reason="the sample has no target label", reply=None)
        frame = source_frame(read_file(case.sample.image), read_file(case.sample.mask), FRAME)
        if refusal := crop_refusal(frame, FRAME):
            return Opinion(answer=None, reason=refusal, reply=None)
        edited = edited_frame(read_file(case.edited), frame.size, FRAME)
        source = fill_source(frame, FRAME)
        psnr = compare(source, fill_edited(source, edited, FRAME), FRAME).psnr
        before, after = self._similarities([foreground_crop(frame, p, FRAME) for p in (frame.image, edited)])
        named = max(after, key=lambda name: after[name])
        # NaN: the mask covers everything, and there is no background to keep.
        kept = math.isnan(psnr) or psnr >= self.lowest_psnr
        aligned = named == label and after[label] > before[label] and kept
        reply = {
            "named": named,
            "similarity": round(after[label], 6),
            "similarity_before": round(before[label], 6),
            "background_psnr": round(psnr, 4) if math.isfinite(psnr) else None,
        }
        answer = Answer.ALIGNED if aligned else Answer.NOT_ALIGNED
        return Opinion(answer=answer, reason=None, reply=json.dumps(reply, sort_keys=True))

    def _similarities(self, crops: Sequence[Image.Image]) -> list[dict[str, float]]:
        """For each crop, its cosine with every label."""
        import torch

        if self._features is None:
            self._features = torch.stack([self.clip.label_feature(name, keep_end=True) for name in self.vocabulary])
        cosines = (self.clip.crop_features(crops) @ self._features.T).cpu()
        return [dict(zip(self.vocabulary, map(float, row), strict=True)) for row in cosines]


def read_vocabulary(path: Path) -> list[str]:
    """Labels from a text file, one a line.

    Raises:
        JudgeError: There is no such file.
    """
    if not path.is_file():
        raise JudgeError(f"{path}: there is no such vocabulary file")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
