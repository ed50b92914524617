"""What the paper's ablations vary: how text and picture meet (Table 2), and what is trained on (Table 3)."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

from reason_edit.files import write_text
from smartedit.config.mixture import MixtureConfig
from smartedit.config.model import Interaction
from smartedit.data.examples import Task
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import MixtureError, resolve_weights

SEGMENTATION, SYNTHETIC = "segmentation", "synthetic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One row of the paper's ablations.

    Attributes:
        name: Names folders and methods.
        title: What a table calls it.
        interaction: Row of Table 2.
        without: Kinds of data that are left out (Table 3).
    """

    name: str
    title: str
    interaction: Interaction = Interaction.BIDIRECTIONAL
    without: tuple[str, ...] = ()

    @property
    def data(self) -> str:
        """A name for what is trained on."""
        return "-".join(["all", *(f"no-{kind}" for kind in self.without)])


VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant(name="plain", title="plain (no BIM)", interaction=Interaction.PLAIN),
        Variant(name="simple-ca", title="SimpleCA", interaction=Interaction.SIMPLE_CROSS_ATTENTION),
        Variant(name="edit", title="editing data only", without=(SEGMENTATION, SYNTHETIC)),
        Variant(name="edit-segmentation", title="editing + segmentation", without=(SYNTHETIC,)),
        Variant(name="edit-synthetic", title="editing + synthetic", without=(SEGMENTATION,)),
        Variant(name="whole", title="BIM, all data"),
    )
}
"""All rows; the last rows of both tables are one and the same model."""


def left_out_sources(manifest: Manifest, variant: Variant, synthetic: str = SYNTHETIC) -> list[str]:
    """The sources of a manifest that a variant does without.

    Conversations stay in every variant: Table 3 does not name them.

    Args:
        manifest: The rows.
        variant: The variant.
        synthetic: Name of the synthetic editing set among the sources.

    Raises:
        MixtureError: The manifest has nothing of a kind that the variant leaves out, so that nothing would differ.
    """
    fitting = {
        SEGMENTATION: [name for name, tasks in manifest.counts.items() if set(tasks) == {Task.SEGMENT.value}],
        SYNTHETIC: [name for name in manifest.sources if name == synthetic],
    }
    for kind in variant.without:
        if not fitting[kind]:
            raise MixtureError(
                f"{manifest.path}: no source with {kind} data, which {variant.name!r} is to do without; there are "
                f"{', '.join(manifest.sources)}"
            )
    return [name for kind in variant.without for name in fitting[kind]]


def mixture_of(manifest: Manifest, base: MixtureConfig, variant: Variant, seed: int) -> MixtureConfig:
    """What a variant draws: the shares of a mixture over a manifest that lacks the variant's missing data.

    Args:
        manifest: The rows.
        base: The mixture of the whole model.
        variant: The variant.
        seed: Which order.

    Raises:
        MixtureError: The mixture does not fit the manifest, or nothing is left to draw.
    """
    missing = left_out_sources(manifest, variant)
    sizes = {name: 0 if name in missing else size for name, size in manifest.sizes.items()}
    if base.weights:
        base = replace(base, weights={name: share for name, share in base.weights.items() if name not in missing})
    return MixtureConfig(weights=resolve_weights(base, sizes), seed=seed)


def write_mixture(mixture: MixtureConfig, path: Path) -> Path:
    """Write weights as a file that `smartedit.data.mixture.load_mixture` reads."""
    # A JSON string is a TOML string, and repr gives back the same number.
    lines = [f"{json.dumps(name)} = {share!r}" for name, share in mixture.weights.items()]
    write_text(path, "\n".join([f"seed = {mixture.seed}", "", "[weights]", *lines, ""]))
    return path
