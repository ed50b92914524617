"""COCO-Stuff 164k: a label map for every COCO picture.

One row is one picture; it refers to the label map and lists the classes that are in it, and what is painted is drawn
from them. A picture without any label stays a row: its target is the picture itself.
"""

import io
import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smartedit.data.examples import ImageRef, Reason, Rejection, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError, file_names, find_pictures, probe
from smartedit.data.pictures import picture_size, unreadable
from smartedit.data.sources.origins import origin

logger = logging.getLogger(__name__)

Coding = Literal["auto", "stuffthing", "stuff"]
PNG, GREY_8 = b"\x89PNG\r\n\x1a\n", b"\x08\x00"
"""How a PNG begins, and what stands at byte 24 of one of 8 bits of grey."""
UNLABELED = 255
STUFF_OTHER = 183
WORKERS = 2
CHUNK = 32
"""Label maps that a worker looks through at a time; fewer cost more in handing over than in looking."""
AHEAD = 8


def read_label_names(path: Path) -> dict[int, str]:
    """The lines `id: name` of labels.txt, by id; raises SourceError when the file is something else."""
    names: dict[int, str] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                number, separator, name = line.partition(":")
                if not separator:
                    raise ValueError(f"no colon in {line!r}")
                names[int(number)] = name.strip()
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: lines like '1: person' were expected ({error})") from error
    if not names:
        raise SourceError(f"{path}: is empty")
    return names


def map_value_names(label_names: Mapping[int, str]) -> dict[int, str]:
    """Names by value of a label map: a label's id less 1."""
    return {number - 1: name for number, name in label_names.items() if number > 0}


def read_label_map(path: Path) -> NDArray[np.uint8]:
    """The label values of a map, height x width.

    A palette is only for looking at: the values are the indices, never the colours' brightness.

    Raises:
        FaultyRecordError: It is no readable picture, its checksums do not hold, or it is one in colour.
    """
    with unreadable(path.name, "label map"):
        content = path.read_bytes()
        if content[:8] == PNG and content[24:26] == GREY_8:
            return _grey_values(content, path.name)
        with Image.open(io.BytesIO(content)) as picture:
            if picture.mode not in ("L", "P"):
                raise FaultyRecordError(
                    Reason.LABEL_MAP_MODE, f"{path.name} is in mode {picture.mode}; a label map has one channel"
                )
            return np.asarray(picture)


def _grey_values(content: bytes, name: str) -> NDArray[np.uint8]:
    """The values of a PNG of 8-bit grey, by OpenCV: faster than Pillow, and it verifies the checksums, too."""
    import cv2

    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2:
        raise FaultyRecordError(
            Reason.UNREADABLE_IMAGE, f"{name}: the PNG breaks off, its checksums do not hold, or it is transparent"
        )
    return np.asarray(values, dtype=np.uint8)


def scan_label_map(path: Path) -> tuple[list[int], tuple[int, int]]:
    """The values in a map, ascending, and its height and width; raises as `read_label_map` does."""
    labels = read_label_map(path)
    return _values_in(labels), (labels.shape[0], labels.shape[1])


def _values_in(labels: NDArray[np.uint8]) -> list[int]:
    """The values in a map, ascending.

    The first pixel of a value, row by row, differs from the one above and from the one to its left. Few others do, and
    two comparisons of all pixels cost a fraction of counting them. Eight pixels are taken at a time.
    """
    width, pixels = labels.shape[1], np.ascontiguousarray(labels).ravel()
    count = (len(pixels) - width) // 8 * 8
    below = pixels[width : width + count]
    is_first = below != pixels[:count]
    is_first &= below != pixels[width - 1 : width - 1 + count]
    firsts = below.view(np.uint64)[is_first.view(np.uint64) != 0].view(np.uint8)
    seen = np.concatenate([pixels[:width], firsts, pixels[width + count :]])
    return np.flatnonzero(np.bincount(seen, minlength=256)).tolist()


def is_stuff_only(values: list[int]) -> bool:
    """Whether a map has the stuff-only coding: ids not shifted by one, 183 for all things."""
    labeled = [value for value in values if value != UNLABELED]
    return STUFF_OTHER in labeled and min(labeled) >= 92 and max(labeled) <= STUFF_OTHER


def locate(
    root: Path,
    split: str,
    *,
    image_root: Path | None = None,
    labels: Path | None = None,
    coding: Coding = "auto",
    shared: Origin | None = None,
) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    shared = shared or origin("cocostuff", "cocostuff", split, root)
    variants = (split, f"cocostuff/{split}", f"coco-stuff/annotations/{split}", f"annotations/{split}", ".")
    maps = probe(root, variants, _holds_maps, f"COCO-Stuff label maps of {split!r} (*.png)")
    names_file = labels or _labels_file(root, maps)
    names = map_value_names(read_label_names(names_file))
    pictures = find_pictures(
        image_root,
        maps,
        [folder.format(split=split) for folder in ("coco/{split}", "images/{split}", "coco/images/{split}", "{split}")],
        suffixes=(".jpg",),
    )
    stems = sorted(name.removesuffix(".png") for name in file_names(maps) if name.endswith(".png"))
    return Found(
        layout=f"COCO-Stuff: label maps in {maps}, pictures in {pictures}, names in {names_file}",
        inputs=(names_file,),
        folders=(maps, pictures),
        rows=Scan(maps=maps, pictures=pictures, names=names, coding=coding, shared=shared, stems=tuple(stems)).rows,
        total=len(stems),
        label_names=names,
    )


def _holds_maps(folder: Path) -> bool:
    return folder.is_dir() and next(folder.glob("*.png"), None) is not None


def _labels_file(root: Path, maps: Path) -> Path:
    names = ("labels.txt", "ft_local/coco_stuff_labels.txt")
    for base in (root, maps, maps.parent, maps.parent.parent):
        for name in (*names, *(f"cocostuff/{name}" for name in names)):
            if (base / name).is_file():
                return base / name
    raise SourceError(f'{root}: no labels.txt with the class names beside the label maps; name it with labels = "..."')


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    """Looks through label maps on several cores, in order."""

    maps: Path
    pictures: Path
    names: Mapping[int, str]
    coding: Coding
    shared: Origin
    stems: tuple[str, ...]

    def rows(self) -> Iterator[TrainingExample | Rejection]:
        """One row or rejection a label map, and a rejection for every picture that has none."""
        present = file_names(self.pictures)
        maps, pictures = self.shared.relative(self.maps), self.shared.relative(self.pictures)
        pending: deque[Future[list[TrainingExample | Rejection]]] = deque()
        with ThreadPoolExecutor(WORKERS) as pool:
            for start in range(0, len(self.stems), CHUNK):
                stems = self.stems[start : start + CHUNK]
                pending.append(pool.submit(self._judged, stems, present, maps, pictures))
                if len(pending) > AHEAD:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        known = frozenset(self.stems)
        for name in sorted(present):
            stem, _, suffix = name.rpartition(".")
            if suffix == "jpg" and stem not in known:
                detail = f"{name} has no label map"
                yield Rejection(
                    source=self.shared.source, record_id=stem, reason=Reason.MISSING_ANNOTATION, detail=detail
                )

    def _judged(
        self, stems: Sequence[str], present: frozenset[str], maps: str, pictures: str
    ) -> list[TrainingExample | Rejection]:
        judged: list[TrainingExample | Rejection] = []
        for stem in stems:
            try:
                judged.append(self._example(stem, present, maps, pictures))
            except FaultyRecordError as error:
                rejection = Rejection(source=self.shared.source, record_id=stem, reason=error.reason, detail=str(error))
                judged.append(rejection)
        return judged

    def _example(self, stem: str, present: frozenset[str], maps: str, pictures: str) -> TrainingExample:
        image = f"{stem}.jpg"
        if image not in present:
            raise FaultyRecordError(Reason.MISSING_IMAGE, f"{image} is not in the picture folder")
        seen, size = scan_label_map(self.maps / f"{stem}.png")
        _check_size(self.pictures / image, size)
        values = [value for value in seen if value != UNLABELED]
        if self.coding == "stuff" or (self.coding == "auto" and is_stuff_only(values)):
            classes = {value: self.names.get(value - 1) for value in values if value != STUFF_OTHER}
        else:
            classes = {value: self.names.get(value) for value in values}
        unknown = sorted(value for value, name in classes.items() if name is None)
        if unknown:
            raise FaultyRecordError(Reason.LABEL_VALUE, f"{stem}.png holds the values {unknown}, which name no class")
        return TrainingExample(
            example_id=f"{self.shared.source}/{self.shared.split}/{stem}",
            source=self.shared.source,
            task=Task.SEGMENT,
            image=ImageRef(path=f"{pictures}/{image}"),
            mask_image=ImageRef(path=f"{maps}/{stem}.png"),
            label_ids=tuple(classes),
            phrases=tuple(str(name) for name in classes.values()),
            split=self.shared.split,
            license=self.shared.license,
            terms=self.shared.terms,
        )


def _check_size(image: Path, map_size: tuple[int, int]) -> None:
    size = picture_size(image)
    if size != map_size:
        raise FaultyRecordError(Reason.SIZE_MISMATCH, f"{image.name} is {size}, its label map is {map_size}")


def read(
    root: Path,
    split: str = "train2017",
    *,
    image_root: Path | None = None,
    labels: Path | None = None,
    coding: Coding = "auto",
    shared: Origin | None = None,
) -> Iterator[TrainingExample | Rejection]:
    """Read COCO-Stuff.

    Args:
        root: Folder of the label maps, or one above it in any of the usual layouts.
        split: `train2017` or `val2017`.
        image_root: Folder of the COCO pictures; None to look around the label maps.
        labels: The file `labels.txt`; None to look around the label maps.
        coding: What the values mean: `stuffthing` (a label's id less 1), `stuff` (the id itself, 183 for things), or
            `auto`, which takes a map for `stuff` where 183 is in it and nothing below 92.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a picture, or a rejection.

    Raises:
        SourceError: Nothing readable is there.
    """
    found = locate(root, split, image_root=image_root, labels=labels, coding=coding, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
