"""What all comparisons of an audit need: options, the manifest's pictures with their fingerprints, and the samples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from PIL import Image

from reason_edit.schema import EditSample
from smartedit.data.duplicates import THRESHOLD
from smartedit.data.embeddings import SIMILARITY
from smartedit.data.fingerprint_cache import PictureTable, Read
from smartedit.data.fingerprints import BITS
from smartedit.data.manifest import Manifest
from smartedit.data.overlaps import Kind, Overlap
from smartedit.data.pictures import PictureStore

INSIDE_THRESHOLD = 26
INSIDE_LOOKS = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditOptions:
    """How an audit compares.

    Attributes:
        threshold: Bits of 128 that may differ between a picture and the benchmark's before the second look.
        inside_threshold: The same inside the manifest; None not to look inside.
        inside_looks: How many pairs inside get a second look, the nearest first; each takes 0.03 to 0.15 seconds.
        image_model: A model of transformers for neighbours by embedding, or None.
        similarity: Cosine from which they count.
        cache: Folder of fingerprints and embeddings; None for the user's cache folder.

    Raises:
        ValueError: A limit lies outside its range.
    """

    threshold: int = THRESHOLD
    inside_threshold: int | None = INSIDE_THRESHOLD
    inside_looks: int = INSIDE_LOOKS
    image_model: str | None = None
    similarity: float = SIMILARITY
    cache: Path | None = None

    def __post_init__(self) -> None:
        for name in ("threshold", "inside_threshold"):
            bits = getattr(self, name)
            if bits is not None and not 0 <= bits <= BITS:
                raise ValueError(f"{name} = {bits}: a number of bits from 0 to {BITS} was expected")
        if not -1 <= self.similarity <= 1:
            raise ValueError(f"similarity = {self.similarity}: a cosine from -1 to 1 was expected")
        if self.inside_looks < 0:
            raise ValueError(f"inside_looks = {self.inside_looks}: a number of pairs was expected")


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditWork:
    """A manifest under audit.

    Attributes:
        manifest: The rows.
        pictures: The pictures that they point to.
        read: Their fingerprints.
        samples: The benchmark's samples; empty where there is none.
        options: How to compare.
    """

    manifest: Manifest
    pictures: PictureTable
    read: Read
    samples: list[EditSample]
    options: AuditOptions
    ids: pa.Table = field(init=False)
    store: PictureStore = field(init=False)

    def __post_init__(self) -> None:
        batches = list(self.manifest.batches(columns=["example_id", "source"]))
        object.__setattr__(self, "ids", pa.Table.from_batches(batches))
        object.__setattr__(self, "store", PictureStore(Path(self.manifest.data_root)))

    def id_of(self, row: int) -> tuple[str, str]:
        """Id and source of a row."""
        return self.ids.column("example_id")[row].as_py(), self.ids.column("source")[row].as_py()

    def rows_of(self, number: int) -> Iterator[tuple[int, str]]:
        """The rows that point to a picture, and in which role."""
        for role, numbers in self.pictures.of_rows.items():
            yield from ((int(row), role) for row in (numbers == number).nonzero()[0])

    def open(self, number: int) -> Image.Image:
        """A picture of the manifest, upright; raises FaultyRecordError."""
        return self.store.open_upright(self.pictures.ref(number)).convert("RGB")

    def name(self, number: int) -> str:
        """A picture's place in words."""
        ref = self.pictures.ref(number)
        inner = ref.member if ref.member is not None else ref.row
        return ref.path if inner is None else f"{ref.path} [{inner}]"

    def overlap(
        self,
        kind: Kind,
        row: int,
        role: str,
        sample: EditSample,
        score: float,
        texts: tuple[str | None, str | None] = (None, None),
    ) -> Overlap:
        """A row and a sample of the benchmark."""
        example_id, source = self.id_of(row)
        return Overlap(
            kind=kind,
            inside=False,
            row=row,
            example_id=example_id,
            source=source,
            role=role,
            other_id=sample.sample_id,
            other_row=None,
            other_source=None,
            other_role="instruction" if role == "instruction" else "image",
            score=score,
            text=texts[0],
            other_text=texts[1],
        )
