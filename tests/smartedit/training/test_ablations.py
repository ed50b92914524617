"""The variants of the ablations: what they leave out, and that nothing else changes."""

from pathlib import Path

import pytest

from smartedit.config.loading import load_tree
from smartedit.config.mixture import MixtureConfig
from smartedit.config.model import Interaction
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import MixtureError, load_mixture, resolve_weights
from smartedit.training.ablations import VARIANTS, left_out_sources, mixture_of, write_mixture
from tests.smartedit.data.conftest import corpus

__all__ = ["corpus"]
SEGMENTATION = ["refcoco", "grefcoco", "cocostuff", "reasonseg"]


@pytest.fixture(scope="module")
def opened(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    config = load_tree(ManifestConfig, source=corpus / "sources.toml")
    return Manifest(build_manifest(config, tmp_path_factory.mktemp("built"), data_root=corpus / "data").manifest)


def test_variants_differ_in_one_thing() -> None:
    whole = VARIANTS["whole"]
    assert {v.interaction for v in VARIANTS.values() if v.without} == {Interaction.BIDIRECTIONAL} == {whole.interaction}
    assert {v.interaction for v in VARIANTS.values() if not v.without} == set(Interaction)
    assert whole.data == VARIANTS["plain"].data == "all"
    assert VARIANTS["edit"].data == "all-no-segmentation-no-synthetic"


def test_left_out_data_are_not_drawn_and_conversations_stay(opened: Manifest, tmp_path: Path) -> None:
    base = load_mixture("smartedit-paper")
    assert left_out_sources(opened, VARIANTS["edit"]) == [*SEGMENTATION, "synthetic"]
    drawn = {name: mixture_of(opened, base, variant, 4) for name, variant in VARIANTS.items()}
    assert set(drawn["edit"].weights) == {"instructpix2pix", "magicbrush", "llava"}
    assert set(drawn["edit-segmentation"].weights) == set(drawn["edit"].weights) | set(SEGMENTATION)
    assert set(drawn["edit-synthetic"].weights) == set(drawn["edit"].weights) | {"synthetic"}
    assert drawn["whole"].weights == resolve_weights(base, opened.sizes) and drawn["whole"] == drawn["plain"]
    assert drawn["edit-synthetic"].weights["synthetic"] == pytest.approx(0.15)
    for mixture in drawn.values():
        assert sum(mixture.weights.values()) == pytest.approx(1) and mixture.seed == 4
        assert load_mixture(write_mixture(mixture, tmp_path / "mixture.toml")) == mixture


def test_weights_of_ones_own_are_taken_too(opened: Manifest) -> None:
    base = MixtureConfig(weights={"synthetic": 1, "refcoco": 3, "magicbrush": 4})
    assert mixture_of(opened, base, VARIANTS["edit-segmentation"], 0).weights == {"refcoco": 3 / 7, "magicbrush": 4 / 7}


def test_a_manifest_without_what_is_left_out_is_refused(opened: Manifest) -> None:
    with pytest.raises(MixtureError, match=r"no source with synthetic data, which 'edit' is to do without"):
        left_out_sources(opened, VARIANTS["edit"], synthetic="other")
