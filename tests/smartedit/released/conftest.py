"""A released checkpoint in the authors' layout at small widths, shared by the tests of a session."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from smartedit.config.model import ModelConfig, as_released, load_model_config
from smartedit.inference.conversion import Conversion, ConversionSettings, convert_released
from smartedit.model.released_sources import ReleasedFolders
from tests.smartedit.released.ingredients import random_values, write_ingredients
from tests.tiny import TINY

SHARD_BYTES = 400_000


@dataclass(frozen=True)
class Small:
    """The ingredients and what they convert to."""

    folders: ReleasedFolders
    config: ModelConfig
    converted: Conversion


def small_config() -> ModelConfig:
    """Miniature sizes in the released form, with the vocabulary of the tests' tokenizer."""
    config = as_released(load_model_config(TINY))
    language = replace(config.mllm.language, vocab_size=700, hidden_size=64, intermediate_size=96, num_layers=2)
    return replace(config, mllm=replace(config.mllm, language=language))


def small_settings() -> ConversionSettings:
    return ConversionSettings(sizes=small_config(), shard_bytes=SHARD_BYTES)


@pytest.fixture(scope="session")
def tokenizer_folder() -> Path:
    return Path(__file__).parents[2] / "golden" / "tokenizer"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path) -> Small:
    root = tmp_path_factory.mktemp("small-released")
    config = small_config()
    folders = write_ingredients(root / "in", config, random_values(config), tokenizer_folder)
    return Small(folders=folders, config=config, converted=convert_released(folders, root / "out", small_settings()))
