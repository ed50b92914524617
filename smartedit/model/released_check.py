"""Compares the authors' files with the model that they belong to: missing, unexpected and misshapen weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smartedit.config.model import ModelConfig
from smartedit.model.layout import Place, UnknownNameError, place
from smartedit.model.released_files import WeightFiles
from smartedit.model.released_sources import ReleasedError, ReleasedParts

Shape = tuple[int, ...]
_KNOWN_ROWS = {
    32000: "plain Vicuna's, without SmartEdit's 35 added tokens",
    32003: "LLaVA's own, with 3 added tokens: this is not SmartEdit's file",
    32033: "those of the authors' first training stage, which adds 33 tokens",
    32035: "those of the released models",
}
_KNOWN_WIDTHS = {4096: "7B", 5120: "13B"}


@dataclass(frozen=True, kw_only=True, slots=True)
class LayoutFault:
    """One weight that does not fit.

    Attributes:
        file: Where it is, or should be.
        name: Its name there; ours where it is missing.
        fault: `missing`, `unexpected`, or the two shapes.
    """

    file: Path
    name: str
    fault: str

    def __str__(self) -> str:
        return f"{self.file}: {self.name}: {self.fault}"


class LayoutError(ReleasedError):
    """Released files do not fit the model.

    Attributes:
        faults: All of them.
        hints: What they look like.
    """

    def __init__(self, faults: list[LayoutFault], hints: list[str]) -> None:
        self.faults, self.hints = faults, hints
        lines = [f"{len(faults)} weights do not fit:", *(f"  {fault}" for fault in faults)]
        super().__init__("\n".join([*hints, *lines]))


def shapes_of(config: ModelConfig) -> dict[Place, Shape]:
    """Every weight of a model and its shape, without memory for its values."""
    import torch

    from smartedit.model.build import build_model

    with torch.device("meta"):
        model = build_model(config)
    return {
        Place(part=part, name=name): tuple(tensor.shape)
        for part, module in model.named_children()
        for name, tensor in module.state_dict().items()
    }


def placed(files: WeightFiles) -> tuple[dict[Place, str], list[LayoutFault]]:
    """Our place of every weight of a released file, and the names that belong to none."""
    places: dict[Place, str] = {}
    unknown = []
    for name, entry in files.entries.items():
        try:
            where = place(name)
        except UnknownNameError:
            unknown.append(LayoutFault(file=entry.file, name=name, fault="unexpected"))
        else:
            if where is not None:
                places[where] = name
    return places, unknown


def check_parts(parts: ReleasedParts, shapes: Mapping[Place, Shape], config: ModelConfig) -> None:
    """Hold every weight of the four files against the model.

    Args:
        parts: The files.
        shapes: The model's weights (`shapes_of`).
        config: The model's sizes, for the hints.

    Raises:
        LayoutError: Something is missing, unexpected or of another shape; all of it is listed.
    """
    faults: list[LayoutFault] = []
    seen: set[Place] = set()
    for files in parts.files:
        places, unknown = placed(files)
        faults += unknown
        seen |= places.keys()
        for where, name in places.items():
            entry = files.entries[name]
            if where not in shapes:
                faults.append(LayoutFault(file=entry.file, name=name, fault="unexpected"))
            elif shapes[where] != entry.shape:
                wrong = f"has shape {list(entry.shape)}, the model wants {list(shapes[where])}"
                faults.append(LayoutFault(file=entry.file, name=name, fault=wrong))
    for where in sorted(shapes.keys() - seen, key=str):
        file = _home(where, parts)
        if file is not None:
            faults.append(LayoutFault(file=file, name=f"{where.part}.{where.name}", fault="missing"))
    if faults:
        raise LayoutError(faults, _hints(parts, config))


def _home(where: Place, parts: ReleasedParts) -> Path | None:
    """The file that should hold a weight; None for what the authors' files do not hold."""
    if where.part == "mllm":
        if ".vision_tower." in where.name:
            return None
        return (parts.language if ".language_model." in where.name else parts.qformer).place
    homes = {"qformer": parts.qformer, "unet": parts.unet, "bim": parts.bim}
    return homes[where.part].place if where.part in homes else None


def _hints(parts: ReleasedParts, config: ModelConfig) -> list[str]:
    """What usually lies behind wrong shapes."""
    embedding = parts.language.entries.get("model.base_model.model.embed_tokens.weight")
    if embedding is None or len(embedding.shape) != 2:
        return []
    rows, width = embedding.shape
    hints = []
    wanted_rows = config.mllm.language.vocab_size + 3 + config.mllm.num_img_tokens
    if rows != wanted_rows:
        known = f" ({_KNOWN_ROWS[rows]})" if rows in _KNOWN_ROWS else ""
        hints.append(f"{embedding.file}: {rows} rows of vocabulary{known}, the model has {wanted_rows}")
    wanted_width = config.mllm.language.hidden_size
    if width != wanted_width:
        sizes = [_KNOWN_WIDTHS.get(n, f"width {n}") for n in (width, wanted_width)]
        hints.append(
            f"{embedding.file} is of a {sizes[0]} model, --vicuna of a {sizes[1]} model: take both of one size"
        )
    return hints
