"""The folder that a conversion writes: claimed by a record, filled part by part, `model_index.json` last."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from reason_edit.files import write_text
from smartedit.config.model import ModelConfig
from smartedit.model.released_shards import Weight, remove_leftovers, write_shards
from smartedit.model.released_sizes import clip_folder
from smartedit.model.released_sources import ReleasedError, ReleasedFolders

RECORD = "conversion.json"
UNFINISHED = ".tmp-"
_WHOLE_PARTS = {
    "tokenizer": "tokenizer_config.json",
    "scheduler": "scheduler_config.json",
    "vae": "config.json",
    "empty_text": "config.json",
}
"""Parts that are written at once, and the file of each that says they are whole."""


class Progress(Protocol):
    """Hears how far a conversion is."""

    def __call__(self, done: int, total: int) -> None:
        """Bytes that lie there, of all."""
        ...


def begin_folder(out: Path, record: dict[str, Any]) -> None:
    """Claim a folder for a conversion, or take up the one that was begun in it.

    Args:
        out: The folder.
        record: What makes two conversions the same.

    Raises:
        ReleasedError: It holds something else.
    """
    path = out / RECORD
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    if path.is_file():
        if path.read_text(encoding="utf-8") != text:
            raise ReleasedError(f"--out {out}: holds a conversion of other files or settings; name a new folder")
    elif out.exists() and any(out.iterdir()):
        raise ReleasedError(f"--out {out}: is not empty; name a new folder")
    remove_leftovers(out)
    write_text(path, text)


def write_weights(weights: dict[str, list[Weight]], out: Path, shard_bytes: int, progress: Progress | None) -> None:
    """Write every part's weights; shards that are there stay."""
    total = sum(weight.size for part in weights.values() for weight in part)
    done = 0

    def add(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(done, total)

    for part, of_part in weights.items():
        write_shards(of_part, out / part, shard_bytes=shard_bytes, progress=add)


def write_rest(folders: ReleasedFolders, config: ModelConfig, out: Path) -> None:
    """The parts' settings, tokenizer, autoencoder, empty text and scheduler; `model_index.json` last."""
    import torch

    from smartedit.inference.build import pipeline_of
    from smartedit.model.build import build_model

    tokenizer, vae, empty_text = _tokenizer(folders, config), _vae(folders), _empty_text(folders, config)
    with torch.device("meta"):
        model = build_model(config)
    for part in ("mllm", "qformer", "bim", "unet"):
        if getattr(model, part) is not None:
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
        return AutoencoderKL.from_pretrained(folders.instruct_diffusion / "vae", local_files_only=True)
    except OSError as error:
        raise ReleasedError(f"--instruct-diffusion {folders.instruct_diffusion}: no autoencoder ({error})") from error


def _empty_text(folders: ReleasedFolders, config: ModelConfig) -> Any:
    """The features of the empty text, from the text encoder beside the UNet, or CLIP's own, which is the same."""
    from transformers import CLIPTextModel

    from smartedit.model.text import EmptyText

    beside = folders.instruct_diffusion / "text_encoder"
    folder = beside if beside.is_dir() else clip_folder(folders)
    try:
        encoder = CLIPTextModel.from_pretrained(folder, local_files_only=True)
    except OSError as error:
        raise ReleasedError(f"{folder}: no CLIP text encoder ({error}); --instruct-diffusion needs one") from error
    return EmptyText.of(encoder, num_tokens=config.qformer.num_queries)
