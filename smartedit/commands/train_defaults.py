"""What `smartedit train` takes where nothing is named: the weights that ship, and data drawn once into the cache."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from smartedit.config.loading import ConfigError
from smartedit.config.training import StageName

if TYPE_CHECKING:
    from smartedit.config.model import ModelConfig

EDITOR = "instruct-pix2pix-miniature"
"""The InstructPix2Pix pipeline that ships."""
SCENES, PAIRS = 200, 476
"""Sizes of the drawn data: COCO pictures, by which the other sets are sized, and synthetic pairs."""


def starting_point(start: str | None, stage: StageName, model: "ModelConfig") -> Path:
    """The folder of the pipeline that a stage starts from.

    Args:
        start: A folder, a hub id or the name of weights that ship; None for those of the preset.
        stage: Which stage.
        model: The preset's model.

    Raises:
        ConfigError: Nothing is named, and the preset has no weights.
        LoadingError: There is no such model.
    """
    if start is None:
        if model.weights is None:
            raise ConfigError("--start: name the pipeline to start from; this preset has no trained weights")
        start = EDITOR if stage is StageName.BASELINE else model.weights
    from smartedit.inference.loading import find_model

    return find_model(start)


def drawn_manifest(side: int, say: Callable[[str], None]) -> Path:
    """A manifest of drawn data, made once in the cache.

    Args:
        side: Pixels of a picture's side.
        say: Told what is drawn and where, if it is not there yet.
    """
    from reason_edit.embedded import cache_folder
    from smartedit.data.build import build_from_file
    from smartedit.miniature.benchmark_set import EDITION
    from smartedit.miniature.corpora import SOURCES, write_corpora
    from smartedit.miniature.stock import Stock

    folder = cache_folder() / f"miniature-corpora-{EDITION}-{SCENES}-{side}"
    corpora = folder / "corpora"
    if not (corpora / SOURCES).is_file():
        say(f"no --manifest: drawing training data of {SCENES} scenes, {side} pixels a side, in {folder}")
    else:
        say(f"no --manifest: training on the drawn data in {folder}")
    write_corpora(corpora, Stock(count=SCENES, size=side, synthetic=PAIRS))
    return build_from_file(corpora / SOURCES, folder / "manifest").manifest.parent
