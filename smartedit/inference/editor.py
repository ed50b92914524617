"""SmartEdit as an editor: requests in, results out, each from its own seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from smartedit.editing import EditRequest, EditResult
from smartedit.inference.output import SmartEditPipelineOutput
from smartedit.inference.pipeline import SmartEditPipeline
from smartedit.seeding import torch_generators


@dataclass(frozen=True, kw_only=True, slots=True)
class SmartEditEditor:
    """Edits by a pipeline; implements `smartedit.editing.Editor`.

    Attributes:
        pipeline: The model.
        square: Squash pictures into the trained square, as the authors' evaluation does.
        num_inference_steps: Denoising steps; None for the checkpoint's own number.
        guidance_scale: s_T; None for the checkpoint's own.
        image_guidance_scale: s_I; None for the checkpoint's own.
        keep_original: Put the original back where little changed: compositing, to be reported with the method.
        speak: Let the model answer freely and give its answer as the response.
    """

    pipeline: SmartEditPipeline
    square: bool = True
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    image_guidance_scale: float | None = None
    keep_original: bool = False
    speak: bool = False

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        """Edit a batch; see `smartedit.editing.Editor.edit`.

        Raises:
            ValueError: A picture or instruction of the batch cannot be used; the message says why.
        """
        output = self.pipeline(
            [r.image for r in requests],
            [r.instruction for r in requests],
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            image_guidance_scale=self.image_guidance_scale,
            generator=torch_generators([r.seed for r in requests]),
            square=self.square,
            keep_original=self.keep_original,
            speak=self.speak,
        )
        assert isinstance(output, SmartEditPipelineOutput) and isinstance(output.images, list)
        return [
            EditResult(image=image, response=answer)
            for image, answer in zip(output.images, output.answers, strict=True)
        ]
