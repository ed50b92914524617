"""Small pictures inside an HTML page, so that one file shows everything offline."""

import base64
import io
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL = 200
"""Longer side of a small picture, in pixels."""


def picture_address(picture: "Image.Image", side: int = THUMBNAIL) -> str:
    """A `data:` address of a JPEG no larger than `side`."""
    from PIL import Image

    small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def fill_template(template: str, **values: Any) -> str:
    """A page of `smartedit/data/templates` with its values, all of them escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files("smartedit.data") / "templates"
    loader = FunctionLoader(lambda file: folder.joinpath(file).read_text(encoding="utf-8"))
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template).render(**values)
