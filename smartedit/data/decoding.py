"""Rows of a manifest as pictures for training: what is seen, what is edited, and what should come out.

Sizes, resampling filters and the overlay of segmentation are the authors' (released loaders); where their way is a
mistake it is a named option.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.data.examples import ImageRef, MaskRle, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.manifest import Manifest
from smartedit.data.masks import decode_mask
from smartedit.data.pictures import PictureStore, upright_size
from smartedit.data.segmentation import DEFAULT_RULES, Painting, PaintingRules, choose_painting, paint
from smartedit.seeding import numpy_generator

UNLABELED = 255
FILTERS: dict[str, Image.Resampling] = {
    "grefcoco": Image.Resampling.LANCZOS,
    "cocostuff": Image.Resampling.LANCZOS,
}
"""How the released loaders bring the pictures of a kind of source to size, where it is not bicubic."""

DRAWN_UPRIGHT = frozenset({"reasonseg"})
"""Kinds of source whose masks are drawn on the picture as its EXIF note turns it, and not as it is stored."""


class DecodingError(ValueError):
    """A row cannot be decoded; the message names the row, the file, and what would help."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodingRules:
    """How rows become pictures.

    Attributes:
        side: Side of the square pictures for the autoencoder, in pixels; 256 in the paper.
        view: Of a picture that is cropped (COCO-Stuff), what the image encoder sees: the same crop, or the whole
            picture as in the released code, whose features then do not lie where the latents do.
        painting: How requests to paint are drawn.
    """

    side: int = 256
    view: Literal["crop", "full"] = "crop"
    painting: PaintingRules = DEFAULT_RULES


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """What is drawn when a row is visited; None is drawn from the row's id and the number.

    Attributes:
        number: Number of the visit, so that another one draws anew.
        instruction: The request.
        painting: What to paint.
        corner: Left and top of the square that is cut out of a picture with a label map, in pixels.
    """

    number: int = 0
    instruction: str | None = None
    painting: Painting | None = None
    corner: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedExample:
    """A row's pictures and its request.

    Attributes:
        instruction: What the person asks for; None for answers.
        seen: The picture for the image encoder, RGB, at its own size.
        source: side x side x 3, uint8: the picture before; None for answers.
        target: side x side x 3, uint8: the picture after; None for answers.
        painting: What was painted, where the target is painted.
        drawn: Those of `seen`, `source` and `target` that another visit makes differently: crops, and painted targets.
    """

    instruction: str | None
    seen: Image.Image
    source: NDArray[np.uint8] | None = None
    target: NDArray[np.uint8] | None = None
    painting: Painting | None = None
    drawn: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoder:
    """Decodes rows of one manifest. Not to be shared between threads or processes.

    Attributes:
        store: Opens the pictures.
        kinds: Kind of data set by name of source.
        label_names: Names of all label values, for sources with label maps.
        rules: How.
    """

    store: PictureStore
    kinds: Mapping[str, str]
    label_names: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    rules: DecodingRules = field(default_factory=DecodingRules)

    @classmethod
    def of(cls, manifest: Manifest, rules: DecodingRules | None = None) -> "Decoder":
        """A decoder for a manifest's rows."""
        return cls(
            store=PictureStore(Path(manifest.data_root)),
            kinds={name: config["kind"] for name, config in manifest.value("config").items()},
            label_names=manifest.label_names,
            rules=rules or DecodingRules(),
        )

    def decode(self, example: TrainingExample, visit: Visit | None = None) -> DecodedExample:
        """The pictures of a row.

        Args:
            example: A row of task `edit`, `segment` or `answer` with a picture.
            visit: What to draw, and what is drawn already.

        Raises:
            DecodingError: The row has no picture, or one cannot be read.
        """
        visit = visit or Visit()
        try:
            if example.image is None:
                raise DecodingError(f"{example.example_id}: a row of task {example.task} without a picture")
            if example.task is Task.EDIT:
                return self._edit(example, example.image, visit)
            if example.task is Task.SEGMENT and example.mask_rle is not None:
                return self._segment(example, example.image, example.mask_rle, visit)
            if example.task is Task.SEGMENT and example.mask_image is not None:
                return self._label_map(example, example.image, example.mask_image, visit)
            return DecodedExample(instruction=None, seen=rgb(self.store.open_upright(example.image)))
        except FaultyRecordError as error:
            raise DecodingError(
                f"{example.example_id}: {error}; are the data sets still below {self.store.data_root}? "
                "check_pictures = true in the sources' configuration leaves out rows like this"
            ) from error

    def _edit(self, example: TrainingExample, image: ImageRef, visit: Visit) -> DecodedExample:
        if example.target is None:
            raise DecodingError(f"{example.example_id}: an edit without a target picture")
        source, target = rgb(self.store.open_upright(image)), rgb(self.store.open_upright(example.target))
        generator = numpy_generator("instruction", example.example_id, visit.number)
        drawn = example.instructions[int(generator.integers(len(example.instructions)))]
        return DecodedExample(
            instruction=visit.instruction or drawn,
            seen=source,
            source=self._sized(source, example.source),
            target=self._sized(target, example.source),
        )

    def _segment(self, example: TrainingExample, image: ImageRef, rle: MaskRle, visit: Visit) -> DecodedExample:
        stored = self.store.open(image)
        mask = Image.fromarray(decode_mask(rle))
        drawn_upright = self.kinds.get(example.source) in DRAWN_UPRIGHT and mask.size == upright_size(stored)
        if drawn_upright or mask.size != stored.size:
            stored = self.store.turned(stored, image)
        picture = rgb(stored)
        painting = visit.painting or choose_painting(example, visit=visit.number, rules=self.rules.painting)
        return self._painted(example, picture, picture, mask, painting, frozenset({"target"}))

    def _label_map(self, example: TrainingExample, image: ImageRef, labels: ImageRef, visit: Visit) -> DecodedExample:
        """The request asks for a class in the part that is cut out: a square of the short side, anywhere."""
        picture, values = rgb(self.store.open(image)), self.store.open(labels)
        side = min(picture.size)
        left, top = visit.corner or _corner(example.example_id, visit.number, picture.size, side)
        box = (left, top, left + side, top + side)
        cut, shown = picture.crop(box), np.asarray(values.crop(box))
        present = [value for value in np.unique(shown).tolist() if value != UNLABELED]
        painting = visit.painting or choose_painting(
            example,
            visit=visit.number,
            rules=self.rules.painting,
            present=present,
            label_names=self.label_names.get(example.source),
        )
        mask = Image.fromarray(shown == (-1 if painting.label_id is None else painting.label_id))
        if self.rules.view == "crop":
            return self._painted(example, cut, cut, mask, painting, frozenset({"seen", "source", "target"}))
        return self._painted(example, picture, cut, mask, painting, frozenset({"source", "target"}))

    def _painted(
        self,
        example: TrainingExample,
        seen: Image.Image,
        picture: Image.Image,
        mask: Image.Image,
        painting: Painting,
        drawn: frozenset[str],
    ) -> DecodedExample:
        source = self._sized(picture, example.source)
        size = (self.rules.side, self.rules.side)
        region = np.asarray(mask.resize(size, Image.Resampling.NEAREST), dtype=bool)
        return DecodedExample(
            instruction=painting.instruction,
            seen=seen,
            source=source,
            target=paint(source, region, painting.color),
            painting=painting,
            drawn=drawn,
        )

    def _sized(self, picture: Image.Image, source: str) -> NDArray[np.uint8]:
        resampling = FILTERS.get(self.kinds.get(source, ""), Image.Resampling.BICUBIC)
        return np.asarray(picture.resize((self.rules.side, self.rules.side), resampling))


def rgb(picture: Image.Image) -> Image.Image:
    """A picture as RGB."""
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _corner(example_id: str, number: int, size: tuple[int, int], side: int) -> tuple[int, int]:
    generator = numpy_generator("crop", example_id, number)
    return int(generator.integers(size[0] - side + 1)), int(generator.integers(size[1] - side + 1))
