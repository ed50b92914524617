"""Turns the authors' released files into our checkpoint: which weight is made from what."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from smartedit.config.model import ModelConfig
from smartedit.model.layout import Place, UnknownNameError, place
from smartedit.model.released_check import Shape, placed
from smartedit.model.released_files import TensorEntry, WeightFiles
from smartedit.model.released_shards import Ingredient, Weight
from smartedit.model.released_sources import ReleasedError, ReleasedParts

if TYPE_CHECKING:
    from torch import Tensor

EMBEDDING = Place(part="mllm", name="model.model.language_model.embed_tokens.weight")
OUTPUT = Place(part="mllm", name="model.lm_head.weight")
_LLAVA_NAMES = {EMBEDDING: "model.embed_tokens.weight", OUTPUT: "lm_head.weight"}
_NORM = "model.norm.weight"
_LORA_NAMES = ("lora_A.default.weight", "lora_B.default.weight")


class LlavaRows:
    """The vocabulary rows that replace the released ones (as the authors' code does after loading).

    Attributes:
        files: LLaVA's weights.
        base: LLaMA's, where LLaVA's are a difference to them.
        rows: How many rows.
    """

    def __init__(self, files: WeightFiles, base: WeightFiles | None, config: ModelConfig) -> None:
        """Check that the rows are there.

        Raises:
            ReleasedError: LLaVA or LLaMA lacks them or is of another size, or LLaVA is a difference and LLaMA is not
                given.
        """
        self.files, self.rows = files, config.mllm.language.vocab_size
        width = config.mllm.language.hidden_size
        for option, source in [("--llava", files)] + ([("--llama", base)] if base is not None else []):
            for name in _LLAVA_NAMES.values():
                entry = source.entries.get(name)
                if entry is None:
                    raise ReleasedError(f"{option} {source.place}: no weight {name}; is this a whole language model?")
                if entry.shape[0] < self.rows or entry.shape[1] != width:
                    raise ReleasedError(
                        f"{option} {source.place}: {name} has shape {list(entry.shape)}, "
                        f"needed are {self.rows} rows of width {width}"
                    )
        self.base = base if _is_difference(files) else None
        if _is_difference(files) and base is None:
            raise ReleasedError(
                f"--llava {files.place}: these weights are the difference to LLaMA, as they were published; "
                "name a folder with LLaMA as --llama"
            )

    @property
    def sources(self) -> list[WeightFiles]:
        """LLaVA's files, and LLaMA's where they are needed."""
        return [self.files] if self.base is None else [self.files, self.base]

    def replacing(self, where: Place, released: Ingredient, entry: TensorEntry) -> Weight:
        """The released rows with LLaVA's in the place of the first ones."""
        name = _LLAVA_NAMES[where]

        def make(read: "Sequence[Tensor]") -> "Tensor":
            import torch

            own, *llava = read
            rows = llava[0][: self.rows]
            if len(llava) > 1:
                # In the published dtype: the authors of LLaVA add in float16, and their result is what was trained on.
                rows = rows + llava[1][: self.rows].to(rows.dtype)
            return torch.cat([rows.to(own.dtype), own[self.rows :]])

        ingredients = (released, *(Ingredient(files=source, name=name) for source in self.sources))
        return Weight(name=where.name, shape=entry.shape, dtype=entry.dtype, ingredients=ingredients, make=make)


def _is_difference(files: WeightFiles) -> bool:
    """Whether weights are a difference: a norm's factors are about 1, differences of them about 0."""
    if _NORM not in files.entries:
        return False
    with files.open([_NORM]) as read:
        return float(read[_NORM].float().abs().mean()) < 0.1


def plan(
    parts: ReleasedParts, clip: WeightFiles, rows: LlavaRows, shapes: Mapping[Place, Shape], *, merge_lora: bool = False
) -> dict[str, list[Weight]]:
    """Say how every weight of the released model comes about; nothing is read yet.

    Args:
        parts: The authors' files, checked (`check_parts`).
        clip: The image encoder.
        rows: LLaVA's vocabulary rows.
        shapes: The model's weights, with LoRA.
        merge_lora: Whether LoRA is multiplied into the projections.

    Returns:
        The weights of each part: mllm, qformer, bim and unet.

    Raises:
        ReleasedError: The image encoder does not fit.
    """
    weights: dict[str, list[Weight]] = {}
    for files in parts.files:
        for where, name in placed(files)[0].items():
            ingredient, entry = Ingredient(files=files, name=name), files.entries[name]
            replaced = where in _LLAVA_NAMES
            weight = rows.replacing(where, ingredient, entry) if replaced else copied(where.name, ingredient, entry)
            weights.setdefault(where.part, []).append(weight)
    weights["mllm"] += image_encoder(clip, shapes)
    if merge_lora:
        weights["mllm"] = _merged(weights["mllm"], parts.lora.alpha / parts.lora.rank)
    return weights


def without_lora(config: ModelConfig) -> ModelConfig:
    """The same sizes, with LoRA merged."""
    return replace(config, mllm=replace(config.mllm, lora=None))


def copied(name: str, ingredient: Ingredient, entry: TensorEntry) -> Weight:
    """A weight that is taken as it is."""
    return Weight(name=name, shape=entry.shape, dtype=entry.dtype, ingredients=(ingredient,), make=lambda read: read[0])


def image_encoder(clip: WeightFiles, shapes: Mapping[Place, Shape]) -> list[Weight]:
    """CLIP's image side; its text side and its projections are not part of the model.

    Raises:
        ReleasedError: Weights are missing or misshapen; all are listed.
    """
    wanted = {where: shape for where, shape in shapes.items() if ".vision_tower." in where.name}
    found = {}
    for name, entry in clip.entries.items():
        try:
            where = place(f"vision_tower.{name}")
        except UnknownNameError:
            continue
        if where in wanted and where is not None:
            found[where] = (name, entry)
    faults = [f"{where.name} is missing" for where in wanted.keys() - found.keys()]
    faults += [
        f"{name} has shape {list(entry.shape)}, wanted is {list(wanted[where])}"
        for where, (name, entry) in found.items()
        if entry.shape != wanted[where]
    ]
    if faults:
        raise ReleasedError("\n  ".join([f"--clip {clip.place}: {len(faults)} weights do not fit:", *sorted(faults)]))
    return [copied(where.name, Ingredient(files=clip, name=name), entry) for where, (name, entry) in found.items()]


def _merged(weights: Sequence[Weight], scale: float) -> list[Weight]:
    """W + scale * B A in place of the projections with adapters."""
    by_name = {weight.name: weight for weight in weights}
    merged = []
    for weight in weights:
        if weight.name.endswith(_LORA_NAMES):
            continue
        if ".base_layer." in weight.name:
            stem, kind = weight.name.split(".base_layer.")
            factors = [by_name[f"{stem}.{name}"] for name in _LORA_NAMES]
            ingredients = (*weight.ingredients, *(i for factor in factors for i in factor.ingredients))
            weight = replace(weight, name=f"{stem}.{kind}", ingredients=ingredients, make=_adding(scale))
        merged.append(weight)
    return merged


def _adding(scale: float) -> "Callable[[Sequence[Tensor]], Tensor]":
    """Adds the adapters' product to a projection, in float32."""

    def make(read: "Sequence[Tensor]") -> "Tensor":
        base, a, b = read
        return (base.float() + scale * (b.float() @ a.float())).to(base.dtype)

    return make
