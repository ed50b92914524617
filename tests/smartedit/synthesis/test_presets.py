"""The factory's presets and defaults are valid, and the defaults ask for the paper's 476 pairs."""

from dataclasses import asdict

import pytest

from smartedit.config.loading import ConfigError
from smartedit.config.synthesis import load_synthesis, synthesis_preset_names


def test_presets_load_and_defaults_add_up() -> None:
    assert synthesis_preset_names() == ["public-models"]
    public = load_synthesis("public-models", ["draws=2"])
    assert (public.draws, public.grounder.name, public.segmenter.name) == (2, "grounding-dino-hf", "sam-hf")
    assert sum(asdict(load_synthesis().selection.quotas).values()) == 476


def test_unknown_keys_are_refused_by_their_path() -> None:
    with pytest.raises(ConfigError, match=r"selection\.thresholds\.clip"):
        load_synthesis(None, ["selection.thresholds.clip=0.2"])
    with pytest.raises(ConfigError, match=r"rules\.size_ratio"):
        load_synthesis(None, ["rules.size_ratio=0.5"])
