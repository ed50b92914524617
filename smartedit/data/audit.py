"""The audit of a manifest: which rows share pictures or instructions with a benchmark, and what occurs twice inside."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from reason_edit.embedded import cache_folder
from reason_edit.loading import load_reason_edit, read_image
from smartedit.data.agreement import AGREEMENT, best_agreement
from smartedit.data.audit_inside import Inside, find_inside
from smartedit.data.audit_texts import Repeated, find_repeated, find_shared, find_texts
from smartedit.data.audit_work import AuditOptions, AuditWork
from smartedit.data.duplicates import Pairs, find_exact, find_near
from smartedit.data.embeddings import ImageEmbedder, embed_all
from smartedit.data.fingerprint_cache import Progress, find_pictures_of, read_fingerprints
from smartedit.data.fingerprints import fingerprint, views
from smartedit.data.manifest import Manifest
from smartedit.data.overlaps import LEAKS, Kind, Overlap

__all__ = ["Audit", "AuditOptions", "Kind", "Overlap", "audit_manifest"]

TOP_TEXTS = 20


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
        not_looked: Pairs inside that were not given a second look because there were too many.
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
    not_looked: int
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
        ValueError: An image model is given and no benchmark, whose neighbours it would look for.
    """
    options = options or AuditOptions()
    if options.image_model is not None and benchmark is None:
        raise ValueError(
            f"{options.image_model}: an image model looks for neighbours of a benchmark, and none is given"
        )
    samples = load_reason_edit(benchmark) if benchmark is not None else []
    pictures = find_pictures_of(manifest)
    cache = options.cache or cache_folder() / "fingerprints"
    read = read_fingerprints(pictures, Path(manifest.data_root), cache, progress)
    work = AuditWork(manifest=manifest, pictures=pictures, read=read, samples=samples, options=options)
    overlaps = list(_against(work, cache, progress)) if samples else []
    inside = Inside(overlaps=[], cut_short=0, not_looked=0)
    if options.inside_threshold is not None:
        inside = find_inside(work, options.inside_threshold)
        overlaps += inside.overlaps
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
        cut_short=inside.cut_short,
        not_looked=inside.not_looked,
        image_model=options.image_model,
    )


def _against(work: AuditWork, cache: Path, progress: Progress) -> Iterator[Overlap]:
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
    work: AuditWork, opened: Sequence[Image.Image], pairs: Pairs, same: set[tuple[int, int]]
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
    work: AuditWork,
    opened: Sequence[Image.Image],
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
