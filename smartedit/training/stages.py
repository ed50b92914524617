"""The stages of training as one table: what trains, on which rows, by which losses (section 4.3; released code)."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smartedit.config.model import ModelConfig
from smartedit.config.training import SHIPPED_EDITOR, StageName
from smartedit.model.smartedit import SmartEdit
from smartedit.model.tokenizer import TokenLayout
from smartedit.training.sharding import like, local


class Rows(StrEnum):
    """What a stage reads of a manifest."""

    CAPTIONS = "captions"
    """Texts that describe a picture; the picture is not read."""
    EDITS = "edits"
    """Edits, segmentations to be painted, and conversations about a picture."""
    PAIRS = "pairs"
    """Edits and segmentations without conversations, for editors that read no language beyond the instruction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        trains: Names of `PARAMETER_GROUPS`.
        losses: What is added up, weight 1 each.
        rows: What it reads.
        interaction: Whether BIM takes part, where the model has one.
    """

    trains: tuple[str, ...]
    losses: tuple[str, ...]
    rows: Rows
    interaction: bool = False


STAGES: dict[StageName, Stage] = {
    StageName.ALIGN: Stage(trains=("token_rows", "qformer"), losses=("language", "alignment"), rows=Rows.CAPTIONS),
    StageName.JOINT: Stage(
        trains=("token_rows", "lora", "qformer", "unet"), losses=("language", "diffusion"), rows=Rows.EDITS
    ),
    StageName.FULL: Stage(
        trains=("token_rows", "lora", "qformer", "bim", "unet"),
        losses=("language", "diffusion"),
        rows=Rows.EDITS,
        interaction=True,
    ),
    StageName.BASELINE: Stage(trains=("unet",), losses=("diffusion",), rows=Rows.PAIRS),
}
"""The released code's parts; Table 2's plain model has no BIM, so that `full` goes on with what `joint` trained."""

EMBEDDING, HEAD = "embed_tokens.weight", "lm_head.weight"

PARAMETER_GROUPS: dict[str, Callable[[str], bool]] = {
    "token_rows": lambda name: name.startswith("mllm.") and name.endswith((EMBEDDING, HEAD)),
    "lora": lambda name: name.startswith("mllm.") and ".lora_" in name,
    "qformer": lambda name: name.startswith("qformer."),
    "bim": lambda name: name.startswith("bim."),
    "unet": lambda name: name.startswith("unet."),
}
"""Which parameters of `SmartEdit` belong to a group, by their names."""


class StageError(ValueError):
    """A model cannot be trained in a stage; the message says what it lacks."""


def read_settings(path: Path) -> Any:
    """What a `.json` file of a model holds.

    Raises:
        StageError: It holds no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise StageError(f"{path}: cannot be read ({error}); copy it anew") from error


def text_encoder_of(named: Path | str | None, stage: StageName, model: ModelConfig) -> Path | str | None:
    """What `align` learns: the named text encoder, the preset's checkpoint, or the one that its weights know.

    Args:
        named: A folder, a hub id or the name of weights that ship; None for the preset's.
        stage: Which stage.
        model: The preset's model.

    Returns:
        As named; None for other stages, which read none.

    Raises:
        StageError: `align`, and neither names any; another stage, and one is named.
    """
    if stage is not StageName.ALIGN:
        if named is not None:
            raise StageError(
                f"--text-encoder {named}: only stage align learns one; leave it out for stage {stage.value}"
            )
        return None
    found = named or model.text.checkpoint or (None if model.weights is None else SHIPPED_EDITOR)
    if found is None:
        raise StageError(
            "--text-encoder: stage align learns CLIP's features of captions; name its text model's folder or hub id, "
            "or set model.text.checkpoint"
        )
    return found


def check_mixture(asked: Sequence[str], stage: StageName) -> None:
    """Refuse a mixture for a stage that reads none; what the preset says of one is nobody's wish.

    Args:
        asked: The options that name one, as they were written.
        stage: Which stage.

    Raises:
        StageError: `align`, and one is named.
    """
    if asked and STAGES[stage].rows is Rows.CAPTIONS:
        raise StageError(f"{asked[0]}: stage {stage.value} draws all captions alike and reads no mixture; leave it out")


def choose_parameters(model: SmartEdit, stage: StageName) -> dict[str, nn.Parameter]:
    """Let exactly the parameters of a stage require gradients.

    Of the embedding and the output layer only the rows of the added tokens change, as in the released code. There the
    old rows are put back before each pass, but their gradients still count in the norm that is clipped and in Adam's
    state; here the old rows' gradients are forgotten (`forget_old_rows`).

    Args:
        model: The model, changed in place.
        stage: Which stage.

    Returns:
        The trained parameters by name, in the model's order.

    Raises:
        StageError: The model has no parameters of a group that the stage trains.
    """
    groups = [group for group in STAGES[stage].trains if group != "bim" or model.bim is not None]
    return choose_groups(model, groups, what=f"stage {stage}")


def choose_groups(model: nn.Module, groups: Sequence[str], *, what: str) -> dict[str, nn.Parameter]:
    """Let exactly the parameters of some groups require gradients.

    Args:
        model: With SmartEdit's names of parts, changed in place.
        groups: Keys of `PARAMETER_GROUPS`.
        what: Names what is trained, in an error.

    Returns:
        The trained parameters by name, in the model's order.

    Raises:
        StageError: The model has no parameters of a group.
    """
    trained: dict[str, nn.Parameter] = {}
    found = set()
    for name, parameter in model.named_parameters():
        group = next((g for g in groups if PARAMETER_GROUPS[g](name)), None)
        parameter.requires_grad_(group is not None)
        if group is not None:
            trained[name] = parameter
            found.add(group)
    missing = [group for group in groups if group not in found]
    if missing:
        raise StageError(f"{what} trains {', '.join(missing)}, and the model has none (model.mllm.lora?)")
    return trained


def to_train_mode(model: nn.Module, trained: Mapping[str, nn.Parameter]) -> None:
    """Let dropout act where something trains: not in the frozen image encoder, nor in adapters that are frozen."""
    model.train()
    adapts = any(".lora_" in name for name in trained)
    for name, module in model.named_modules():
        if "vision" in name or ("lora_" in name and not adapts):
            module.eval()


def added_tokens(layout: TokenLayout) -> list[int]:
    """The tokens that the language model did not come with."""
    return [layout.system_image, layout.image_start, layout.image_end, *layout.img_tokens]


def token_rows(trained: Mapping[str, Tensor]) -> list[Tensor]:
    """The embedding and the output layer, of parameters by name."""
    return [parameter for name, parameter in trained.items() if name.endswith((EMBEDDING, HEAD))]


def parameter_groups(trained: Mapping[str, Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Decay for all but the token rows: decay would also move the old rows, which have no gradient."""
    rows = token_rows(trained)
    others = [p for name, p in trained.items() if not name.endswith((EMBEDDING, HEAD))]
    groups = [{"params": others, "weight_decay": weight_decay}, {"params": rows, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def forget_old_rows(trained: Mapping[str, Tensor], added: Sequence[int]) -> None:
    """Let the rows of the tokens that the language model came with have no gradient, in the norm either.

    Args:
        trained: Parameters by name, after the backward pass.
        added: The tokens whose rows change.
    """
    for parameter in token_rows(trained):
        if parameter.grad is None:
            continue
        gradient = local(parameter.grad)
        gradient *= local(like(added_rows(parameter, added), parameter.grad)).to(gradient.device)


def added_rows(parameter: Tensor, added: Sequence[int]) -> Tensor:
    """Which rows of an embedding or output layer change: [rows, 1] of bool.

    Args:
        parameter: [rows, width].
        added: The tokens whose rows change.
    """
    rows = torch.zeros(len(parameter), 1, dtype=torch.bool)
    rows[list(added)] = True
    return rows
