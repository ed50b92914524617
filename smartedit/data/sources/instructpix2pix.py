"""InstructPix2Pix: generated picture pairs with an edit instruction, in every form that they are handed around in."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

from smartedit.data.examples import ImageRef, Reason, Rejection, Task, TrainingExample
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import Found, Origin, SourceError
from smartedit.data.sources.hub_tables import Shard, find_shards, shard_records
from smartedit.data.sources.origins import origin
from smartedit.data.sources.pix2pix_archives import PROMPT, Folders, PairStore, Zips, listed_pairs, part_of

logger = logging.getLogger(__name__)

Layout = Literal["auto", "folders", "zip", "hub"]
PLACES = (".", "clip-filtered-dataset", "InstructPix2PixCLIPFiltered_HF", "clip-filtered-zip")
SPLITS = ("all", "train", "val", "test")


def locate(root: Path, split: str, *, layout: Layout = "auto", shared: Origin | None = None) -> Found:
    """Find the data set on disk; arguments as in `read`."""
    if split not in SPLITS:
        raise SourceError(f"InstructPix2Pix has no split {split!r}; its splits are {', '.join(SPLITS)}")
    shared = shared or origin("instructpix2pix", "instructpix2pix", split, root)
    for folder in (root / place for place in PLACES):
        if not folder.is_dir():
            continue
        found = _locate_here(folder, split, layout, shared)
        if found is not None:
            return found
    raise SourceError(
        f"{root}: holds no InstructPix2Pix ({layout}): neither prompt folders, shard-XX.zip, *.parquet nor a "
        f"save_to_disk folder; tried {', '.join(PLACES)}"
    )


def _locate_here(folder: Path, split: str, layout: Layout, shared: Origin) -> Found | None:
    if layout in ("auto", "hub"):
        words, shards = find_shards(folder, split)
        if shards:
            return Found(
                layout=f"InstructPix2Pix: {words}",
                inputs=tuple(shard.path for shard in shards),
                rows=partial(_hub_rows, shards, shared),
            )
    zips = sorted(folder.glob("*.zip")) if layout in ("auto", "zip") else []
    if zips:
        listing = (folder / "seeds.json",) if (folder / "seeds.json").is_file() else ()
        return Found(
            layout=f"InstructPix2Pix: {len(zips)} zip archives in {folder}",
            inputs=(*listing, *zips),
            rows=partial(_pair_rows, folder, partial(Zips, zips, shared), split, shared),
        )
    if layout in ("auto", "folders") and Folders.match(folder):
        listing = (folder / "seeds.json",) if (folder / "seeds.json").is_file() else ()
        return Found(
            layout=f"InstructPix2Pix: prompt folders in {folder}"
            + ("" if listing else ", without seeds.json, so in the order of their names"),
            inputs=listing,
            folders=(folder,),
            contents=(PROMPT,),
            rows=partial(_pair_rows, folder, partial(Folders, folder, shared), split, shared),
        )
    return None


def _hub_rows(shards: list[Shard], shared: Origin) -> Iterator[TrainingExample | Rejection]:
    columns = ("original_image", "edited_image")
    for shard in shards:
        try:
            for row, texts, pictures in shard_records(shard, ["edit_prompt"], columns, shared):
                key = f"{shard.path.stem}/{row}"
                try:
                    yield _example(texts["edit_prompt"], pictures[columns[0]], pictures[columns[1]], shared, key)
                except FaultyRecordError as error:
                    yield Rejection(source=shared.source, record_id=key, reason=error.reason, detail=str(error))
        except FaultyRecordError as error:
            yield Rejection(source=shared.source, record_id=shard.path.name, reason=error.reason, detail=str(error))


def _pair_rows(
    folder: Path, opened: Callable[[], PairStore], split: str, shared: Origin
) -> Iterator[TrainingExample | Rejection]:
    store = opened()
    for name, error in store.faults:
        yield Rejection(source=shared.source, record_id=name, reason=error.reason, detail=str(error))
    listed = listed_pairs(folder, store)
    chosen = part_of(listed, split)
    for name, seeds in chosen:
        try:
            prompt = store.prompt(name)
        except FaultyRecordError as error:
            yield Rejection(source=shared.source, record_id=name, reason=error.reason, detail=str(error))
            continue
        for seed in seeds:
            key = f"{name}/{seed}"
            try:
                yield _example(prompt, store.picture(name, seed, 0), store.picture(name, seed, 1), shared, key)
            except FaultyRecordError as error:
                yield Rejection(source=shared.source, record_id=key, reason=error.reason, detail=str(error))
    for name in sorted(store.names() - {name for name, _ in listed}) if split == "all" else ():
        detail = f"the folder {name} is not in seeds.json"
        yield Rejection(source=shared.source, record_id=name, reason=Reason.NOT_LISTED, detail=detail)


def _example(text: Any, image: ImageRef | None, target: ImageRef | None, shared: Origin, key: str) -> TrainingExample:
    if not isinstance(text, str) or not text.strip():
        raise FaultyRecordError(Reason.EMPTY_TEXT, f"the edit instruction is {text!r}")
    if image is None or target is None:
        missing = " and ".join(n for n, p in (("source", image), ("target", target)) if p is None)
        raise FaultyRecordError(Reason.MISSING_IMAGE, f"no {missing} picture")
    return TrainingExample(
        example_id=f"{shared.source}/{key}",
        source=shared.source,
        task=Task.EDIT,
        image=image,
        target=target,
        instructions=(text.strip(),),
        split=shared.split,
        license=shared.license,
        terms=shared.terms,
    )


def read(
    root: Path, split: str = "all", *, layout: Layout = "auto", shared: Origin | None = None
) -> Iterator[TrainingExample | Rejection]:
    """Read InstructPix2Pix.

    Args:
        root: The data set's folder, or one above it.
        split: `all`; or, of prompt folders and zip archives, `train`, `val`, `test` by the place in seeds.json (90 %,
            5 %, 5 %, as the makers split). The hub's shards are all called `train`.
        layout: Which form to read where several lie in one folder; `auto` takes the hub's shards, then zip archives,
            then folders.
        shared: Source name, terms and data root of the rows; None for the data set's own.

    Yields:
        One example a picture pair, or a rejection.

    Raises:
        SourceError: Nothing readable is there.
    """
    found = locate(root, split, layout=layout, shared=shared)
    logger.info("%s", found.layout)
    yield from found.rows()
