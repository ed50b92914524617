"""One editor for every row of `modern_table.py`: pictures come to size, through the pipeline, and back."""

import dataclasses
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from benchmark.methods.editing_pipeline import EditingPipeline, ResolutionPolicy
from benchmark.methods.modern_loading import Dtype, LoadOptions, Offload, Quantization, load_pipeline
from benchmark.methods.modern_table import EDITING_PIPELINES
from benchmark.methods.resolution import to_working_size, working_size
from benchmark.methods.specs import MethodError, MethodSpec, Setting, Tag
from benchmark.methods.weights import PIPELINE_FILES, weights_description
from smartedit.editing import EditRequest, EditResult
from smartedit.seeding import torch_generators


def options_type(row: EditingPipeline) -> type[Any]:
    """The settings of a row's method, with the row's numbers as defaults.

    Args:
        row: A pipeline of the table.

    Returns:
        A pydantic dataclass that refuses unknown settings.
    """
    model = row.checkpoint.model
    fields: list[Any] = [
        ("model", str) if model is None else ("model", str, model),
        ("revision", str | None, None),
        ("steps", int, Field(default=row.steps, ge=1)),
        ("resolution", ResolutionPolicy, row.resolution),
        ("dtype", Dtype, "auto"),
        ("offload", Offload, "none"),
        ("quantization", Quantization, "none"),
        ("vae_tiling", bool, False),
    ]
    if row.takes_side:
        fields.append(("side", int, Field(default=row.side, ge=row.multiple)))
    if row.guidance is not None:
        fields.append(("guidance_scale", float, Field(default=row.guidance, ge=0)))
    if row.image_guidance is not None:
        fields.append(("image_guidance_scale", float, Field(default=row.image_guidance, ge=0)))
    name = "".join(part.title() for part in row.name.replace(".", "-").split("-")) + "Options"
    made = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    return checked(config=ConfigDict(extra="forbid"), frozen=True, kw_only=True)(made)


class DiffusersEditor:
    """Edits through one pipeline of diffusers, as its row of the table says."""

    def __init__(self, row: EditingPipeline, options: Any, device: str) -> None:
        """Load the pipeline once.

        Raises:
            MethodError: It cannot be loaded, or the resolution policy is none of this pipeline's.
        """
        if row.fixed and options.resolution != "own":
            raise MethodError(
                f"{row.name}: resolution={options.resolution}: {row.pipeline} chooses its size itself; only own works"
            )
        if not row.fixed and options.resolution == "own":
            raise MethodError(
                f"{row.name}: resolution=own: {row.pipeline} works at any size; use area, square or native"
            )
        self._row = row
        self._options = options
        self._pipeline = load_pipeline(
            LoadOptions(
                pipeline=row.pipeline,
                model=options.model,
                revision=row.checkpoint.revision_of(options.model, options.revision),
                device=device,
                dtype=options.dtype,
                offload=options.offload,
                quantization=options.quantization,
                vae_tiling=options.vae_tiling,
                load=row.load,
                part_types=row.part_types,
                folder_classes=row.folder_classes,
                mend=row.mend,
                steps=options.steps,
            )
        )

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """Edit a batch; where the pipeline can, pictures of one working size go through it together."""
        sizes = [self._size(r.image) for r in requests]
        groups: dict[Any, list[int]] = {}
        for place, size in enumerate(sizes):
            groups.setdefault(size if self._row.batched else place, []).append(place)
        results: dict[int, EditResult] = {}
        for places in groups.values():
            images = self._call([requests[p] for p in places], sizes[places[0]])
            results.update((p, EditResult(image=image)) for p, image in zip(places, images, strict=True))
        return [results[place] for place in range(len(requests))]

    def _size(self, image: Image.Image) -> tuple[int, int] | None:
        """The size at which a picture is handed over; None for as it is."""
        row, options = self._row, self._options
        if row.buckets == "resolutions":
            aspect = image.width / image.height
            return min(self._pipeline.resolutions, key=lambda s: abs(s[0] / s[1] - aspect))  # type: ignore[no-any-return]
        if row.buckets is not None:
            height, width = getattr(self._pipeline, row.buckets).get_default_height_width(image)
            return width, height
        if options.resolution == "own":
            return None
        width, height = working_size(image.size, options.resolution, options.side, row.multiple)
        if options.resolution == "area":
            # Some pipelines scale and crop what is larger than the trained area, and rounding can make it so.
            while width * height > options.side**2 and max(width, height) > row.multiple:
                width, height = (width - row.multiple, height) if width >= height else (width, height - row.multiple)
        return width, height

    def _call(self, requests: Sequence[EditRequest], size: tuple[int, int] | None) -> list[Image.Image]:
        row = self._row
        pictures = [r.image if size is None else to_working_size(r.image, size) for r in requests]
        prompts = [_prompt(row, r.instruction) for r in requests]
        given: list[Any] = [[p] for p in pictures] if row.image_form == "list" else list(pictures)
        generators = torch_generators([r.seed for r in requests])
        with _own_randomness(requests[0].seed, self._pipeline):
            output = self._pipeline(
                prompt=prompts if row.batched else prompts[0],
                generator=generators if row.batched else generators[0],
                num_inference_steps=self._options.steps,
                **{row.image_argument: given if row.batched else given[0]},
                **self._guidance(),
                **_size_arguments(row, size, self._options),
                **row.call,
            )
        made = list(getattr(output, row.output))
        if row.output == "frames":
            made = [clip[-1] for clip in made]
        if len(made) != len(requests):
            raise RuntimeError(f"{row.pipeline} made {len(made)} pictures for {len(requests)} prompts")
        return [_opaque(picture) for picture in made]

    def _guidance(self) -> dict[str, float]:
        row, options = self._row, self._options
        arguments = {} if row.guidance is None else {row.guidance_argument: options.guidance_scale}
        if row.image_guidance is not None:
            arguments[row.image_guidance_argument] = options.image_guidance_scale
        return arguments


_GLOBAL_GENERATOR = threading.Lock()


@contextmanager
def _own_randomness(seed: int, pipeline: Any) -> Iterator[None]:
    """Some classes draw from the global generator too; it is seeded for this call and left as it was."""
    import torch

    # The pipeline's own card alone: by default every card of the machine would be woken, also those of other workers.
    device = pipeline._execution_device
    # One at a time: threads share the global generator.
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _opaque(picture: Image.Image) -> Image.Image:
    """A picture with alpha as a viewer shows it, over white; leaving alpha out would show what it hides."""
    if picture.mode != "RGBA":
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _prompt(row: EditingPipeline, instruction: str) -> str:
    if "{quoted}" in row.prompt:
        return row.prompt.replace("{quoted}", json.dumps(instruction, ensure_ascii=False))
    return row.prompt.replace("{instruction}", instruction)


def _size_arguments(row: EditingPipeline, size: tuple[int, int] | None, options: Any) -> dict[str, int]:
    arguments = {} if row.side_argument is None else {row.side_argument: options.side}
    if size is None or not row.sized:
        return arguments
    width, height = size
    arguments |= {"height": height, "width": width}
    if row.area_argument is not None:
        arguments[row.area_argument] = width * height
    if row.longest_argument is not None:
        arguments[row.longest_argument] = max(size)
    return arguments


def _size_in_words(row: EditingPipeline) -> str:
    """How a picture comes to size by default, and how the result comes back."""
    if row.fixed:
        to = f"the class's own, of an area of {row.side} x {row.side}" if row.takes_side else "the class's own"
    else:
        to = f"{row.resolution} of {row.side} x {row.side}, sides multiples of {row.multiple}"
    return f"{to}; the result keeps it, and scoring brings it back to the source's"


def _facts(row: EditingPipeline) -> Mapping[str, str]:
    facts = {"class": row.pipeline, **row.checkpoint.facts(), "batch": "together" if row.batched else "one by one"}
    facts["size"] = _size_in_words(row)
    return facts | ({"remark": row.remark} if row.remark else {})


def editing_spec(row: EditingPipeline) -> MethodSpec:
    """The method of a row."""

    def build(options: Any, setting: Setting) -> DiffusersEditor:
        return DiffusersEditor(row, options, setting.device)

    return MethodSpec(
        name=row.name,
        summary=row.summary,
        tags=(Tag.DIRECT,),
        options=options_type(row),
        build=build,
        batched=row.batched,
        describe=lambda options: weights_description(
            options.model, row.checkpoint.revision_of(options.model, options.revision), PIPELINE_FILES
        ),
        facts=_facts(row),
        checkpoint=row.checkpoint,
    )


MODERN = tuple(editing_spec(row) for row in EDITING_PIPELINES)
"""A method for every row of the table."""
