"""The origin of rows that are read without a configuration: a data set's own name and terms."""

from pathlib import Path

from smartedit.data.locations import Origin
from smartedit.data.sources.terms import TERMS


def origin(kind: str, source: str, split: str, root: Path) -> Origin:
    """Name, split and terms of a data set, with image paths relative to `root`."""
    terms = TERMS[kind]
    return Origin(source=source, split=split, license=terms.license, terms=terms.terms, data_root=root)
