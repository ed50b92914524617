"""Tools by name: the only place that knows which class stands behind a name and where its weights are."""

import importlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from smartedit.config.synthesis import (
    GrounderConfig,
    InpainterConfig,
    ScorerConfig,
    SegmenterConfig,
    SynthesisConfig,
    WriterConfig,
)
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


NO_CUT_OUTS = (
    "exemplar: no cut-outs; give annotated pictures with whole, uncovered things, or set the replacer's bank to a "
    "folder <kind>/*.png"
)


def check_tools(config: SynthesisConfig) -> None:
    """Refuse, before anything is done, tools that can never be built; weights are looked at when they are loaded.

    Args:
        config: What names the tools.

    Raises:
        ToolUnavailable: Unknown name, a module that cannot be imported, or no ground truth or cut-outs where a tool
            works with them.
    """
    located: dict[str, GrounderConfig | SegmenterConfig | None] = {
        "grounder": config.grounder,
        "segmenter": config.segmenter,
        "scorer.regrounder": config.scorer.regrounder,
    }
    tables = {"grounder": _GROUNDERS, "segmenter": _SEGMENTERS, "scorer.regrounder": _GROUNDERS}
    for part, tool in located.items():
        if tool is not None:
            _check_name(part, tool.name, tables[part])
            if tool.name == "annotations" and config.pictures.annotations is None:
                _need_truth(None, part)
    _check_name("replacer", config.replacer.name, _INPAINTERS)
    _check_name("remover", config.remover.name, _INPAINTERS)
    if config.replacer.name == "exemplar" and config.replacer.bank is None and config.pictures.annotations is None:
        raise ToolUnavailable(NO_CUT_OUTS)
    _check_name("writer", config.writer.name, _WRITERS)
    _check_clues(config.writer)


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
    grounder: Grounder = _builder(config.name, _GROUNDERS)(config)
    return grounder


def build_segmenter(config: SegmenterConfig, truth: CocoAnnotations | None) -> Segmenter:
    """The segmenter of a name; raises as `build_grounder` does."""
    if config.name == "annotations":
        return _need_truth(truth, "segmenter")
    segmenter: Segmenter = _builder(config.name, _SEGMENTERS)(config)
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
            raise ToolUnavailable(NO_CUT_OUTS)
        return ExemplarInpainter(bank, radius=config.radius)
    inpainter: Inpainter = _builder(config.name, _INPAINTERS)(config)
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
    writer: InstructionWriter = _builder(config.name, _WRITERS)(config)
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
    _check_clues(config)
    from smartedit.tools.llm_writer import ClueWriter

    folder = Path(config.cache) if config.cache else cache
    model = build_language_model(config) if language_model is None else language_model()
    return ClueWriter(model, cache=folder, count=config.extra_clues, give_up_after=config.give_up_after)


def _check_clues(config: WriterConfig) -> None:
    if config.extra_clues and config.name not in ("endpoint", "transformers"):
        raise ToolUnavailable(
            f"writer.extra_clues needs a language model, endpoint or transformers, not {config.name!r}"
        )


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


def _check_name(part: str, name: str, known: Mapping[str, Callable[[Any], Any]]) -> None:
    try:
        _builder(name, known)
    except ToolUnavailable as error:
        raise ToolUnavailable(f"{part}: {error}") from error


def _builder(name: str, known: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    if name in known:
        return known[name]
    if ":" in name:
        return _from_outside(name)
    raise ToolUnavailable(f"no tool {name!r}; known are {', '.join(sorted(known))}, or write package.module:factory")


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


def _elsewhere(config: Any) -> Any:
    """Stands for a tool that its `build_` function makes, of more than its configuration."""
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


_Builders = dict[str, Callable[[Any], Any]]
_GROUNDERS: _Builders = {
    "annotations": _elsewhere,
    "groundingdino": _groundingdino,
    "grounding-dino-hf": _grounding_dino_hf,
}
_SEGMENTERS: _Builders = {"annotations": _elsewhere, "sam": _sam, "sam-hf": _sam_hf}
_INPAINTERS: _Builders = {"exemplar": _elsewhere, "opencv": _opencv, "diffusion": _diffusion}
_WRITERS: _Builders = {"template": _elsewhere, "endpoint": _elsewhere, "transformers": _elsewhere}
