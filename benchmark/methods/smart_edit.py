"""SmartEdit as methods of the benchmark: the 7B and 13B checkpoints by their usual names, and any other by folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from benchmark.methods.specs import MethodError, MethodSpec, Setting, Tag
from benchmark.methods.weights import find_weights, weights_description
from smartedit.editing import Editor


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SmartEditOptions:
    """Settings of a SmartEdit checkpoint."""

    model: str
    """Folder or hub id of a checkpoint (`smartedit convert` or `smartedit train` writes one)."""
    revision: str | None = None
    """Revision of a hub id."""
    steps: int | None = Field(default=None, ge=1)
    """Denoising steps; None for the checkpoint's own, 100 in the released form."""
    guidance_scale: float | None = Field(default=None, ge=1)
    """Text guidance; None for the checkpoint's own, 7.5 in the released form."""
    image_guidance_scale: float | None = Field(default=None, ge=1)
    """Image guidance; None for the checkpoint's own, 1.5 in the released form."""
    square: bool = True
    """Squash pictures into the trained square, as the authors' evaluation does; else keep the aspect ratio."""
    speak: bool = False
    """Let the model answer freely, as the authors do, and keep its answer; slower."""
    precision: Literal["float32", "bfloat16", "float16", "8-bit", "4-bit"] | None = None
    """How weights are held; None for bfloat16 on a GPU and float32 on the CPU."""
    offload: bool | None = None
    """Keep one part at a time on the device; None for what fits."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CompositedOptions(SmartEditOptions):
    """Settings of a SmartEdit checkpoint whose result gets the original back where little changed."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SmartEdit7BOptions(SmartEditOptions):
    """Settings of SmartEdit-7B."""

    model: str = "./checkpoints/smartedit-7b"
    """Folder or hub id of the converted checkpoint; the released files themselves want `smartedit convert` first."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SmartEdit13BOptions(SmartEditOptions):
    """Settings of SmartEdit-13B."""

    model: str = "./checkpoints/smartedit-13b"
    """Folder or hub id of the converted checkpoint; the released files themselves want `smartedit convert` first."""


def _build(options: SmartEditOptions, setting: Setting) -> Editor:
    from smartedit.inference.editor import SmartEditEditor
    from smartedit.inference.loading import LoadSettings, load_pipeline, quiet_libraries
    from smartedit.inference.memory import Precision

    folder = _find(options)
    quiet_libraries()
    precision = None if options.precision is None else Precision(options.precision)
    load = LoadSettings(device=setting.device, precision=precision, offload=options.offload)
    try:
        pipeline = load_pipeline(folder, load)
    except (ValueError, OSError) as error:
        raise MethodError(f"{options.model}: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return SmartEditEditor(
        pipeline=pipeline,
        square=options.square,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance_scale,
        image_guidance_scale=options.image_guidance_scale,
        keep_original=isinstance(options, CompositedOptions),
        speak=options.speak,
    )


def _find(options: SmartEditOptions) -> Path:
    try:
        return find_weights(options.model, revision=options.revision)
    except MethodError as error:
        raise MethodError(f"{error} (`smartedit convert` makes one of the released weights)") from error


def _describe(options: SmartEditOptions) -> Mapping[str, Any]:
    _find(options)
    return weights_description(options.model, options.revision)


def _spec(name: str, summary: str, options: type[SmartEditOptions], *more: Tag) -> MethodSpec:
    return MethodSpec(
        name=name,
        summary=summary,
        tags=(Tag.DIRECT, *more),
        options=options,
        build=_build,
        batched=True,
        describe=_describe,
    )


SMART_EDIT = _spec("smart-edit", "SmartEdit (CVPR 2024); --model takes a folder or hub id.", SmartEditOptions)
SMARTEDIT_7B = _spec("smartedit-7b", "SmartEdit-7B, converted by `smartedit convert`.", SmartEdit7BOptions)
SMARTEDIT_13B = _spec("smartedit-13b", "SmartEdit-13B, converted by `smartedit convert`.", SmartEdit13BOptions)
SMART_EDIT_COMPOSITED = _spec(
    "smart-edit-composited",
    "SmartEdit with the original put back where little changed.",
    CompositedOptions,
    Tag.COMPOSITING,
)
