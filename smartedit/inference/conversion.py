"""The authors' released files in, our checkpoint out; resumable, with no more than a shard in memory."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from reason_edit.files import write_text
from smartedit.config.model import ModelConfig
from smartedit.model.released_check import check_parts, shapes_of
from smartedit.model.released_files import WeightFiles, read_weight_files
from smartedit.model.released_shards import SHARD_BYTES, Weight, remove_leftovers, write_shards
from smartedit.model.released_sizes import clip_folder, read_sizes
from smartedit.model.released_sources import ReleasedError, ReleasedFolders, ReleasedParts, find_parts
from smartedit.model.released_weights import LlavaRows, plan, without_lora

RECORD = "conversion.json"
UNFINISHED = ".tmp-"
OTHER_WORDS = (
    "the model is asked in our words; it was trained with the system text and phrasings in the authors' repository, "
    "which --prompts FILE.toml takes (docs/released_checkpoints.md)"
)
_WHOLE_PARTS = {
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
    "vae": "config.json",
    "empty_text": "config.json",
}
"""Parts that are written at once, and the file of each that says they are whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """A checkpoint made of released files.

    Attributes:
        folder: The checkpoint.
        step: The training step of the released files.
        config: The model's sizes.
        notes: What was assumed or left out, in plain words.
    """

    folder: Path
    step: int
    config: ModelConfig
    notes: tuple[str, ...]


class Progress(Protocol):
    """Hears how far a conversion is."""

    def __call__(self, done: int, total: int) -> None:
        """Bytes that lie there, of all."""
        ...


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
    config = read_sizes(folders, parts.lora, settings.sizes or ModelConfig())
    if settings.prompts is not None:
        config = replace(config, prompts=str(settings.prompts))
    shapes = shapes_of(config)
    check_parts(parts, shapes, config)
    clip = read_weight_files(clip_folder(folders))
    llama = read_weight_files(folders.llama) if folders.llama is not None else None
    rows = LlavaRows(read_weight_files(folders.llava), llama, config)
    weights = plan(parts, clip, rows, shapes, merge_lora=settings.merge_lora)
    if settings.merge_lora:
        config = without_lora(config)
    if settings.dtype is not None:
        weights = {part: [replace(w, dtype=settings.dtype) for w in ws] for part, ws in weights.items()}
    _begin(out, _record(parts, [clip, rows.files, *([rows.base] if rows.base else [])], settings))
    _write_weights(weights, out, settings.shard_bytes, progress)
    _write_rest(folders, config, out)
    notes = parts.notes if settings.prompts is not None else (*parts.notes, OTHER_WORDS)
    return Conversion(folder=out, step=parts.step, config=config, notes=notes)


def _record(parts: ReleasedParts, others: list[WeightFiles], settings: ConversionSettings) -> dict[str, Any]:
    """What makes two conversions the same: the files by name and size, and the choices."""
    files = {entry.file for source in (*parts.files, *others) for entry in source.entries.values()}
    return {
        "step": parts.step,
        "lora": {"rank": parts.lora.rank, "alpha": parts.lora.alpha, "merged": settings.merge_lora},
        "dtype": settings.dtype,
        "shard_bytes": settings.shard_bytes,
        "files": {f"{file.parent.name}/{file.name}": file.stat().st_size for file in sorted(files)},
    }


def _begin(out: Path, record: dict[str, Any]) -> None:
    path = out / RECORD
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise ReleasedError(f"--out {out}: holds a conversion of other files or settings; name a new folder")
    elif out.exists() and any(out.iterdir()):
        raise ReleasedError(f"--out {out}: is not empty; name a new folder")
    remove_leftovers(out)
    write_text(path, text)


def _write_weights(weights: dict[str, list[Weight]], out: Path, shard_bytes: int, progress: Progress | None) -> None:
    total = sum(weight.size for part in weights.values() for weight in part)
    done = 0

    def add(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    for part, of_part in weights.items():
        write_shards(of_part, out / part, shard_bytes=shard_bytes, progress=add)


def _write_rest(folders: ReleasedFolders, config: ModelConfig, out: Path) -> None:
    """The parts' settings, tokenizer, autoencoder, empty text and scheduler; `model_index.json` last."""
    import torch

    from smartedit.inference.build import pipeline_of
    from smartedit.model.build import build_model

    tokenizer, vae, empty_text = _tokenizer(folders, config), _vae(folders), _empty_text(folders, config)
    with torch.device("meta"):
        model = build_model(config)
    for part in ("mllm", "qformer", "bim", "unet"):
        _save_settings(getattr(model, part), out / part, "config.json")
    model.empty_text = empty_text
    pipeline = pipeline_of(config, model, vae, tokenizer)
    for part, last in _WHOLE_PARTS.items():
        with _folder(out / part, last) as temporary:
            getattr(pipeline, part).save_pretrained(temporary)
    _save_settings(pipeline, out, pipeline.config_name)


def _save_settings(part: Any, folder: Path, name: str) -> None:
    with _folder(folder, name) as temporary:
        part.save_config(temporary)


@contextmanager
def _folder(folder: Path, last: str) -> Iterator[Path]:
    """Yield a temporary folder whose files move into `folder` when they are whole, the one named `last` last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=UNFINISHED) as name:
        yield Path(name)
        for path in sorted(Path(name).iterdir(), key=lambda p: p.name == last):
            path.replace(folder / path.name)


def _tokenizer(folders: ReleasedFolders, config: ModelConfig) -> Any:
    from smartedit.model.build import ADDED_BESIDE_IMG
    from smartedit.model.tokenizer import add_img_tokens, load_tokenizer

    tokenizer = load_tokenizer(folders.vicuna)
    layout = add_img_tokens(tokenizer, config.mllm.num_img_tokens)
    wanted = config.mllm.language.vocab_size + ADDED_BESIDE_IMG + config.mllm.num_img_tokens
    if layout.vocab_size != wanted:
        raise ReleasedError(
            f"--vicuna {folders.vicuna}: with SmartEdit's tokens its tokenizer has {layout.vocab_size} tokens, the "
            f"weights have {wanted}; take the tokenizer of Vicuna v1.1 as it was published"
        )
    return tokenizer


def _vae(folders: ReleasedFolders) -> Any:
    from diffusers import AutoencoderKL

    try:
        return AutoencoderKL.from_pretrained(folders.instruct_diffusion / "vae")
    except OSError as error:
        raise ReleasedError(f"--instruct-diffusion {folders.instruct_diffusion}: no autoencoder ({error})") from error


def _empty_text(folders: ReleasedFolders, config: ModelConfig) -> Any:
    """The features of the empty text, from the text encoder beside the UNet, or CLIP's own, which is the same."""
    from transformers import CLIPTextModel

    from smartedit.model.text import EmptyText

    beside = folders.instruct_diffusion / "text_encoder"
    folder = beside if beside.is_dir() else clip_folder(folders)
    try:
        encoder = CLIPTextModel.from_pretrained(folder)
    except OSError as error:
        raise ReleasedError(f"{folder}: no CLIP text encoder ({error}); --instruct-diffusion needs one") from error
    return EmptyText.of(encoder, num_tokens=config.qformer.num_queries)
