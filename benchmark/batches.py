"""A batch of edits measured: pictures in threads, networks over whole batches, each source once for all methods."""

import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from PIL import Image

from benchmark.metrics.background import FilledSource, compare, fill_edited, fill_source
from benchmark.metrics.clip_models import ClipModel, clip_scores
from benchmark.metrics.foreground import crop_refusal, foreground_crop
from benchmark.metrics.lpips_distance import SMALLEST_SIDE, SqueezeLpips
from benchmark.metrics.pictures import Float32, PictureError, PictureFile, edited_frame, source_frame
from benchmark.metrics.registration import register
from benchmark.networks import Networks, Unavailable
from benchmark.protocols import METRICS, Protocol

if TYPE_CHECKING:
    import torch

LPIPS_PIXELS = 16 * 256 * 256
"""Pixels that go through LPIPS at once, so that memory does not grow with the pictures' size."""

IDENTICAL = "the background is identical to the source's"
NO_BACKGROUND = "the mask covers the whole picture, so there is no background"


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A metric's value, and why it is NaN or infinite where it is."""

    value: float
    reason: str | None = None


def unmeasured(reason: str) -> Value:
    """NaN, and why."""
    return Value(value=math.nan, reason=reason)


Values = dict[str, Value]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFiles:
    """A sample's picture and mask, and the text that its foreground should match."""

    image: PictureFile
    mask: PictureFile
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureSide:
    """What the threads make of one edit: the metrics that need no network, and what the networks get."""

    values: Values
    filled: Float32
    crop: Image.Image | None


@dataclass(slots=True)
class SourceBatch:
    """The source side of a batch, made when the first method needs it.

    Attributes:
        files: The files of each sample, or why they cannot be read.
        sides: Each sample's decoded source, on its way from a thread.
        features: LPIPS features by sample, where they are made.
    """

    files: list[SourceFiles | str]
    sides: "list[Future[FilledSource | str]] | None" = None
    features: "dict[int, list[torch.Tensor]]" = field(default_factory=dict)


@dataclass(slots=True)
class EditBatch:
    """One method's edits of a batch, on their way from the threads; a text says why there is no picture."""

    source: SourceBatch
    sides: "list[Future[PictureSide | str] | str]"


class BatchScorer:
    """Measures batches of edits under one protocol."""

    def __init__(self, protocol: Protocol, networks: Networks, pool: ThreadPoolExecutor) -> None:
        """Hold the parts; networks are loaded when the first batch needs them.

        Args:
            protocol: How to score.
            networks: Its two networks, or why they cannot be had.
            pool: Threads for decoding and for the metrics that need no network.
        """
        self.protocol = protocol
        self.networks = networks
        self.pool = pool
        self._labels: dict[str, torch.Tensor] = {}

    @cached_property
    def clip(self) -> ClipModel | Unavailable:
        """The CLIP, loaded once."""
        return self.networks.clip if isinstance(self.networks.clip, Unavailable) else self.networks.clip.load()

    @cached_property
    def lpips(self) -> SqueezeLpips | Unavailable:
        """The LPIPS network, loaded once."""
        return self.networks.lpips if isinstance(self.networks.lpips, Unavailable) else self.networks.lpips.load()

    def start(self, source: SourceBatch, edits: Sequence[PictureFile | str]) -> EditBatch:
        """Send a batch's pictures to the threads.

        Args:
            source: The source side; decoded on the first call with it.
            edits: Each sample's edited picture, or why there is none.

        Returns:
            What `finish` takes.
        """
        if source.sides is None:
            source.sides = [self.pool.submit(self._source_side, files) for files in source.files]
        # A thread may wait for a source: it was queued before, so it is done or has a thread of its own.
        sides: list[Future[PictureSide | str] | str] = [
            edit if isinstance(edit, str) else self.pool.submit(self._picture_side, side, files, edit)
            for side, files, edit in zip(source.sides, source.files, edits, strict=True)
        ]
        return EditBatch(source=source, sides=sides)

    def finish(self, batch: EditBatch) -> list[Values]:
        """The values of every metric for every sample of a batch, in order."""
        sides = [side if isinstance(side, str) else side.result() for side in batch.sides]
        there = {i: side for i, side in enumerate(sides) if not isinstance(side, str)}
        lpips = self._lpips_values(batch.source, there)
        clip = self._clip_values(batch.source, there)
        values: list[Values] = []
        for i, side in enumerate(sides):
            if isinstance(side, str):
                values.append({name: unmeasured(side) for name in METRICS})
            else:
                measured = {**side.values, "background_lpips": lpips[i], "clip_score": clip[i]}
                values.append({name: measured[name] for name in METRICS})
        return values

    def _source_side(self, files: SourceFiles | str) -> FilledSource | str:
        if isinstance(files, str):
            return files
        try:
            return fill_source(source_frame(files.image, files.mask, self.protocol), self.protocol)
        except PictureError as error:
            return f"no source to compare with: {error}"

    def _picture_side(
        self, waiting: "Future[FilledSource | str]", files: SourceFiles | str, edit: PictureFile
    ) -> PictureSide | str:
        source = waiting.result()
        if isinstance(source, str) or isinstance(files, str):
            return str(source)
        try:
            edited = edited_frame(edit, source.frame.size, self.protocol)
        except PictureError as error:
            return f"no edited picture: {error}"
        filled = fill_edited(source, edited, self.protocol)
        scores = compare(source, filled, self.protocol)
        registration = register(source.frame, edited, scores.psnr, self.protocol)
        values = {
            "background_psnr": scores.psnr,
            "background_ssim": scores.ssim,
            "background_mse": scores.mse,
            "background_psnr_registered": registration.psnr,
            "registration_dx": registration.dx,
            "registration_dy": registration.dy,
            "registration_scale": registration.scale,
        }
        empty = not source.frame.weights.any()
        reason = NO_BACKGROUND if empty else IDENTICAL
        crop = (
            None if crop_refusal(source.frame, self.protocol) else foreground_crop(source.frame, edited, self.protocol)
        )
        return PictureSide(
            values={k: Value(value=v, reason=None if math.isfinite(v) else reason) for k, v in values.items()},
            filled=filled,
            crop=crop,
        )

    def _lpips_values(self, source: SourceBatch, sides: dict[int, PictureSide]) -> dict[int, Value]:
        if isinstance(self.lpips, Unavailable):
            return dict.fromkeys(sides, unmeasured(self.lpips.reason))
        values: dict[int, Value] = {}
        measured: dict[tuple[int, int], list[int]] = {}
        sources = _results(source)
        for i in sides:
            size = sources[i].frame.size
            if min(size) < SMALLEST_SIDE:
                values[i] = unmeasured(
                    f"LPIPS needs pictures of {SMALLEST_SIDE} px or more; this is {size[0]}x{size[1]}"
                )
            elif self.protocol.average == "background" and not sources[i].frame.weights.any():
                values[i] = unmeasured(NO_BACKGROUND)
            else:
                measured.setdefault(size, []).append(i)
        for members in (part for size, group in measured.items() for part in _parts(group, size)):
            distances = self._distances(source, sources, sides, members)
            values |= {i: Value(value=d) for i, d in zip(members, distances, strict=True)}
        return values

    def _distances(
        self, source: SourceBatch, sources: dict[int, FilledSource], sides: dict[int, PictureSide], members: list[int]
    ) -> list[float]:
        import torch

        assert not isinstance(self.lpips, Unavailable)
        size = sources[members[0]].frame.size
        if members[0] not in source.features:
            same = [i for i, s in sources.items() if s.frame.size == size]
            for part in _parts(same, size):
                layers = self.lpips.features([sources[i].pixels for i in part])
                source.features |= {i: [layer[n] for layer in layers] for n, i in enumerate(part)}
        reference = [torch.stack(layer) for layer in zip(*(source.features[i] for i in members), strict=True)]
        edited = self.lpips.features([sides[i].filled for i in members])
        weights = [sources[i].frame.weights for i in members] if self.protocol.average == "background" else None
        return self.lpips.distances(reference, edited, weights)

    def _clip_values(self, source: SourceBatch, sides: dict[int, PictureSide]) -> dict[int, Value]:
        values: dict[int, Value] = {}
        crops: dict[int, Image.Image] = {}
        labels: dict[int, str] = {}
        for i, side in sides.items():
            files = source.files[i]
            assert not isinstance(files, str)
            if isinstance(self.clip, Unavailable):
                values[i] = unmeasured(self.clip.reason)
            elif not files.label.strip():
                values[i] = unmeasured("the sample has no target label (nothing stands behind 'CLIP:')")
            elif side.crop is None:
                frame = _results(source)[i].frame
                values[i] = unmeasured(crop_refusal(frame, self.protocol) or "")
            else:
                crops[i], labels[i] = side.crop, files.label
        if crops and not isinstance(self.clip, Unavailable):
            import torch

            features = self.clip.crop_features(list(crops.values()))
            targets = torch.stack([self._label(self.clip, label) for label in labels.values()])
            values |= {i: Value(value=v) for i, v in zip(crops, clip_scores(features, targets), strict=True)}
        return values

    def _label(self, clip: ClipModel, label: str) -> "torch.Tensor":
        if label not in self._labels:
            self._labels[label] = clip.label_feature(label, self.protocol.keep_caption_end)
        return self._labels[label]


def _results(source: SourceBatch) -> dict[int, FilledSource]:
    """The decoded sources by their place in the batch."""
    done = {i: side.result() for i, side in enumerate(source.sides or [])}
    return {i: side for i, side in done.items() if not isinstance(side, str)}


def _parts(members: list[int], size: tuple[int, int]) -> list[list[int]]:
    """Members of one size in parts that keep within `LPIPS_PIXELS`."""
    step = max(1, LPIPS_PIXELS // (size[0] * size[1]))
    return [members[i : i + step] for i in range(0, len(members), step)]
