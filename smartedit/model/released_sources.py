"""Finds the authors' files, and says what else a released checkpoint is put together from."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartedit.config.model import LoraConfig
from smartedit.model.released_files import WeightFiles, read_weight_files

LORA_ALPHA = 16
"""The released code's scale; the rank stands in the weights' shapes."""


class ReleasedError(ValueError):
    """A released checkpoint cannot be converted; the message names the file or option and the remedy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasedFolders:
    """Where the ingredients lie.

    Attributes:
        released: The authors' folder with `LLM-N`, `embeddings_qformer`, `unet-N` and `modulate-N`.
        vicuna: Vicuna v1.1: its config and tokenizer are read.
        llava: LLaVA v1.1: the first rows of embedding and output layer come from it.
        instruct_diffusion: InstructDiffusion (or InstructPix2Pix) in diffusers' form: UNet config, autoencoder, text
            encoder.
        clip: CLIP ViT-L/14 in transformers' form, the image encoder; None where the LLaVA folder holds it.
        llama: LLaMA, which LLaVA's published weights are a difference to; None where they are whole.
    """

    released: Path
    vicuna: Path
    llava: Path
    instruct_diffusion: Path
    clip: Path | None = None
    llama: Path | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleasedParts:
    """The authors' four files of one training step.

    Attributes:
        step: N.
        language: `LLM-N`.
        qformer: `embeddings_qformer`, with output layer and projector.
        unet: `unet-N`.
        bim: `modulate-N`.
        lora: Rank and scale of the adapters.
        notes: What was assumed.
    """

    step: int
    language: WeightFiles
    qformer: WeightFiles
    unet: WeightFiles
    bim: WeightFiles
    lora: LoraConfig
    notes: tuple[str, ...]

    @property
    def files(self) -> tuple[WeightFiles, ...]:
        """All four."""
        return self.language, self.qformer, self.unet, self.bim


def find_parts(released: Path, step: int | None = None) -> ReleasedParts:
    """Find the authors' files.

    Args:
        released: Their folder.
        step: N; None for the largest of which there are all files.

    Raises:
        ReleasedError: A file is missing; all missing ones are named.
        WeightFileError: A file cannot be read.
    """
    if not released.is_dir():
        raise ReleasedError(f"--released {released}: there is no such folder")
    found = {
        int(m[1])
        for path in released.rglob("*")
        if (m := re.search(r"(?:LLM|unet|modulate|checkpoint)-(\d+)", path.name))
    }
    if not found:
        raise ReleasedError(f"--released {released}: holds neither LLM-N nor unet-N, embeddings_qformer or modulate-N")
    missing = {n: [path for path in _paths(released, n) if not path.is_file()] for n in found}
    chosen = step if step is not None else max(found, key=lambda n: (-len(missing[n]), n))
    lacking = missing.get(chosen, _paths(released, chosen))
    if lacking:
        names = ", ".join(str(path.relative_to(released)) for path in lacking)
        raise ReleasedError(
            f"--released {released}: of step {chosen} there is no {names}; steps begun: {sorted(found)}"
        )
    language, qformer, unet, bim = (read_weight_files(path) for path in _paths(released, chosen))
    lora, note = _lora(released, language)
    notes = (note,) if note else ()
    return ReleasedParts(step=chosen, language=language, qformer=qformer, unet=unet, bim=bim, lora=lora, notes=notes)


def _paths(released: Path, step: int) -> list[Path]:
    return [
        released / f"LLM-{step}" / "adapter_model.bin",
        released / "embeddings_qformer" / f"checkpoint-{step}_embeddings_qformer.bin",
        released / f"unet-{step}" / "adapter_model.bin",
        released / f"modulate-{step}" / "adapter_model.bin",
    ]


def _lora(released: Path, language: WeightFiles) -> tuple[LoraConfig, str | None]:
    """Rank from the weights, scale from `adapter_config.json`, which the release lacks."""
    ranks = {entry.shape[0] for name, entry in language.entries.items() if name.endswith("lora_A.default.weight")}
    if len(ranks) != 1:
        raise ReleasedError(
            f"{language.place}: {'no LoRA weights' if not ranks else f'LoRA of several ranks {sorted(ranks)}'}"
        )
    (rank,) = ranks
    path = released / "adapter_config.json"
    if not path.is_file():
        note = f"no adapter_config.json (it is not in the release): rank {rank} from the weights, alpha {LORA_ALPHA}"
        return LoraConfig(rank=rank, alpha=LORA_ALPHA), note
    settings = read_json(path)
    if settings.get("r", rank) != rank:
        raise ReleasedError(f"{path}: r is {settings['r']}, the weights have rank {rank}")
    targets = tuple(sorted(settings.get("target_modules", LoraConfig().target_modules)))
    return LoraConfig(rank=rank, alpha=settings.get("lora_alpha", LORA_ALPHA), target_modules=targets), None


def read_json(path: Path, option: str = "") -> dict[str, Any]:
    """A JSON file's object.

    Raises:
        ReleasedError: The file is missing or broken.
    """
    origin = f"{option} {path}".strip()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReleasedError(f"{origin}: {error.strerror or error}") from error
    except ValueError as error:
        raise ReleasedError(f"{origin}: broken JSON ({error})") from error
    if not isinstance(content, dict):
        raise ReleasedError(f"{origin}: not a JSON object")
    return content
