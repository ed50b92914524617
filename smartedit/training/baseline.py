"""Fine-tuning of InstructPix2Pix-type editors on the same rows: the baselines of Table 1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from smartedit.config.training import TrainingConfig
from smartedit.data.decoding import DecodingError
from smartedit.data.examples import Task
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture, MixtureError
from smartedit.model.text import encode_text
from smartedit.seeding import torch_generators
from smartedit.training.dataset import signed
from smartedit.training.decoded_rows import DecodedRows
from smartedit.training.losses import Draws, Seen, diffusion_loss, dropped_conditions, noised_latents
from smartedit.training.trainee import Latents

VALIDATION_STEPS = 20
"""Denoising steps of the edits that are shown while it trains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRow:
    """One edit as tensors.

    Attributes:
        example_id: Which row of the manifest.
        input_ids: The instruction for CLIP's text encoder.
        source: The picture before, float32 [3, side, side] in [-1, 1].
        target: The picture after, the same.
        drawn: As in `smartedit.data.decoding.DecodedExample`.
    """

    example_id: str
    input_ids: list[int]
    source: Tensor
    target: Tensor
    drawn: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class PairBatch:
    """What a step reads: `PairRow` with a batch dimension."""

    input_ids: Tensor
    source: Tensor
    target: Tensor

    def to(self, device: torch.device | str) -> "PairBatch":
        """The same on another device."""
        return PairBatch(
            input_ids=self.input_ids.to(device), source=self.source.to(device), target=self.target.to(device)
        )


class PairDataset(Dataset[PairRow]):
    """The edits and segmentations at the positions of an order."""

    def __init__(self, decoded: DecodedRows, tokenizer: Any) -> None:
        """Take rows.

        Args:
            decoded: The rows; all have an instruction.
            tokenizer: CLIP's, of the pipeline.
        """
        self.decoded = decoded
        self.tokenizer = tokenizer

    def __getitem__(self, position: int) -> PairRow:
        """The edit at a position.

        Raises:
            DecodingError: A picture cannot be read.
        """
        example, decoded = self.decoded[position]
        if decoded.instruction is None:
            raise DecodingError(f"{example.example_id}: a row of task {example.task} has no instruction")
        side = self.decoded.rules.side
        return PairRow(
            example_id=example.example_id,
            input_ids=clip_ids(self.tokenizer, decoded.instruction),
            source=signed(decoded.source, side),
            target=signed(decoded.target, side),
            drawn=decoded.drawn,
        )

    def collate(self, rows: Sequence[PairRow]) -> PairBatch:
        """A batch."""
        return PairBatch(
            input_ids=torch.tensor([row.input_ids for row in rows], dtype=torch.long),
            source=torch.stack([row.source for row in rows]),
            target=torch.stack([row.target for row in rows]),
        )


def clip_ids(tokenizer: Any, text: str) -> list[int]:
    """A text as the pipeline itself would give it to CLIP."""
    ids: list[int] = tokenizer(
        text, padding="max_length", max_length=tokenizer.model_max_length, truncation=True
    ).input_ids
    return ids


def pairs_of(manifest: Manifest, mixture: Mixture) -> Mixture:
    """The part of an order that has pictures before and after: the sources without conversations and captions.

    Raises:
        MixtureError: Nothing is left.
    """
    fitting = {Task.EDIT.value, Task.SEGMENT.value}
    kept = [i for i, name in enumerate(mixture.names) if set(manifest.counts[name]) <= fitting]
    if not kept:
        raise MixtureError(f"{manifest.path}: none of {', '.join(mixture.names)} holds edits and nothing else")
    total = sum(mixture.shares[i] for i in kept)
    return Mixture(
        names=tuple(mixture.names[i] for i in kept),
        shares=tuple(mixture.shares[i] / total for i in kept),
        offsets=tuple(mixture.offsets[i] for i in kept),
        sizes=tuple(mixture.sizes[i] for i in kept),
        seed=mixture.seed,
    )


@dataclass(frozen=True, kw_only=True)
class BaselineTrainee:
    """An InstructPix2Pix-type editor for the loop; see `smartedit.training.trainee.Trainee`.

    Its UNet trains; the autoencoder and the text encoder are frozen, and conditions are dropped as for SmartEdit.
    """

    pipeline: StableDiffusionInstructPix2PixPipeline
    scheduler: Any
    module: nn.Module
    trained: dict[str, nn.Parameter]
    rows: PairDataset
    latents: Latents
    training: TrainingConfig
    added_tokens: tuple[int, ...] = ()

    def count_labels(self, batch: PairBatch) -> int:
        """There is no language loss."""
        return 0

    def losses(
        self, module: nn.Module, batch: PairBatch, draws: Draws | None, seen: Seen | None, num_labels: float
    ) -> Mapping[str, Tensor]:
        """The diffusion loss (Eq. 4 with CLIP's text features)."""
        assert draws is not None
        drop_text, drop_image = dropped_conditions(draws.condition, self.training.dropout_rate)
        noised = noised_latents(
            self.pipeline.vae, self.scheduler, batch, draws, seen, drop_image, self.training.change_weight
        )
        text = encode_text(self.pipeline.text_encoder, torch.cat([batch.input_ids, self._empty(batch)]))
        text = torch.where(drop_text[:, None, None], text[-1:], text[:-1])
        sample = torch.cat([noised.noisy, noised.condition], dim=1)
        (prediction,) = module(sample, draws.timesteps, text, return_dict=False)
        return {
            "diffusion": diffusion_loss(prediction, noised.target, torch.ones_like(draws.condition), noised.emphasis)
        }

    def _empty(self, batch: PairBatch) -> Tensor:
        return torch.tensor([clip_ids(self.pipeline.tokenizer, "")], device=batch.input_ids.device)

    def train_mode(self) -> None:
        """The UNet; the rest is frozen."""
        self.module.train()

    def edit(self, image: Image.Image, instruction: str, seed: int) -> Image.Image:
        """Edit a picture with the weights of this moment."""
        self.module.eval()
        self.pipeline.set_progress_bar_config(disable=True)
        edited: Image.Image = self.pipeline(
            instruction, image=image, num_inference_steps=VALIDATION_STEPS, generator=torch_generators([seed])
        ).images[0]
        return edited

    def save(self, folder: Path) -> None:
        """The pipeline with the trained UNet."""
        self.pipeline.save_pretrained(folder)
