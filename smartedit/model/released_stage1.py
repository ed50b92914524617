"""The authors' first training stage as the start of the second: the converter that their release lacks.

Stage 1 adds 33 tokens (`<img>`, then the [IMG] tokens), stage 2 has 35: `<im_start>` and `<im_end>` come in between, so
that every [IMG] row moves by two. The language model's own layers come from LLaVA, the denoiser from InstructDiffusion;
adapters start anew and BIM comes with the stage `full`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from smartedit.config.model import Interaction, ModelConfig
from smartedit.model.layout import Place, UnknownNameError, place
from smartedit.model.released_check import LayoutError, LayoutFault, Shape
from smartedit.model.released_files import WeightFiles
from smartedit.model.released_shards import Ingredient, Weight
from smartedit.model.released_sources import ReleasedError
from smartedit.model.released_weights import EMBEDDING, OUTPUT, LlavaRows, copied, image_encoder

if TYPE_CHECKING:
    from torch import Tensor

_ROWS = {"model.embed_tokens.weight": EMBEDDING, "lm_head.weight": OUTPUT}
_TRAINED = ("qformer.", "query_tokens")


def without_bim(config: ModelConfig) -> ModelConfig:
    """The same sizes before BIM comes in."""
    return replace(config, bim=replace(config.bim, interaction=Interaction.PLAIN))


def plan_stage1(
    stage1: WeightFiles,
    llava: LlavaRows,
    clip: WeightFiles,
    unet: WeightFiles,
    shapes: Mapping[Place, Shape],
    config: ModelConfig,
) -> dict[str, list[Weight]]:
    """Say how every weight of the second stage's start comes about.

    Args:
        stage1: The checkpoint of stage 1: QFormer, queries, embedding and output layer.
        llava: LLaVA, whose layers, projector and rows are used.
        clip: The image encoder.
        unet: InstructDiffusion's UNet, of 8 input channels.
        shapes: The model's weights, without BIM.
        config: The model's sizes.

    Raises:
        ReleasedError: An ingredient lacks something.
        LayoutError: Weights are missing or misshapen; all are listed.
    """
    weights: dict[Place, Weight] = {}
    for name, entry in stage1.entries.items():
        if name.startswith(_TRAINED):
            where = place(name)
            if where is not None:
                weights[where] = copied(where.name, Ingredient(files=stage1, name=name), entry)
    for name, where in _ROWS.items():
        weights[where] = _rows(name, where, stage1, llava, config)
    for where, weight in _language(llava):
        weights.setdefault(where, weight)
    for weight in image_encoder(clip, shapes):
        weights[Place(part="mllm", name=weight.name)] = weight
    for name, entry in unet.entries.items():
        weights[Place(part="unet", name=name)] = copied(name, Ingredient(files=unet, name=name), entry)
    for where, shape in shapes.items():
        if ".lora_" in where.name:
            weights[where] = _new_adapter(where.name, shape)
    _check(weights, shapes, stage1, llava.files, unet)
    parts: dict[str, list[Weight]] = {}
    for where, weight in weights.items():
        parts.setdefault(where.part, []).append(weight)
    return parts


def _rows(name: str, where: Place, stage1: WeightFiles, llava: LlavaRows, config: ModelConfig) -> Weight:
    """LLaVA's plain rows; `<img>` of stage 1; LLaVA's `<im_start>` and `<im_end>`; the [IMG] rows of stage 1."""
    plain, num_img = config.mllm.language.vocab_size, config.mllm.num_img_tokens
    entry = stage1.entries.get(name)
    if entry is None or entry.shape[0] != plain + 1 + num_img:
        found = "is missing" if entry is None else f"has {entry.shape[0]} rows"
        wanted = f"the first stage has {plain} + 1 + {num_img}"
        raise ReleasedError(f"--stage1 {stage1.place}: {name} {found}; {wanted} (a released one goes to --released)")
    own = llava.files.entries[name].shape[0]
    if own < plain + 3:
        raise ReleasedError(
            f"--llava {llava.files.place}: {name} has {own} rows; LLaVA v1.1 has {plain + 3}, of which the last two "
            "are <im_start> and <im_end>"
        )
    sources = [stage1, llava.files] + ([llava.base] if llava.base is not None else [])

    def make(read: "Sequence[Tensor]") -> "Tensor":
        import torch

        trained, theirs, *base = read
        rows = theirs[: plain + 3]
        if base:
            rows = torch.cat([rows[:plain] + base[0][:plain].to(rows.dtype), rows[plain:]])
        rows = rows.float()
        trained = trained.float()
        return torch.cat([rows[:plain], trained[plain : plain + 1], rows[plain + 1 :], trained[plain + 1 :]])

    shape = (plain + 3 + num_img, entry.shape[1])
    ingredients = tuple(Ingredient(files=source, name=name) for source in sources)
    return Weight(name=where.name, shape=shape, dtype="float32", ingredients=ingredients, make=make)


def _language(llava: LlavaRows) -> Iterator[tuple[Place, Weight]]:
    """The decoder's layers in bfloat16, as they are released, and the projector."""
    for name, entry in llava.files.entries.items():
        released = name.removeprefix("model.")
        if not released.startswith("mm_projector."):
            released = name.replace("model.", "model.base_model.model.", 1)
        try:
            where = place(released)
        except UnknownNameError:
            continue
        if where is None or where.part != "mllm" or where in _ROWS.values():
            continue
        dtype = "float32" if "mm_projector" in name else "bfloat16"
        ingredients = [Ingredient(files=llava.files, name=name)]
        if llava.base is not None and name in llava.base.entries:
            ingredients.append(Ingredient(files=llava.base, name=name))
        yield (
            where,
            Weight(name=where.name, shape=entry.shape, dtype=dtype, ingredients=tuple(ingredients), make=_summed),
        )


def _summed(read: "Sequence[Tensor]") -> "Tensor":
    first, *rest = read
    return first + rest[0].to(first.dtype) if rest else first


def _new_adapter(name: str, shape: Shape) -> Weight:
    """As peft starts adapters: A at random, B zero, so that they change nothing."""
    return Weight(name=name, shape=shape, dtype="bfloat16", ingredients=(), make=_start(name, shape))


def _start(name: str, shape: Shape) -> "Callable[[Sequence[Tensor]], Tensor]":
    def make(read: "Sequence[Tensor]") -> "Tensor":
        import torch

        from smartedit.seeding import seed_from

        if ".lora_B." in name:
            return torch.zeros(shape)
        bound = shape[1] ** -0.5
        generator = torch.Generator().manual_seed(seed_from("stage1", name))
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    return make


def _check(
    weights: Mapping[Place, Weight],
    shapes: Mapping[Place, Shape],
    stage1: WeightFiles,
    llava: WeightFiles,
    unet: WeightFiles,
) -> None:
    homes = {"qformer": stage1, "mllm": llava, "unet": unet}
    faults = []
    for where in sorted(shapes.keys() | weights.keys(), key=str):
        if where.part not in homes:
            continue
        file = homes[where.part].place
        if where not in weights:
            faults.append(LayoutFault(file=file, name=where.name, fault="missing"))
        elif where not in shapes:
            faults.append(LayoutFault(file=file, name=where.name, fault="unexpected"))
        elif weights[where].shape != shapes[where]:
            wrong = f"has shape {list(weights[where].shape)}, the model wants {list(shapes[where])}"
            faults.append(LayoutFault(file=file, name=where.name, fault=wrong))
    if faults:
        raise LayoutError(faults, [])
