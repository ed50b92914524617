"""Stages `joint` and `full`: the language model and the denoiser learn to edit together (Eq. 2 and 4)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor, nn

from smartedit.config.training import TrainingConfig
from smartedit.inference.output import SmartEditPipelineOutput
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.seeding import torch_generators
from smartedit.training.dataset import ManifestDataset
from smartedit.training.losses import Draws, EditBatch, Seen, count_labels, edit_losses, img_token_targets
from smartedit.training.stages import added_tokens, to_train_mode
from smartedit.training.trainee import Latents


@dataclass(frozen=True, kw_only=True)
class EditTrainee:
    """Stage `joint` or `full` for the loop; see `smartedit.training.trainee.Trainee`.

    Attributes:
        pipeline: What is trained, as it will be saved.
        scheduler: The noise schedule of training.
        module: The pipeline's parts as one module.
        trained: The trained parameters.
        rows: Edits, segmentations and conversations.
        latents: For the draws.
        training: Settings.
    """

    pipeline: SmartEditPipeline
    scheduler: Any
    module: nn.Module
    trained: dict[str, nn.Parameter]
    rows: ManifestDataset
    latents: Latents
    training: TrainingConfig

    @property
    def added_tokens(self) -> Sequence[int]:
        """Of the pipeline's tokenizer."""
        return added_tokens(self.pipeline.layout)

    def count_labels(self, batch: EditBatch) -> int:
        """Labelled tokens."""
        sequences = batch.sequences
        assert sequences.targets is not None
        return int(count_labels(img_token_targets(sequences) if self.training.img_tokens_only else sequences.targets))

    def losses(
        self, module: nn.Module, batch: EditBatch, draws: Draws | None, seen: Seen | None, num_labels: float
    ) -> Mapping[str, Tensor]:
        """Both losses; conversations add to the language loss only."""
        assert draws is not None
        losses = edit_losses(
            module,  # type: ignore[arg-type]  # SmartEdit, or a wrapper with the same call
            self.pipeline.vae,
            self.scheduler,
            batch,
            draws,
            seen=seen,
            img_tokens_only=self.training.img_tokens_only,
            dropout_rate=self.training.dropout_rate,
            num_labels=num_labels,
            needed_only=True,
            length_groups=self.training.length_groups,
            change_weight=self.training.change_weight,
        )
        return {"language": losses.language, "diffusion": losses.diffusion}

    def train_mode(self) -> None:
        """Dropout in LoRA and the QFormer."""
        to_train_mode(self.module, self.trained)

    def edit(self, image: Image.Image, instruction: str, seed: int) -> Image.Image:
        """Edit a picture with the weights of this moment."""
        self.module.eval()
        self.pipeline.readings.clear()
        self.pipeline.set_progress_bar_config(disable=True)
        output = self.pipeline(image, instruction, generator=torch_generators([seed]))
        assert isinstance(output, SmartEditPipelineOutput)
        edited = output.images[0]
        assert isinstance(edited, Image.Image)
        return edited

    def save(self, folder: Path) -> None:
        """The pipeline with what was trained."""
        self.pipeline.save_pretrained(folder)
