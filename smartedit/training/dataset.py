"""A manifest as a map-style data set of tensors, in the order of a mixture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from smartedit.data.decoding import DecodedExample, DecodingError, DecodingRules
from smartedit.data.examples import Task, TrainingExample
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture
from smartedit.model.images import CLIP_MEAN, CLIP_STD, encoder_pixels
from smartedit.model.prompts import OUR_PROMPTS, Prompts
from smartedit.model.sequences import IGNORED, pad, splice
from smartedit.model.tokenizer import TokenLayout
from smartedit.seeding import numpy_generator
from smartedit.training.decoded_rows import DecodedRows
from smartedit.training.losses import EditBatch
from smartedit.training.rows import answer_tokens, edit_tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFormat:
    """How an example becomes tensors.

    Attributes:
        prompts: The words around an instruction.
        max_tokens: Longest edit in tokens, the picture counting as one.
        max_conversation: Longest conversation in tokens.
        encoder_side: Side of the picture for the image encoder, in pixels.
        encoder_mean: By which that picture is normalized.
        encoder_std: By which that picture is normalized.
        num_patches: Patches that take the place of a picture's token.
        released_length: As in `smartedit.model.sequences.splice`.
    """

    prompts: Prompts = OUR_PROMPTS
    max_tokens: int = 256
    max_conversation: int = 2048
    encoder_side: int = 224
    encoder_mean: Sequence[float] = CLIP_MEAN
    encoder_std: Sequence[float] = CLIP_STD
    num_patches: int = 256
    released_length: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRow:
    """One example as tensors.

    Attributes:
        example_id: Which row of the manifest.
        input_ids: Request and answer; the picture is one token long.
        targets: The same with `IGNORED` where nothing is to be learned.
        pixel_values: The picture for the image encoder, float32 [3, encoder_side, encoder_side], normalized.
        source: The picture before, float32 [3, side, side] in [-1, 1]; zeros for answers.
        target: The picture after, the same.
        is_edit: Whether the pictures count in the diffusion loss.
        drawn: As in `smartedit.data.decoding.DecodedExample`; `seen` is the picture for the image encoder.
    """

    example_id: str
    input_ids: list[int]
    targets: list[int]
    pixel_values: Tensor
    source: Tensor
    target: Tensor
    is_edit: bool
    drawn: frozenset[str] = frozenset()


class ManifestDataset(Dataset[TrainingRow]):
    """The rows of a manifest in the endless order of a mixture.

    A position is a visit: which row stands there, and which instruction, colour, crop and phrasing are drawn, follows
    from the position and the row's id, whatever the worker, the batch size, or the run before. It can be sent to
    workers by fork and by pickling; each opens its own files.
    """

    def __init__(
        self,
        manifest: Manifest,
        mixture: Mixture,
        *,
        tokenizer: Any,
        layout: TokenLayout,
        length: int,
        rows: RowFormat | None = None,
        rules: DecodingRules | None = None,
    ) -> None:
        """Prepare a data set.

        Args:
            manifest: The rows.
            mixture: Their order.
            tokenizer: A tokenizer with the [IMG] tokens.
            layout: Where they are.
            length: Number of positions: steps times batch size.
            rows: How an example becomes tensors.
            rules: How pictures are decoded.

        Raises:
            DecodingError: The mixture draws rows without a picture, such as captions.
        """
        _need_pictures(manifest, mixture)
        self.decoded = DecodedRows(manifest, mixture, rules or DecodingRules())
        self.tokenizer = tokenizer
        self.layout = layout
        self.length = length
        self.rows = rows or RowFormat()

    @property
    def manifest(self) -> Manifest:
        """The rows."""
        return self.decoded.manifest

    @property
    def rules(self) -> DecodingRules:
        """How pictures are decoded."""
        return self.decoded.rules

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: int) -> TrainingRow:
        """The example at a position.

        Raises:
            IndexError: The position is beyond the length.
            DecodingError: A picture cannot be read, or a conversation cannot be used.
        """
        if not 0 <= position < self.length:
            raise IndexError(f"there is no position {position} among {self.length}")
        example, decoded = self.decoded[position]
        phrasing = numpy_generator("phrasing", example.example_id, position)
        return self.assemble(example, decoded, int(phrasing.integers(len(self.rows.prompts.phrasings))))

    def assemble(self, example: TrainingExample, decoded: DecodedExample, phrasing: int) -> TrainingRow:
        """Tensors of an example that is decoded already.

        Args:
            example: The row.
            decoded: Its pictures and its request.
            phrasing: Which of the prompts' phrasings.
        """
        form, side = self.rows, self.decoded.rules.side
        if decoded.instruction is None:
            tokens = answer_tokens(self.tokenizer, self.layout, form.prompts, example, max_tokens=form.max_conversation)
        else:
            tokens = edit_tokens(
                self.tokenizer,
                self.layout,
                form.prompts,
                decoded.instruction,
                phrasing=phrasing,
                max_tokens=form.max_tokens,
            )
        seen = encoder_pixels([decoded.seen], form.encoder_side, mean=form.encoder_mean, std=form.encoder_std)[0]
        return TrainingRow(
            example_id=example.example_id,
            input_ids=tokens.input_ids,
            targets=tokens.targets,
            pixel_values=seen,
            source=signed(decoded.source, side),
            target=signed(decoded.target, side),
            is_edit=tokens.is_edit,
            drawn=decoded.drawn,
        )

    def collate(self, rows: Sequence[TrainingRow]) -> EditBatch:
        """A batch for the training step; `torch.utils.data.DataLoader(dataset, collate_fn=dataset.collate)`."""
        sequences = splice(
            pad([row.input_ids for row in rows], self.layout.pad),
            img_tokens=self.layout.img_tokens,
            pad_id=self.layout.pad,
            num_patches=self.rows.num_patches,
            targets=pad([row.targets for row in rows], IGNORED),
            released_length=self.rows.released_length,
        )
        return EditBatch(
            sequences=sequences,
            pixel_values=torch.stack([row.pixel_values for row in rows]),
            source=torch.stack([row.source for row in rows]),
            target=torch.stack([row.target for row in rows]),
            is_edit=torch.tensor([float(row.is_edit) for row in rows]),
        )


def signed(pixels: Any, side: int) -> Tensor:
    """uint8 [side, side, 3] as float32 [3, side, side] in [-1, 1]; zeros where there is no picture."""
    if pixels is None:
        return torch.zeros(3, side, side)
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255 * 2 - 1


def _need_pictures(manifest: Manifest, mixture: Mixture) -> None:
    """Refuse a mixture that draws rows without pictures, before training starts."""
    for name in mixture.names:
        tasks = manifest.counts[name]
        missing = tasks.get(Task.CAPTION.value, 0)
        if tasks.get(Task.ANSWER.value):
            missing += sum(batch.column("image").null_count for batch in manifest.batches(name, columns=["image"]))
        if missing:
            raise DecodingError(
                f"{manifest.path}: {missing} rows of source {name!r} have no picture; leave the source out of the "
                "mixture, or build the manifest without these rows"
            )
