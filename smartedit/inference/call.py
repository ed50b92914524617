"""What a call of the pipeline is given, looked at before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from smartedit.model.images import upright

OUTPUT_TYPES = ("pil", "latent")


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Pictures with what is asked for each.

    Attributes:
        sources: Upright RGB pictures.
        instructions: One for each.
        generators: One for each, one for all, or None.
    """

    sources: list[Image.Image]
    instructions: list[str]
    generators: torch.Generator | list[torch.Generator] | None


def read_call(
    image: Image.Image | Sequence[Image.Image],
    instruction: str | Sequence[str],
    generator: torch.Generator | Sequence[torch.Generator] | None,
) -> Call:
    """Pair pictures, instructions and generators.

    Raises:
        PictureError: A picture is too small or too narrow.
        ValueError: There is no picture, something else stands for one, or the numbers differ.
    """
    pictures = [image] if isinstance(image, Image.Image) else list(image)
    if not pictures:
        raise ValueError("no picture is given")
    for picture in pictures:
        if not isinstance(picture, Image.Image):
            raise ValueError(f"a picture is a PIL image, not a {type(picture).__name__}: open it with PIL.Image.open")
    instructions = [instruction] * len(pictures) if isinstance(instruction, str) else list(instruction)
    generators = list(generator) if isinstance(generator, Sequence) else generator
    for name, values in (("instructions", instructions), ("generators", generators)):
        if isinstance(values, list) and len(values) != len(pictures):
            raise ValueError(f"{len(pictures)} pictures but {len(values)} {name}")
    return Call(sources=[upright(p) for p in pictures], instructions=instructions, generators=generators)


def check_output(output_type: str, sizes: Sequence[tuple[int, int]]) -> None:
    """See that the results can be given back as they are wanted, before they are made.

    Args:
        output_type: As the pipeline takes it.
        sizes: At which the pictures are edited.

    Raises:
        ValueError: The type is not known, or latents of several sizes would have to be one tensor.
    """
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"output_type {output_type!r} is not known; there are {' and '.join(OUTPUT_TYPES)}")
    if output_type == "latent" and len(set(sizes)) > 1:
        raise ValueError(f"latents of {len(set(sizes))} sizes are no batch: square=True edits all at one size")
