"""What `smartedit train` takes where nothing is named: weights that ship, checkpoints, data drawn into the cache."""

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from smartedit.config.loading import ConfigError
from smartedit.config.training import SHIPPED_EDITOR, StageName

if TYPE_CHECKING:
    from smartedit.config.model import ModelConfig

logger = logging.getLogger(__name__)

START = "start"
"""In the run's folder: what was put together from checkpoints."""
MADE_OF = "made_of.json"
"""Inside it: the model's settings and the seed that it was made with."""
SCENES, PAIRS = 200, 476
"""Sizes of the drawn data: COCO pictures, by which the other sets are sized, and synthetic pairs."""


def starting_point(start: str | None, stage: StageName, model: "ModelConfig", run: Path, seed: int) -> Path:
    """The folder of the pipeline that a stage starts from.

    Args:
        start: A folder, a hub id or the name of weights that ship; None for those of the preset, or for `align` what is
            put together from the checkpoints that the preset's model names.
        stage: Which stage.
        model: The preset's model.
        run: The run's folder; what is put together is kept there.
        seed: Of the parts that no checkpoint has: QFormer and added tokens.

    Raises:
        ConfigError: Nothing is named, and the preset has neither weights nor checkpoints; or what the run's folder has
            was put together otherwise.
        LoadingError: There is no such model.
    """
    from smartedit.inference.loading import find_model

    if start is not None:
        return find_model(start)
    if model.weights is not None:
        return find_model(SHIPPED_EDITOR if stage is StageName.BASELINE else model.weights)
    missing = [name for name in ("mllm", "unet", "vae") if getattr(model, name).checkpoint is None]
    if stage is not StageName.ALIGN:
        raise ConfigError("--start: name the pipeline to start from; this preset has no trained weights")
    if missing:
        wanted = " ".join(f"--set model.{name}.checkpoint=FOLDER" for name in missing)
        raise ConfigError(
            f"--start: name the pipeline to start from, or the checkpoints to put one together from ({wanted}); this "
            "preset has no trained weights"
        )
    return _put_together(model, run, seed)


def _put_together(model: "ModelConfig", run: Path, seed: int) -> Path:
    """A pipeline of checkpoints with a new QFormer and new tokens, made once; other processes wait for it."""
    import torch

    from reason_edit.files import in_turn, write_text
    from smartedit.inference.build import build_pipeline
    from smartedit.seeding import seed_from

    run.mkdir(parents=True, exist_ok=True)
    folder, aside = run / START, run / f".{START}.tmp-{os.getpid()}"
    settings = {name: value for name, value in asdict(model).items() if name not in {"weights", "sampling"}}
    asked = json.dumps({"seed": seed, "model": settings}, indent=1) + "\n"
    with in_turn(run / f".{START}.lock"):
        for left in run.glob(f".{START}.tmp-*"):
            shutil.rmtree(left)
        if not folder.is_dir():
            torch.manual_seed(seed_from("new parts", seed))
            build_pipeline(model).save_pretrained(aside)
            write_text(aside / MADE_OF, asked)
            aside.rename(folder)
            logger.info("%s: put together from checkpoints", folder)
        elif not (folder / MADE_OF).is_file() or (folder / MADE_OF).read_text(encoding="utf-8") != asked:
            raise ConfigError(
                f"{folder}: was put together from other checkpoints, model settings or another seed ({MADE_OF}); give "
                "those, name another --run, or name it as --start"
            )
    return folder


def drawn_manifest(side: int, say: Callable[[str], None]) -> Path:
    """A manifest of drawn data, made once in the cache; other processes wait for it.

    Args:
        side: Pixels of a picture's side.
        say: Told what is drawn and where, if it is not there yet.
    """
    from reason_edit.embedded import cache_folder
    from reason_edit.files import in_turn
    from smartedit.data.build import build_from_file
    from smartedit.miniature.benchmark_set import EDITION
    from smartedit.miniature.corpora import SOURCES, write_corpora
    from smartedit.miniature.stock import Stock

    folder = cache_folder() / f"miniature-corpora-{EDITION}-{SCENES}-{side}"
    corpora = folder / "corpora"
    folder.mkdir(parents=True, exist_ok=True)
    with in_turn(folder / ".lock"):
        if not (corpora / SOURCES).is_file():
            say(f"no --manifest: drawing training data of {SCENES} scenes, {side} pixels a side, in {folder}")
        else:
            say(f"no --manifest: training on the drawn data in {folder}")
        write_corpora(corpora, Stock(count=SCENES, size=side, synthetic=PAIRS))
        return build_from_file(corpora / SOURCES, folder / "manifest").manifest.parent
