"""One edit from a picture file to a picture file, with what made it written into the result."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageOps, UnidentifiedImageError

from reason_edit.files import atomic_path, missing_file

if TYPE_CHECKING:
    from smartedit.inference.pipeline import SmartEditPipeline

FORMATS = (".png", ".jpg", ".jpeg", ".webp")
_DESCRIPTION = 0x010E
"""EXIF's ImageDescription, which all three formats hold."""
_GAP = 8


class EditFileError(ValueError):
    """A picture cannot be read or written; the message names the file and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditSettings:
    """How to edit; None takes the checkpoint's own setting.

    Attributes:
        num_inference_steps: Denoising steps.
        guidance_scale: s_T.
        image_guidance_scale: s_I.
        seed: Of the noise.
        square: Squash into the trained square.
        keep_original: Put the original back where little changed.
        speak: Let the model answer freely.
        compare: Also write both pictures side by side.
        overwrite: Replace files that are there.
    """

    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    image_guidance_scale: float | None = None
    seed: int = 0
    square: bool = False
    keep_original: bool = False
    speak: bool = False
    compare: bool = False
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to edit.

    Attributes:
        image: The picture's file.
        instruction: What to change.
        out: The file to write.
    """

    image: Path
    instruction: str
    out: Path

    @property
    def comparison(self) -> Path:
        """Where both pictures go side by side."""
        return self.out.with_name(f"{self.out.stem}-compare.png")

    def check(self, settings: EditSettings) -> None:
        """Find what would fail after minutes of work before it begins.

        Raises:
            EditFileError: The picture cannot be read, or the result could not be written.
            PictureError: It is too small or too narrow.
            PromptError: The instruction is empty.
        """
        from smartedit.model.images import upright
        from smartedit.model.prompts import PromptError

        if not self.instruction.strip():
            raise PromptError("the instruction is empty: say what to change in the picture")
        if self.out.suffix.lower() not in FORMATS:
            raise EditFileError(f"--out {self.out}: end it in {', '.join(FORMATS)}")
        for path in [self.out] + [self.comparison] * settings.compare:
            if path.resolve() == self.image.resolve():
                raise EditFileError(f"--out {path}: this is the picture itself; name another file")
            if path.exists() and not settings.overwrite:
                raise EditFileError(f"--out {path}: is there already; --overwrite replaces it")
        upright(read_picture(self.image))


@dataclass(frozen=True, kw_only=True, slots=True)
class Edited:
    """What was made.

    Attributes:
        paths: The files written.
        answer: What the model said, if it was asked to.
        agreement: Share of the [IMG] tokens that it would have said itself.
    """

    paths: tuple[Path, ...]
    answer: str | None
    agreement: float


def edit_file(
    pipeline: "SmartEditPipeline",
    request: Request,
    settings: EditSettings,
    model: str,
    on_step: Callable[[], Any] = lambda: None,
) -> Edited:
    """Edit one picture; the same request with the same settings gives the same file.

    The result carries a description (EXIF) of what made it: instruction, model, settings, and whether the original was
    put back in places.

    Args:
        pipeline: The model.
        request: What to edit (`Request.check` finds its faults early).
        settings: How.
        model: The model's name, for the description.
        on_step: Called at every denoising step.
    """
    from smartedit.model.images import upright
    from smartedit.seeding import torch_generators

    source = upright(read_picture(request.image))

    def callback(_: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        on_step()
        return values

    pipeline.set_progress_bar_config(disable=True)
    output = pipeline(
        source,
        request.instruction,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        image_guidance_scale=settings.image_guidance_scale,
        generator=torch_generators([settings.seed]),
        square=settings.square,
        keep_original=settings.keep_original,
        speak=settings.speak,
        callback_on_step_end=callback,
    )
    assert not isinstance(output, tuple)
    edited = output.images[0]
    assert isinstance(edited, Image.Image)
    description = {
        "instruction": request.instruction,
        "model": model,
        "composited": output.composited,
        **{k: v for k, v in asdict(settings).items() if k not in {"compare", "overwrite", "keep_original", "speak"}},
    }
    save_picture(edited, request.out, json.dumps(description, sort_keys=True))
    paths = [request.out]
    if settings.compare:
        save_picture(side_by_side(source, edited, request.instruction), request.comparison)
        paths.append(request.comparison)
    return Edited(paths=tuple(paths), answer=output.answers[0], agreement=output.agreements[0])


def read_picture(path: Path) -> Image.Image:
    """Read a whole picture file, turned as its EXIF note says.

    Raises:
        EditFileError: There is none, it is no picture, or it is cut off or too large.
    """
    if not path.is_file():
        raise EditFileError(f"{path}: {missing_file(path)}")
    try:
        with Image.open(path) as opened:
            opened.load()
            return ImageOps.exif_transpose(opened)
    except UnidentifiedImageError as error:
        raise EditFileError(f"{path}: is no picture that can be read") from error
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise EditFileError(f"{path}: cannot be read as a picture ({error})") from error


def save_picture(picture: Image.Image, path: Path, description: str | None = None) -> None:
    """Write a picture whole or not at all, with a description in its EXIF."""
    exif = Image.Exif()
    if description is not None:
        exif[_DESCRIPTION] = description
    with atomic_path(path) as temporary:
        picture.save(temporary, exif=exif, quality=95)


def side_by_side(source: Image.Image, edited: Image.Image, caption: str) -> Image.Image:
    """Before beside after, with the instruction below."""
    width, height = source.size
    font_size = max(11, height // 24)
    sheet = Image.new("RGB", (2 * width + _GAP, height + 2 * font_size), "white")
    sheet.paste(source, (0, 0))
    sheet.paste(edited, (width + _GAP, 0))
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, height + font_size // 2), caption.replace("\n", " "), fill="black", font_size=font_size)
    return sheet
