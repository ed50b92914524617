"""What the table of editing pipelines says of each: how it wants to be called with a picture and an instruction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmark.methods.checkpoints import Checkpoint

PartType = Literal["float32", "bfloat16"]
ResolutionPolicy = Literal["area", "square", "native", "own"]
"""As in `resolution.py`; "own" hands the picture over as it is, and the pipeline scales all of it to its own size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditingPipeline:
    """How one diffusers pipeline wants to be called with a picture and an instruction.

    Attributes:
        name: What `--method` takes.
        summary: One line.
        pipeline: The class in diffusers.
        checkpoint: The weights that are meant by default.
        steps: Denoising steps.
        guidance: Text guidance; None where the class takes none.
        guidance_argument: What the class calls it.
        image_guidance: Image guidance; None where the class takes none.
        image_guidance_argument: What the class calls it.
        resolution: How a picture comes to the trained size.
        side: The trained area is side x side pixels.
        multiple: What width and height must be multiples of.
        buckets: Where the class keeps the only sizes it works at; pictures are squashed to the one of the nearest
            aspect before, so that it never crops.
        sized: Whether the call takes height and width.
        side_argument: Takes the side of the trained area, where a class that scales the picture itself takes one.
        area_argument: Takes width x height.
        longest_argument: Takes the longer side.
        image_argument: What the class calls the picture.
        image_form: "one" picture (a list of them in a batch), or a "list" of the references of this one prompt.
        prompt: The prompt; `{instruction}` stands for the instruction, `{quoted}` for it as JSON text.
        call: More arguments of the call.
        load: More arguments of `from_pretrained`.
        part_types: Parts that have this type whatever the others have.
        folder_classes: Other classes that published folders of these weights name as theirs.
        mend: Changes a loaded pipeline where the installed libraries disagree about it.
        output: Where the class puts its pictures; of clips ("frames") the last frame is the edited picture.
        batched: Whether one call edits several pictures, each with its own prompt and generator. No class that draws
            from the global generator (OmniGen, JoyImage) or adapts to its neighbours in a batch is called so.
        remark: What else a user should know.
    """

    name: str
    summary: str
    pipeline: str
    checkpoint: Checkpoint
    steps: int
    guidance: float | None = None
    guidance_argument: str = "guidance_scale"
    image_guidance: float | None = None
    image_guidance_argument: str = "image_guidance_scale"
    resolution: ResolutionPolicy = "area"
    side: int = 1024
    multiple: int = 16
    buckets: Literal["resolutions", "vae_image_processor", "image_processor"] | None = None
    sized: bool = True
    side_argument: str | None = None
    area_argument: str | None = None
    longest_argument: str | None = None
    image_argument: str = "image"
    image_form: Literal["one", "list"] = "one"
    prompt: str = "{instruction}"
    call: Mapping[str, Any] = field(default_factory=dict)
    load: Mapping[str, Any] = field(default_factory=dict)
    part_types: Mapping[str, PartType] = field(default_factory=dict)
    folder_classes: tuple[str, ...] = ()
    mend: Callable[[Any], None] | None = None
    output: Literal["images", "image", "frames"] = "images"
    batched: bool = False
    remark: str = ""

    @property
    def fixed(self) -> bool:
        """Whether the class chooses its size itself."""
        return not self.sized or self.buckets is not None

    @property
    def takes_side(self) -> bool:
        """Whether a side can be set."""
        return not self.fixed or self.side_argument is not None
