"""Writes the training corpora: drawn scenes in every public data set's own layout."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

from reason_edit.files import write_text
from smartedit.miniature import formats
from smartedit.miniature.benchmark_set import EDITION
from smartedit.miniature.folders import DatasetFolderError, claimed
from smartedit.miniature.formats import coco, instructpix2pix, magicbrush, reasonseg, refer, synthetic, texts
from smartedit.miniature.stock import Stock

MARKER = "miniature.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """One data set.

    Attributes:
        write: Writes it.
        last: The file that it writes last; where it lies, the set is complete.
    """

    write: Callable[[Path, Stock], None]
    last: Callable[[Stock], str]


CORPORA: dict[str, Corpus] = {
    "coco": Corpus(write=coco.write, last=lambda _: coco.INSTANCES.as_posix()),
    "refcoco": Corpus(write=refer.write, last=lambda _: "refer_seg/refcocog/instances.json"),
    "grefcoco": Corpus(write=refer.write_grefcoco, last=lambda _: "refer_seg/grefcoco/instances.json"),
    "reasonseg": Corpus(write=reasonseg.write, last=lambda _: "reason_seg/ReasonSeg/explanatory/train.json"),
    "instructpix2pix": Corpus(write=instructpix2pix.write, last=lambda _: "clip-filtered-dataset/seeds.json"),
    "instructpix2pix-hub": Corpus(write=instructpix2pix.write_hub, last=instructpix2pix.last_shard),
    "instructpix2pix-saved": Corpus(
        write=instructpix2pix.write_saved, last=lambda _: (instructpix2pix.SAVED / "state.json").as_posix()
    ),
    "magicbrush": Corpus(write=magicbrush.write, last=lambda _: "MagicBrush/dev/edit_sessions.json"),
    "magicbrush-hub": Corpus(
        write=magicbrush.write_hub, last=lambda _: f"MagicBrush_HF/data/train-00000-of-00001-{magicbrush.HASH}.parquet"
    ),
    "magicbrush-saved": Corpus(
        write=magicbrush.write_saved, last=lambda _: (magicbrush.SAVED / "state.json").as_posix()
    ),
    "llava": Corpus(write=texts.write_llava, last=lambda _: texts.LLAVA.as_posix()),
    "cc12m": Corpus(write=texts.write_cc12m, last=lambda _: texts.CC12M.as_posix()),
    "synthetic": Corpus(write=synthetic.write, last=lambda _: "SyntheticData/SyntheticData_info_new.json"),
}
"""What can be written; `coco` holds the pictures, detections and COCO-Stuff maps that others refer to."""

SOURCES = "sources.toml"
NEED_COCO = {"refcoco", "grefcoco", "llava"}


def write_corpora(
    out: Path,
    stock: Stock,
    only: Collection[str] = (),
    on_written: Callable[[str], None] = lambda name: None,
) -> None:
    """Write the corpora; the same arguments give the same bytes, and what is complete is kept.

    All of them together come with a `sources.toml` for `smartedit manifest build`.

    Args:
        out: The folder; new, empty, or an unfinished one of the same settings.
        stock: Seed and sizes.
        only: Names of `CORPORA`, all if empty; the COCO pictures come along where they are referred to.
        on_written: Called with the name of each data set that is complete.

    Raises:
        DatasetFolderError: The folder holds something else, or a name is not known.
    """
    unknown = sorted(set(only) - set(CORPORA))
    if unknown:
        raise DatasetFolderError(f"no corpus {', '.join(unknown)}; there are {', '.join(CORPORA)}")
    chosen = [name for name in CORPORA if not only or name in only or (name == "coco" and NEED_COCO & set(only))]
    settings = json.dumps({"content": "miniature corpora", "edition": EDITION, **asdict(stock)}, sort_keys=True) + "\n"
    with claimed(out, MARKER, settings):
        for name in chosen:
            if not (out / CORPORA[name].last(stock)).is_file():
                CORPORA[name].write(out, stock)
            on_written(name)
        if not only and not (out / SOURCES).is_file():
            write_text(out / SOURCES, resources.files(formats).joinpath(SOURCES).read_text(encoding="utf-8"))
