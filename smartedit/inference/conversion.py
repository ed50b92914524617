"""The authors' released files in, our checkpoint out; resumable, with no more than a shard in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reason_edit.files import file_sha256
from smartedit.config.model import LoraConfig, ModelConfig, as_released
from smartedit.inference.conversion_folder import Progress, begin_folder, write_rest, write_weights
from smartedit.model.released_check import check_parts, shapes_of
from smartedit.model.released_files import WeightFiles, read_weight_files
from smartedit.model.released_shards import SHARD_BYTES, Weight
from smartedit.model.released_sizes import clip_folder, read_sizes
from smartedit.model.released_sources import ReleasedFolders, find_parts
from smartedit.model.released_stage1 import plan_stage1, without_bim
from smartedit.model.released_weights import LlavaRows, plan, without_lora

OTHER_WORDS = (
    "the model is asked in our words; it was trained with the system text and phrasings in the authors' repository, "
    "which --prompts FILE.toml takes (docs/released_checkpoints.md)"
)
STAGE1_NOTE = "this is where the second training stage starts: its adapters are new and it has no BIM yet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """A checkpoint made of released files.

    Attributes:
        folder: The checkpoint.
        step: The training step of the released files; 0 where they are of the first stage.
        config: The model's sizes.
        notes: What was assumed or left out, in plain words.
    """

    folder: Path
    step: int
    config: ModelConfig
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversionSettings:
    """What can be chosen.

    Attributes:
        step: N of the released files; None for the last.
        merge_lora: Multiply LoRA into the projections; a merged model is a little faster and cannot train on.
        dtype: Dtype of all weights; None keeps the released ones (bfloat16 language model, float32 elsewhere).
        shard_bytes: Largest shard.
        prompts: A TOML file with the words that the model was trained with (`smartedit.model.prompts`); None for ours.
        sizes: Where the sizes of QFormer, BIM and sampling come from, which no config file of the ingredients states.
    """

    step: int | None = None
    merge_lora: bool = False
    dtype: str | None = None
    shard_bytes: int = SHARD_BYTES
    prompts: Path | None = None
    sizes: ModelConfig | None = None


def convert_released(
    folders: ReleasedFolders,
    out: Path,
    settings: ConversionSettings | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Convert a released checkpoint.

    Everything is checked before anything is written. A killed conversion goes on where it was when the same command
    runs again.

    Args:
        folders: The ingredients.
        out: The checkpoint's folder: new, empty, or of the same conversion.
        settings: What can be chosen.
        progress: Hears how far it is.

    Raises:
        ReleasedError: An ingredient is missing or does not fit (`LayoutError` lists the weights), or `out` holds
            something else.
        WeightFileError: A file cannot be read.
    """
    settings = settings or ConversionSettings()
    parts = find_parts(folders.released, settings.step)
    config = _with_prompts(read_sizes(folders, parts.lora, settings.sizes or ModelConfig()), settings)
    shapes = shapes_of(config)
    check_parts(parts, shapes, config)
    clip, rows = _clip_and_llava(folders, config)
    weights = plan(parts, clip, rows, shapes, merge_lora=settings.merge_lora)
    if settings.merge_lora:
        config = without_lora(config)
    _write(weights, folders, config, out, settings, [*parts.files, clip, *rows.sources], progress)
    return Conversion(folder=out, step=parts.step, config=config, notes=(*parts.notes, *_other_words(settings)))


def convert_stage1(
    stage1: Path,
    folders: ReleasedFolders,
    out: Path,
    settings: ConversionSettings | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Make a checkpoint for the second training stage of the authors' first (`smartedit.model.released_stage1`).

    Args:
        stage1: Its file, or the folder with it.
        folders: The ingredients; `released` is not read, and of InstructDiffusion the UNet's weights are, too.
        out: The checkpoint's folder.
        settings: What can be chosen; `step` and `merge_lora` do not apply.
        progress: Hears how far it is.

    Raises:
        ReleasedError: As in `convert_released`.
        WeightFileError: A file cannot be read.
    """
    settings = settings or ConversionSettings()
    usual = settings.sizes or ModelConfig()
    lora = as_released(usual).mllm.lora or LoraConfig(rank=8, alpha=16)
    config = _with_prompts(without_bim(read_sizes(folders, lora, usual)), settings)
    clip, rows = _clip_and_llava(folders, config)
    trained, unet = read_weight_files(stage1), read_weight_files(folders.instruct_diffusion / "unet")
    weights = plan_stage1(trained, rows, clip, unet, shapes_of(config), config)
    _write(weights, folders, config, out, settings, [trained, clip, unet, *rows.sources], progress)
    return Conversion(folder=out, step=0, config=config, notes=(STAGE1_NOTE, *_other_words(settings)))


def _with_prompts(config: ModelConfig, settings: ConversionSettings) -> ModelConfig:
    return config if settings.prompts is None else replace(config, prompts=str(settings.prompts))


def _other_words(settings: ConversionSettings) -> tuple[str, ...]:
    return (OTHER_WORDS,) if settings.prompts is None else ()


def _clip_and_llava(folders: ReleasedFolders, config: ModelConfig) -> tuple[WeightFiles, LlavaRows]:
    clip = read_weight_files(clip_folder(folders))
    llama = read_weight_files(folders.llama) if folders.llama is not None else None
    return clip, LlavaRows(read_weight_files(folders.llava), llama, config)


def _write(
    weights: dict[str, list[Weight]],
    folders: ReleasedFolders,
    config: ModelConfig,
    out: Path,
    settings: ConversionSettings,
    sources: Sequence[WeightFiles],
    progress: Progress | None,
) -> None:
    """Write everything; nothing was written before, and all that can be wrong with the ingredients was looked for."""
    if settings.dtype is not None:
        weights = {part: [replace(w, dtype=settings.dtype) for w in ws] for part, ws in weights.items()}
    begin_folder(out, _record(sources, config, settings))
    write_weights(weights, out, settings.shard_bytes, progress)
    write_rest(folders, config, out)


def _record(sources: Sequence[WeightFiles], config: ModelConfig, settings: ConversionSettings) -> dict[str, Any]:
    """What makes two conversions the same: the files by name and size, and the choices."""
    files = {entry.file for source in sources for entry in source.entries.values()}
    lora = config.mllm.lora
    return {
        "lora": None if lora is None else {"rank": lora.rank, "alpha": lora.alpha},
        "dtype": settings.dtype,
        "shard_bytes": settings.shard_bytes,
        "prompts": None if settings.prompts is None else file_sha256(settings.prompts),
        "files": {f"{file.parent.name}/{file.name}": file.stat().st_size for file in sorted(files)},
    }
