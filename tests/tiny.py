"""The tiny model's preset, for `load_model_config` and `load_training_config`."""

from pathlib import Path

TINY = Path(__file__).parent / "tiny.toml"
