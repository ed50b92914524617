"""Tools by name: the only place that knows which class stands behind a name and where its weights are."""

import importlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from smartedit.config.synthesis import GrounderConfig, InpainterConfig, ScorerConfig, SegmenterConfig, WriterConfig
from smartedit.tools.annotations import CocoAnnotations
from smartedit.tools.exemplar_inpainter import CutOut, ExemplarInpainter
from smartedit.tools.protocols import (
    Grounder,
    ImageTextScorer,
    Inpainter,
    InstructionWriter,
    Segmenter,
    ToolUnavailable,
)

if TYPE_CHECKING:
    from smartedit.tools.language_models import LanguageModel
    from smartedit.tools.llm_writer import ClueWriter


def build_grounder(config: GrounderConfig, truth: CocoAnnotations | None) -> Grounder:
    """The grounder of a name.

    Args:
        config: The name and its settings.
        truth: Ground truth of the run's pictures, where there is one.

    Raises:
        ToolUnavailable: Unknown name, weights missing, or no ground truth.
    """
    if config.name == "annotations":
        return _need_truth(truth, "grounder")
    builder = _builder(config.name, {"groundingdino": _groundingdino, "grounding-dino-hf": _grounding_dino_hf})
    grounder: Grounder = builder(config)
    return grounder


def build_segmenter(config: SegmenterConfig, truth: CocoAnnotations | None) -> Segmenter:
    """The segmenter of a name; raises as `build_grounder` does."""
    if config.name == "annotations":
        return _need_truth(truth, "segmenter")
    segmenter: Segmenter = _builder(config.name, {"sam": _sam, "sam-hf": _sam_hf})(config)
    return segmenter


def build_inpainter(config: InpainterConfig, bank: Mapping[str, Sequence[CutOut]]) -> Inpainter:
    """The inpainter of a name.

    Args:
        config: The name and its settings.
        bank: Cut-outs by kind, for the exemplar inpainter.

    Raises:
        ToolUnavailable: Unknown name, weights missing, or an empty bank.
    """
    if config.name == "exemplar":
        if not bank:
            raise ToolUnavailable(
                "exemplar: no cut-outs; give annotated pictures with whole, uncovered things, or set bank to a folder "
                "<kind>/*.png"
            )
        return ExemplarInpainter(bank, radius=config.radius)
    inpainter: Inpainter = _builder(config.name, {"opencv": _opencv, "diffusion": _diffusion})(config)
    return inpainter


def build_language_model(config: WriterConfig) -> "LanguageModel":
    """The language model of a writer, for the writer and for what makes clues up.

    Raises:
        ToolUnavailable: Weights or an endpoint's address are missing.
    """
    from smartedit.tools.language_models import build_language_model

    with _in_plain_words("writer", config.model, config.device):
        return build_language_model(config)


def build_writer(
    config: WriterConfig, cache: Path, language_model: "Callable[[], LanguageModel] | None" = None
) -> InstructionWriter:
    """The writer of a name.

    Args:
        config: The name and its settings.
        cache: Where a language model's answers are kept, unless the configuration names another folder.
        language_model: Gives the model, where it serves others too; None to build one.

    Raises:
        ToolUnavailable: Unknown name, weights missing, or an endpoint's address missing.
    """
    if config.name == "template":
        from smartedit.tools.instruction_writer import TemplateWriter

        return TemplateWriter(config.count)
    if config.name in ("endpoint", "transformers"):
        from smartedit.tools.llm_writer import LanguageModelWriter

        folder = Path(config.cache) if config.cache else cache
        model = build_language_model(config) if language_model is None else language_model()
        return LanguageModelWriter(model, cache=folder, count=config.count, give_up_after=config.give_up_after)
    writer: InstructionWriter = _builder(config.name, {"template": _none, "endpoint": _none, "transformers": _none})(
        config
    )
    return writer


def build_clue_writer(
    config: WriterConfig, cache: Path, language_model: "Callable[[], LanguageModel] | None" = None
) -> "ClueWriter | None":
    """What makes further clues up, if that is wanted.

    Raises:
        ToolUnavailable: It is wanted, and the writer is no language model or cannot be built.
    """
    if not config.extra_clues:
        return None
    if config.name not in ("endpoint", "transformers"):
        raise ToolUnavailable(
            f"writer.extra_clues needs a language model, endpoint or transformers, not {config.name!r}"
        )
    from smartedit.tools.llm_writer import ClueWriter

    folder = Path(config.cache) if config.cache else cache
    model = build_language_model(config) if language_model is None else language_model()
    return ClueWriter(model, cache=folder, count=config.extra_clues, give_up_after=config.give_up_after)


def build_scorer(config: ScorerConfig) -> ImageTextScorer | None:
    """CLIP, if a model is configured; raises `ToolUnavailable` when it cannot be loaded."""
    if config.clip is None:
        return None
    from smartedit.tools.clip_scorer import ClipScorer

    with _in_plain_words("scorer", config.clip, config.device):
        return ClipScorer.load(config.clip, device=config.device)


@contextmanager
def _in_plain_words(part: str, model: str | None, device: str) -> Iterator[None]:
    """Broken weights, or a device that is not there, as a user's mistake, whatever the library makes of them.

    Raises:
        ToolUnavailable: The model cannot be loaded.
    """
    try:
        yield
    except (RuntimeError, AssertionError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        # The first sentence says what is wrong; what follows may advise to read files that nobody should trust.
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0]
        raise ToolUnavailable(f"{part}: {model!r} cannot be loaded on {device!r}: {cause}") from error


def _builder(name: str, known: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    if name in known:
        return known[name]
    if ":" in name:
        return _from_outside(name)
    names = ", ".join(sorted({"annotations", "exemplar", *known}))
    raise ToolUnavailable(f"no tool {name!r}; known are {names}, or write package.module:factory")


def _from_outside(name: str) -> Callable[[Any], Any]:
    module_name, _, attribute = name.partition(":")
    try:
        factory: Callable[[Any], Any] = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ToolUnavailable(f"tool {name!r}: {error}") from error
    return factory


def _need_truth(truth: CocoAnnotations | None, what: str) -> CocoAnnotations:
    if truth is None:
        raise ToolUnavailable(
            f"{what} 'annotations' needs pictures.annotations, a COCO detection file; or choose a model as {what}"
        )
    return truth


def _none(config: WriterConfig) -> InstructionWriter:
    raise AssertionError(config.name)


def _groundingdino(config: GrounderConfig) -> Grounder:
    from smartedit.tools.groundingdino import GroundingDinoGrounder

    with _in_plain_words("grounder", config.model, config.device):
        return GroundingDinoGrounder.load(config)


def _grounding_dino_hf(config: GrounderConfig) -> Grounder:
    from smartedit.tools.grounding_dino_hf import GroundingDinoHFGrounder

    with _in_plain_words("grounder", config.model, config.device):
        return GroundingDinoHFGrounder.load(config)


def _sam(config: SegmenterConfig) -> Segmenter:
    from smartedit.tools.sam import SamSegmenter

    with _in_plain_words("segmenter", config.model, config.device):
        return SamSegmenter.load(config)


def _sam_hf(config: SegmenterConfig) -> Segmenter:
    from smartedit.tools.sam_hf import SamHFSegmenter

    with _in_plain_words("segmenter", config.model, config.device):
        return SamHFSegmenter.load(config)


def _opencv(config: InpainterConfig) -> Inpainter:
    from smartedit.tools.opencv_inpainter import OpenCVInpainter

    return OpenCVInpainter(config.radius)


def _diffusion(config: InpainterConfig) -> Inpainter:
    from smartedit.tools.diffusion_inpainter import DiffusionInpainter

    with _in_plain_words("inpainter", config.model, config.device):
        return DiffusionInpainter.load(config)
