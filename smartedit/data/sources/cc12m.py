"""CC12M: captions in a tab-separated file without quoting, read in columns because there are twelve million of them."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smartedit.data.examples import Reason, Rejection, Task, TrainingExample
from smartedit.data.locations import Found, Origin, SourceError, probe
from smartedit.data.sources.origins import origin

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

BLOCK = 1 << 24


def caption_file(root: Path, file: str) -> Path:
    """The tsv file: `root` itself, or the file in it or in a usual folder below."""
    if root.is_file():
        return root
    return probe(root, [".", "cc12m", "CC12M"], lambda folder: (folder / file).is_file(), file) / file


def locate(root: Path, split: str, *, file: str = "cc12m.tsv", shared: Origin | None = None) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    if split != "train":
        raise SourceError(f"CC12M has no split {split!r}, only train")
    path = caption_file(root, file)
    shared = shared or origin("cc12m", "cc12m", split, path.parent)

    def batches() -> "Iterator[pa.RecordBatch | Rejection]":
        line = 0
        for block in _blocks(path):
            lines = _lines(block)
            yield from _captions(lines, line, shared)
            line += len(lines)

    def rows() -> Iterator[TrainingExample | Rejection]:
        for batch in batches():
            if isinstance(batch, Rejection):
                yield batch
                continue
            ids, captions = batch.column("example_id"), batch.column("caption")
            for example_id, caption in zip(ids.to_pylist(), captions.to_pylist(), strict=True):
                yield TrainingExample(
                    example_id=example_id,
                    source=shared.source,
                    task=Task.CAPTION,
                    caption=caption,
                    split=shared.split,
                    license=shared.license,
                    terms=shared.terms,
                )

    return Found(
        layout=f"CC12M: captions in the last column of {path.name} in {path.parent}",
        inputs=(path,),
        rows=rows,
        batches=batches,
    )


def _blocks(path: Path) -> Iterator[bytes]:
    """The file in pieces of whole lines; only a newline ends a line, quotes mean nothing."""
    with path.open("rb") as file:
        rest = b""
        while block := file.read(BLOCK):
            cut = block.rfind(b"\n") + 1
            if not cut:
                rest += block
                continue
            yield rest + block[:cut] if rest else block[:cut]
            rest = block[cut:]
        if rest:
            yield rest + b"\n"


def _lines(block: bytes) -> "pa.BinaryArray":
    """The lines of a block, without copying them; the byte-order mark of a first line and newlines go."""
    import pyarrow as pa

    characters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(characters == 10).astype(np.int32) + 1
    offsets = np.concatenate([np.zeros(1, np.int32), ends])
    return pa.Array.from_buffers(pa.binary(), len(ends), [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(block)])


def _captions(lines: "pa.BinaryArray", first: int, shared: Origin) -> "Iterator[pa.RecordBatch | Rejection]":
    """The captions of some lines, and the lines that hold none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from smartedit.data.columns import columns_to_batch

    numbers = pa.array(np.arange(first, first + len(lines), dtype=np.int64))
    try:
        texts = lines.cast(pa.string())
    except pa.ArrowInvalid:
        readable = pa.array([_is_utf8(line.as_py()) for line in lines])
        for number in numbers.filter(pc.invert(readable)).to_pylist():
            yield _rejection(shared, number, Reason.BAD_ENCODING, "the line is not UTF-8")
        numbers, texts = numbers.filter(readable), lines.filter(readable).cast(pa.string())
    has_tab = pc.match_substring(texts, "\t")
    if not pc.all(has_tab, min_count=0).as_py():
        for number in numbers.filter(pc.invert(has_tab)).to_pylist():
            yield _rejection(shared, number, Reason.BAD_LINE, "the line has no tab between address and caption")
        numbers, texts = numbers.filter(has_tab), texts.filter(has_tab)
    captions = pc.utf8_trim_whitespace(_last_column(texts))
    full = pc.not_equal(captions, "")
    if not pc.all(full, min_count=0).as_py():
        for number in numbers.filter(pc.invert(full)).to_pylist():
            yield _rejection(shared, number, Reason.EMPTY_TEXT, "the caption is empty")
        numbers, captions = numbers.filter(full), captions.filter(full)
    if len(captions):
        digits = pc.utf8_lpad(numbers.cast(pa.string()), 8, "0")
        yield columns_to_batch(
            len(captions),
            {
                "example_id": pc.binary_join_element_wise(f"{shared.source}/", digits, ""),
                "source": shared.source,
                "task": Task.CAPTION.value,
                "caption": captions,
                "split": shared.split,
                "license": shared.license,
                "terms": shared.terms,
            },
        )


def _last_column(texts: "pa.StringArray") -> "pa.StringArray":
    import pyarrow.compute as pc

    parts = pc.split_pattern(texts, "\t", max_splits=1, reverse=True)
    return pc.list_element(parts, 1)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _rejection(shared: Origin, number: int, reason: Reason, detail: str) -> Rejection:
    return Rejection(
        source=shared.source, record_id=f"{number:08d}", reason=reason, detail=f"line {number + 1}: {detail}"
    )


def read(
    root: Path, split: str = "train", *, file: str = "cc12m.tsv", shared: Origin | None = None
) -> Iterator[TrainingExample | Rejection]:
    """Read CC12M's captions; a manifest is built from `locate(...).batches()`, which makes no Python objects.

    Args:
        root: The tsv file, its folder, or one above it.
        split: `train`.
        file: Name of the tsv file; the caption is its last column, so that files with three columns are read as well.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a line, or a rejection.

    Raises:
        SourceError: There is no such file.
    """
    found = locate(root, split, file=file, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
