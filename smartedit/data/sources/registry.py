"""From a configured source to the reader that finds it on disk."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from smartedit.config.sources import SourceConfig
from smartedit.data.locations import Found, Origin, SourceError
from smartedit.data.sources import (
    cc12m,
    cocostuff,
    explanatory,
    grefcoco,
    instructpix2pix,
    llava,
    magicbrush,
    reasonseg,
    refer,
    synthetic,
)
from smartedit.data.sources.terms import TERMS, Terms

Locate = Callable[[Any, Path, Origin], Found]


def _under(data_root: Path, path: Path | None) -> Path | None:
    return None if path is None else data_root / path


def _refer(c: Any, base: Path, shared: Origin) -> Found:
    return refer.locate(
        base / c.root,
        c.split,
        dataset=c.kind,
        split_by=c.split_by,
        image_root=_under(base, c.images),
        overlap=c.overlap,
        shared=shared,
    )


def _reasonseg(c: Any, base: Path, shared: Origin) -> Found:
    if c.split == explanatory.SPLIT:
        return explanatory.locate(base / c.root, image_root=_under(base, c.images), shared=shared)
    return reasonseg.locate(
        base / c.root,
        c.split,
        image_root=_under(base, c.images),
        mask_root=_under(base, c.masks),
        mask_threshold=c.mask_threshold,
        shared=shared,
    )


def _cocostuff(c: Any, base: Path, shared: Origin) -> Found:
    images, labels = _under(base, c.images), _under(base, c.labels)
    return cocostuff.locate(base / c.root, c.split, image_root=images, labels=labels, coding=c.coding, shared=shared)


def _magicbrush(c: Any, base: Path, shared: Origin) -> Found:
    images = _under(base, c.images)
    return magicbrush.locate(base / c.root, c.split, layout=c.layout, image_root=images, shared=shared)


def _llava(c: Any, base: Path, shared: Origin) -> Found:
    return llava.locate(base / c.root, c.split, image_root=_under(base, c.images), file=c.file, shared=shared)


def _synthetic(c: Any, base: Path, shared: Origin) -> Found:
    return synthetic.locate(base / c.root, c.split, image_root=_under(base, c.images), file=c.file, shared=shared)


READERS: dict[str, Locate] = {
    "refcoco": _refer,
    "refcoco+": _refer,
    "refcocog": _refer,
    "grefcoco": lambda c, base, shared: grefcoco.locate(
        base / c.root, c.split, image_root=_under(base, c.images), shared=shared
    ),
    "cocostuff": _cocostuff,
    "reasonseg": _reasonseg,
    "instructpix2pix": lambda c, base, shared: instructpix2pix.locate(
        base / c.root, c.split, layout=c.layout, shared=shared
    ),
    "magicbrush": _magicbrush,
    "llava": _llava,
    "cc12m": lambda c, base, shared: cc12m.locate(base / c.root, c.split, file=c.file, shared=shared),
    "synthetic": _synthetic,
}
"""Readers by the `kind` of a source."""


def terms_of(config: SourceConfig) -> Terms:
    """License and terms of a configured source: its own words where it has some, else the built-in ones."""
    kind: str = config.kind  # type: ignore[attr-defined]
    built_in = TERMS["refcoco" if kind.startswith("refcoco") else kind]
    return Terms(license=config.license or built_in.license, terms=config.terms or built_in.terms, page=built_in.page)


def find_source(name: str, config: SourceConfig, data_root: Path) -> Found:
    """Find a configured source on disk.

    Args:
        name: The source's name in the configuration.
        config: One of the classes of `smartedit.config.sources`.
        data_root: The folder that the configuration's paths and the rows' image paths are relative to.

    Raises:
        SourceError: Nothing readable is there; the message begins with the source's name.
    """
    terms = terms_of(config)
    split: str = config.split  # type: ignore[attr-defined]
    shared = Origin(source=name, split=split, license=terms.license, terms=terms.terms, data_root=data_root)
    try:
        found = READERS[config.kind](config, data_root, shared)  # type: ignore[attr-defined]
        # A manifest built from the same files elsewhere has the same bytes, so no layout says where the data root is.
        return replace(found, layout=found.layout.replace(f"{data_root}{os.sep}", "").replace(str(data_root), "."))
    except SourceError as error:
        raise SourceError(f"source {name!r}: {error}") from error
