"""Stage `align`: the [IMG] tokens and the QFormer learn to say a caption in CLIP's text space (released code)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.prefix import SharedPrefix, read_prefix
from smartedit.model.qformer import QFormer
from smartedit.model.sequences import Sequences
from smartedit.model.text import encode_text
from smartedit.training.captions import CaptionBatch, CaptionDataset
from smartedit.training.losses import Draws, alignment_loss, count_labels, language_loss
from smartedit.training.stages import added_tokens, to_train_mode


class Alignment(nn.Module):
    """The language model and the QFormer."""

    def __init__(self, mllm: ImageTextMllm, qformer: QFormer, fixed: Sequence[int] = ()) -> None:
        """Take parts.

        Args:
            mllm: The language model; nothing of it is trained but rows of embedding and output layer.
            qformer: Q_beta.
            fixed: Tokens that rows begin with and that nothing trained reads: their keys and values are always the
                same, so that they are read once.
        """
        super().__init__()
        self.mllm = mllm
        self.qformer = qformer
        self._fixed = tuple(fixed)
        self._prefix: tuple[object, SharedPrefix] | None = None

    def forward(self, sequences: Sequences, pixel_values: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The text features f = Q_beta(h), [B, n, C], and the scores of the next token, [B, l, vocabulary].

        The scores are those of the last l positions: all, or those behind the fixed tokens. Stage `align` has no
        pictures.
        """
        prefix = self._read_before(sequences)
        rest = sequences.behind(0 if prefix is None else len(self._fixed))
        read = self.mllm(
            rest.input_ids, attention_mask=sequences.attention_mask, pixel_values=pixel_values, cache=prefix
        )
        return self.qformer(read.hidden_states, rest.img_mask), self.mllm.logits(read.hidden_states)

    def _read_before(self, sequences: Sequences) -> SharedPrefix | None:
        """What the model made of the fixed tokens; None where these rows begin otherwise or it cannot be used."""
        count = len(self._fixed)
        # Where layers are computed again transformers leaves keys and values out, and where they are divided all
        # processes must read alike.
        if not count or self.mllm.model.is_gradient_checkpointing or isinstance(self, FSDPModule):
            return None
        words = torch.tensor(self._fixed, device=sequences.input_ids.device)
        if not bool((sequences.input_ids[:, :count] == words).all()):
            return None
        kind = words.device.type
        key = (words.device, torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind))
        if self._prefix is None or self._prefix[0] != key:
            self._prefix = (key, read_prefix(self.mllm, words))
        return self._prefix[1]


@dataclass(frozen=True, kw_only=True)
class AlignTrainee:
    """Stage `align` for the loop; see `smartedit.training.trainee.Trainee`."""

    pipeline: SmartEditPipeline
    module: nn.Module
    trained: dict[str, nn.Parameter]
    rows: CaptionDataset
    text_encoder: Any
    latents: None = None

    @property
    def added_tokens(self) -> Sequence[int]:
        """Of the pipeline's tokenizer."""
        return added_tokens(self.pipeline.layout)

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
        targets = batch.sequences.targets[:, -logits.shape[1] :]
        expected = encode_text(self.text_encoder.to(text_features.device), batch.clip_ids)
        return {
            "language": language_loss(logits, targets, num_labels),
            "alignment": alignment_loss(text_features, expected),
        }

    def train_mode(self) -> None:
        """Dropout in the QFormer; adapters, where there are any, are frozen."""
        to_train_mode(self.module, self.trained)

    def save(self, folder: Path) -> None:
        """The pipeline with what was trained."""
        self.pipeline.save_pretrained(folder)
