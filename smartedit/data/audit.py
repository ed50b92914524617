"""The audit of a manifest: which rows share pictures or instructions with a benchmark, and what occurs twice inside."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from reason_edit.embedded import cache_folder
from reason_edit.loading import load_reason_edit, read_image
from reason_edit.schema import EditSample
from smartedit.data.agreement import AGREEMENT, best_agreement
from smartedit.data.audit_texts import Repeated, find_repeated, find_shared, find_texts
from smartedit.data.duplicates import THRESHOLD, Pairs, find_exact, find_near, find_near_inside, same_groups
from smartedit.data.embeddings import SIMILARITY, ImageEmbedder, embed_all
from smartedit.data.fingerprint_cache import PictureTable, Progress, Read, find_pictures_of, read_fingerprints
from smartedit.data.fingerprints import fingerprint, views
from smartedit.data.manifest import Manifest
from smartedit.data.pictures import PictureStore

if TYPE_CHECKING:
    from PIL import Image

INSIDE_THRESHOLD = 12
TOP_TEXTS = 20


class Kind(StrEnum):
    """In what two things are alike."""

    EXACT = "exact"
    NEAR = "near"
    ALIKE = "alike"
    SUSPECTED = "suspected"
    SAME_TEXT = "same_text"
    SIMILAR_TEXT = "similar_text"


LEAKS = (Kind.EXACT, Kind.NEAR, Kind.ALIKE)
"""Kinds that put a picture of the benchmark into the training data."""
TEXTS = (Kind.SAME_TEXT, Kind.SIMILAR_TEXT)
"""Kinds that are about words; short instructions are alike by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """One row of the manifest and what it is like.

    Attributes:
        kind: In what they are alike. `suspected` pairs have near hashes but do not agree when laid over each other.
        inside: Whether the other is a row of the manifest, too, and not a sample of the benchmark.
        row: Row number in the manifest.
        example_id: The row.
        source: The row's source.
        role: `image`, `target` or `instruction`.
        other_id: The sample of the benchmark, or the other row.
        other_row: The other row's number; None for the benchmark.
        other_source: The other row's source; None for the benchmark.
        other_role: As `role`.
        score: 0 to 128 differing bits for inside pairs; correlation for near and suspected; cosine for alike; share of
            three-word sequences for texts; 1 for exact.
        text: The row's instruction, where texts are alike.
        other_text: The other's.
    """

    kind: Kind
    inside: bool
    row: int
    example_id: str
    source: str
    role: str
    other_id: str
    other_row: int | None
    other_source: str | None
    other_role: str
    score: float
    text: str | None = None
    other_text: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditOptions:
    """How an audit compares.

    Attributes:
        threshold: Bits of 128 that may differ between a picture and the benchmark's before the second look.
        inside_threshold: The same inside the manifest, where there is no second look; None not to look inside.
        image_model: A model of transformers for neighbours by embedding, or None.
        similarity: Cosine from which they count.
        cache: Folder of fingerprints and embeddings; None for the user's cache folder.
    """

    threshold: int = THRESHOLD
    inside_threshold: int | None = INSIDE_THRESHOLD
    image_model: str | None = None
    similarity: float = SIMILARITY
    cache: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        overlaps: Everything against the benchmark, a row each; inside, a pair of pictures each.
        rows: Rows of the manifest.
        pictures: Different places that its rows point to.
        faults: Pictures that could not be compared, with the reason.
        plain: Pictures of one shade, which were compared exactly only.
        samples: Samples of the benchmark.
        repeated: How many instructions are said by several rows.
        most_repeated: The most frequent of them.
        cut_short: Look-ups inside that were left out because too many pictures look alike.
        image_model: The model that looked for neighbours; None where none did.
    """

    overlaps: list[Overlap]
    rows: int
    pictures: int
    faults: dict[str, str]
    plain: int
    samples: int
    repeated: int
    most_repeated: list[Repeated]
    cut_short: int
    image_model: str | None

    def leaking_rows(self, kinds: Iterable[Kind] = LEAKS) -> set[int]:
        """The rows that are like the benchmark in one of these ways."""
        chosen = set(kinds)
        return {overlap.row for overlap in self.overlaps if not overlap.inside and overlap.kind in chosen}

    def count(self, kind: Kind, *, inside: bool) -> int:
        """How many overlaps of a kind there are."""
        return sum(overlap.kind is kind and overlap.inside is inside for overlap in self.overlaps)


def silent(name: str, done: int, total: int | None) -> None:
    """Report no progress."""


def audit_manifest(
    manifest: Manifest, benchmark: Path | None, options: AuditOptions | None = None, *, progress: Progress = silent
) -> Audit:
    """Compare a manifest with a benchmark and with itself.

    Args:
        manifest: The rows.
        benchmark: Reason-Edit in any form, or None to look inside only.
        options: How to compare.
        progress: Told how far it is.

    Raises:
        DatasetError: The benchmark cannot be read.
    """
    options = options or AuditOptions()
    samples = load_reason_edit(benchmark) if benchmark is not None else []
    pictures = find_pictures_of(manifest)
    cache = options.cache or cache_folder() / "fingerprints"
    read = read_fingerprints(pictures, Path(manifest.data_root), cache, progress)
    work = _Work(manifest=manifest, pictures=pictures, read=read, samples=samples, options=options)
    overlaps = list(_against(work, cache, progress)) if samples else []
    cut_short = 0
    if options.inside_threshold is not None:
        inside, cut_short = _inside(work, options.inside_threshold)
        overlaps += inside
    texts = find_texts(manifest)
    repeated, most_repeated = find_repeated(texts, TOP_TEXTS)
    for match in find_shared(texts, [sample.instruction for sample in samples]):
        kind = Kind.SAME_TEXT if match.similarity == 1.0 else Kind.SIMILAR_TEXT
        text = texts.unique[match.text].as_py()
        for row in np.unique(texts.rows[texts.texts == match.text]).tolist():
            said = (text, samples[match.other].instruction)
            overlaps.append(work.overlap(kind, row, "instruction", samples[match.other], match.similarity, said))
    is_plain = read.prints.is_read & ~read.prints.is_usable
    faults = {work.name(number): fault for number, fault in read.faults.items()}
    return Audit(
        overlaps=overlaps,
        rows=len(manifest),
        pictures=len(pictures.refs),
        faults=faults,
        plain=int(is_plain.sum()),
        samples=len(samples),
        repeated=repeated,
        most_repeated=most_repeated,
        cut_short=cut_short,
        image_model=options.image_model,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Work:
    """What all comparisons need."""

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
            yield from ((int(row), role) for row in np.flatnonzero(numbers == number))

    def open(self, number: int) -> "Image.Image":
        """A picture of the manifest."""
        return self.store.open(self.pictures.ref(number)).convert("RGB")

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


def _against(work: _Work, cache: Path, progress: Progress) -> Iterator[Overlap]:
    """The rows whose pictures are those of the benchmark."""
    opened = [read_image(sample.image) for sample in work.samples]
    prints = work.read.prints
    exact = find_exact([fingerprint(picture).pixels for picture in opened], prints)
    same = set(zip(exact.first.tolist(), exact.second.tolist(), strict=True))
    pairs = find_near([views(picture) for picture in opened], prints, work.options.threshold)
    near = _second_look(work, opened, pairs, same)
    found = [(Kind.EXACT, a, b, 1.0) for a, b in sorted(same)] + near
    if work.options.image_model is not None:
        known = same | {(a, b) for kind, a, b, _ in near if kind is Kind.NEAR}
        found += _alike(work, opened, known, work.options.image_model, cache, progress)
    for kind, sample, picture, score in found:
        for row, role in work.rows_of(picture):
            yield work.overlap(kind, row, role, work.samples[sample], score)


def _second_look(
    work: _Work, opened: "Sequence[Image.Image]", pairs: Pairs, same: set[tuple[int, int]]
) -> list[tuple[Kind, int, int, float]]:
    """Lay pictures with near hashes over each other."""
    found = []
    for sample, picture in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        if (sample, picture) in same:
            continue
        other = work.open(picture)
        score = best_agreement(opened[sample], other)
        found.append((Kind.NEAR if score >= AGREEMENT else Kind.SUSPECTED, sample, picture, score))
    return found


def _alike(
    work: _Work,
    opened: "Sequence[Image.Image]",
    known: set[tuple[int, int]],
    model: str,
    cache: Path,
    progress: Progress,
) -> list[tuple[Kind, int, int, float]]:
    """The pictures whose embeddings lie near to those of the benchmark."""
    embedder = ImageEmbedder(model)
    asked = embedder.embed(opened)
    numbers = np.flatnonzero(work.read.prints.is_read)
    digests = [work.read.prints.pixels[i].tobytes() for i in numbers]
    found = []
    for start, vectors in embed_all(embedder, digests, lambda i: work.open(int(numbers[i])), cache, progress):
        cosines = asked @ vectors.T
        for sample, place in np.argwhere(cosines >= work.options.similarity).tolist():
            picture = int(numbers[start + place])
            if (sample, picture) not in known:
                found.append((Kind.ALIKE, sample, picture, float(cosines[sample, place])))
    return found


def _inside(work: _Work, threshold: int) -> tuple[list[Overlap], int]:
    """Pairs of pictures that lie in two places of the manifest; source and target of one row may be alike."""
    prints = work.read.prints
    groups = same_groups(prints)
    numbers = np.arange(len(groups))
    copies = numbers[groups != numbers]
    exact = Pairs(first=groups[copies], second=copies, distance=np.zeros(len(copies), dtype=np.int64))
    near = find_near_inside(prints, np.unique(groups[prints.is_read]), threshold)
    first_row: dict[int, tuple[int, str]] = {}
    for role in ("target", "image"):
        rows = work.pictures.of_rows[role]
        shown, places = np.unique(rows, return_index=True)
        first_row |= {int(n): (int(row), role) for n, row in zip(shown, places, strict=True) if n >= 0}
    image, target = work.pictures.of_rows["image"], work.pictures.of_rows["target"]
    pairs_of_rows = np.stack([image, target], axis=1)
    both = groups[pairs_of_rows[(pairs_of_rows >= 0).all(axis=1)]]
    of_one_row = {tuple(sorted(pair)) for pair in both.tolist()}
    found = []
    for kind, pairs in ((Kind.EXACT, exact), (Kind.NEAR, near.pairs)):
        for a, b, distance in _triples(pairs):
            if kind is Kind.NEAR and tuple(sorted((int(groups[a]), int(groups[b])))) in of_one_row:
                continue
            (row, role), (other, other_role) = first_row[a], first_row[b]
            (example_id, source), (other_id, other_source) = work.id_of(row), work.id_of(other)
            found.append(
                Overlap(
                    kind=kind,
                    inside=True,
                    row=row,
                    example_id=example_id,
                    source=source,
                    role=role,
                    other_id=other_id,
                    other_row=other,
                    other_source=other_source,
                    other_role=other_role,
                    score=float(distance),
                )
            )
    return found, near.cut_short


def _triples(pairs: Pairs) -> Iterator[tuple[int, int, int]]:
    columns: Any = (pairs.first.tolist(), pairs.second.tolist(), pairs.distance.tolist())
    yield from zip(*columns, strict=True)
