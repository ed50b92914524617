"""Writes the texts of the alignment stage: what a crawl of the miniature's web would bring, in CC12M's format."""

from pathlib import Path

from reason_edit.files import write_bytes, write_text
from smartedit.miniature.fit.texts import captions
from smartedit.miniature.formats.texts import CC12M
from smartedit.miniature.stock import Stock

SOURCES = """root = "."

[sources.cc12m]
root = "."
license = "Apache-2.0"
terms = "drawn by smartedit"
"""


def write_crawl(out: Path, stock: Stock, count: int) -> None:
    """Write captions and orders, without any clue, and a `sources.toml` for `smartedit manifest build`.

    Args:
        out: The folder.
        stock: Seed and sizes.
        count: Texts.
    """
    if (out / "sources.toml").is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    lines = [f"miniature:{k:08d}\t{text}\n" for k, text in enumerate(captions(stock, count))]
    write_bytes(out / CC12M, "".join(lines).encode())
    write_text(out / "sources.toml", SOURCES)
