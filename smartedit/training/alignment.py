"""Stage `align`: the [IMG] tokens and the QFormer learn to say a caption in CLIP's text space (released code)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.qformer import QFormer
from smartedit.model.sequences import Sequences
from smartedit.model.text import encode_text
from smartedit.training.captions import CaptionBatch, CaptionDataset
from smartedit.training.losses import Draws, alignment_loss, count_labels, language_loss
from smartedit.training.stages import to_train_mode


class Alignment(nn.Module):
    """The language model and the QFormer, without pictures."""

    def __init__(self, mllm: ImageTextMllm, qformer: QFormer) -> None:
        """Take parts.

        Args:
            mllm: The language model.
            qformer: Q_beta.
        """
        super().__init__()
        self.mllm = mllm
        self.qformer = qformer

    def forward(self, sequences: Sequences) -> tuple[Tensor, Tensor]:
        """The text features f = Q_beta(h), [B, n, C], and the scores of the next token, [B, L, vocabulary]."""
        read = self.mllm(sequences.input_ids, attention_mask=sequences.attention_mask)
        return self.qformer(read.hidden_states, sequences.img_mask), self.mllm.logits(read.hidden_states)


@dataclass(frozen=True, kw_only=True)
class AlignTrainee:
    """Stage `align` for the loop; see `smartedit.training.trainee.Trainee`."""

    pipeline: SmartEditPipeline
    module: nn.Module
    trained: dict[str, nn.Parameter]
    rows: CaptionDataset
    text_encoder: Any
    latents: None = None

    def count_labels(self, batch: CaptionBatch) -> int:
        """Labelled tokens."""
        assert batch.sequences.targets is not None
        return int(count_labels(batch.sequences.targets))

    def losses(
        self, module: nn.Module, batch: CaptionBatch, draws: Draws | None, seen: Any, num_labels: float
    ) -> Mapping[str, Tensor]:
        """Cross-entropy of the answer, and the squared distance of f to CLIP's features of the caption."""
        assert batch.sequences.targets is not None
        text_features, logits = module(batch.sequences)
        expected = encode_text(self.text_encoder.to(text_features.device), batch.clip_ids)
        return {
            "language": language_loss(logits, batch.sequences.targets, num_labels),
            "alignment": alignment_loss(text_features, expected),
        }

    def train_mode(self) -> None:
        """Dropout in the QFormer; adapters, where there are any, are frozen."""
        to_train_mode(self.module, self.trained)

    def save(self, folder: Path) -> None:
        """The pipeline with what was trained."""
        self.pipeline.save_pretrained(folder)
