"""Which mask belongs to which picture: by id, or by the place in the sorted folder as the authors' script has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.protocols import Pairing
from reason_edit.schema import Category, EditSample


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedSample:
    """A sample and the mask that it is scored with.

    Attributes:
        sample: The sample.
        mask: Its mask under the pairing in use.
    """

    sample: EditSample
    mask: Path


def pair_masks(samples: Sequence[EditSample], pairing: Pairing) -> list[PairedSample]:
    """Give each sample its mask.

    Args:
        samples: The samples of a run.
        pairing: "id" takes the sample's own mask. "positional" sorts a category's pictures and masks by name, each by
            itself, and joins them by place: `1.png` then meets `10_mask.jpg`, because `10_` sorts before `1_`.

    Returns:
        The samples in their order.
    """
    masks = positional_masks(samples) if pairing == "positional" else {s.sample_id: s.mask for s in samples}
    return [PairedSample(sample=s, mask=masks[s.sample_id]) for s in samples]


def positional_masks(samples: Sequence[EditSample]) -> dict[str, Path]:
    """The mask of each sample id by place in the sorted folder."""
    folders: dict[Category, list[EditSample]] = {}
    for sample in samples:
        folders.setdefault(sample.category, []).append(sample)
    masks: dict[str, Path] = {}
    for members in folders.values():
        by_picture = sorted(members, key=lambda s: s.image.name)
        by_mask = sorted(members, key=lambda s: s.mask.name)
        masks |= {s.sample_id: m.mask for s, m in zip(by_picture, by_mask, strict=True)}
    return masks


def mispaired(samples: Sequence[EditSample]) -> dict[str, str]:
    """The samples that the authors' script scores with another sample's mask: sample id to the mask's file name."""
    masks = positional_masks(samples)
    return {s.sample_id: masks[s.sample_id].name for s in samples if masks[s.sample_id] != s.mask}
