"""Editors behind an address: OpenAI-compatible `images/edits`, and a plain one that anybody can serve in ten lines."""

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from PIL import Image
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from benchmark.methods.http_calls import Address, Caller, CallOptions
from benchmark.methods.specs import MethodError, MethodSpec, SampleError, Setting, Tag, TagsOption
from benchmark.posting import Refused
from smartedit.editing import EditRequest, EditResult

if TYPE_CHECKING:
    import httpx

STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServerOptions:
    """Settings of every editor behind an address."""

    key_variable: str | None = None
    """Environment variable that holds the key; its value is never written anywhere."""
    key_header: str = "Authorization"
    """The header that carries the key."""
    key_prefix: str = "Bearer "
    """What stands before the key in that header."""
    timeout: float = Field(default=180.0, gt=0)
    """Seconds for one answer."""
    attempts: int = Field(default=6, ge=1)
    """How often to try, before a sample stays without a picture."""
    per_minute: float | None = Field(default=None, gt=0)
    """Requests a minute at most."""
    concurrency: int = Field(default=4, ge=1)
    """Requests at once; no more than --batch-size."""
    longest_side: int | None = Field(default=None, ge=16)
    """Pictures with a longer side are made smaller before they are sent."""
    tags: TagsOption = ()
    """How the pictures come to be, for example `prompt-rewrite`; `direct` without tags."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OpenAIImagesOptions(ServerOptions):
    """Settings of `openai-images`."""

    model: str
    """The model's id; a dated one where the provider has it, as others move."""
    base_url: Address = "https://api.openai.com/v1"
    """What `/images/edits` is appended to."""
    key_variable: str | None = "OPENAI_API_KEY"
    """Environment variable that holds the key; its value is never written anywhere."""
    size: str | None = None
    """The field `size`; None leaves it to the provider."""
    quality: str | None = None
    """The field `quality`; None leaves it to the provider."""
    send_seed: bool = False
    """Send a field `seed`, for servers that know it; without it no two answers are alike."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Further form fields, as the provider names them."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PlainOptions(ServerOptions):
    """Settings of `http`."""

    url: Address
    """Where the requests go."""
    fields: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the JSON body."""


class ServerEditor:
    """Sends every request of a batch, some at once; what one of them meets is no other's."""

    def __init__(self, options: ServerOptions, send: Callable[[EditRequest], EditResult]) -> None:
        """Keep the parts.

        Args:
            options: The settings.
            send: Makes one edit; raises `SampleError` where there is none.
        """
        self._options = options
        self._send = send
        self._hopeless: MethodError | None = None

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | SampleError]:
        """One result, or why there is none, for each request.

        Raises:
            MethodError: No request can succeed. Where that shows in the midst of a batch, the pictures that came before
                are returned, and the next call raises it.
        """
        if self._hopeless is not None:
            raise self._hopeless
        with ThreadPoolExecutor(max_workers=min(self._options.concurrency, len(requests))) as pool:
            answers = list(pool.map(self._one, requests))
        stopped = [answer for answer in answers if isinstance(answer, MethodError)]
        if len(stopped) == len(answers):
            raise stopped[0]
        self._hopeless = next(iter(stopped), None)
        return [SampleError(str(answer)) if isinstance(answer, MethodError) else answer for answer in answers]

    def _one(self, request: EditRequest) -> EditResult | SampleError | MethodError:
        try:
            return self._send(request)
        except (SampleError, MethodError) as error:
            return error


def _caller(url: str, options: ServerOptions) -> Caller:
    return Caller(
        CallOptions(
            url=url,
            key_variable=options.key_variable,
            key_header=options.key_header,
            key_prefix=options.key_prefix,
            timeout=options.timeout,
            attempts=options.attempts,
            per_minute=options.per_minute,
            concurrency=options.concurrency,
        )
    )


def build_openai_images(options: OpenAIImagesOptions, setting: Setting) -> ServerEditor:
    """The editor behind an OpenAI-compatible `images/edits`."""
    del setting
    caller = _caller(options.base_url.rstrip("/") + "/images/edits", options)
    optional = {"size": options.size, "quality": options.quality}
    fields = {"model": options.model, "n": "1", **{k: v for k, v in optional.items() if v}, **options.fields}

    def read(response: "httpx.Response") -> EditResult:
        (data,) = response.json()["data"]
        content = base64.b64decode(data["b64_json"]) if data.get("b64_json") else caller.get(data["url"])
        return EditResult(image=_picture(content), response=data.get("revised_prompt"))

    def send(request: EditRequest) -> EditResult:
        own = {"prompt": request.instruction, **({"seed": str(request.seed % 2**31)} if options.send_seed else {})}
        files = {"image": ("source.png", _png(request.image, options.longest_side), "image/png")}
        result: EditResult = caller.post(read, data={**fields, **own}, files=files)
        return result

    return ServerEditor(options, send)


def build_plain(options: PlainOptions, setting: Setting) -> ServerEditor:
    """The editor behind a plain address."""
    del setting
    caller = _caller(options.url, options)
    taken = {"image", "instruction", "seed"} & set(options.fields)
    if taken:
        raise MethodError(f"fields: {', '.join(sorted(taken))} are the request's own; give others")

    def read(response: "httpx.Response") -> EditResult:
        if response.headers.get("content-type", "").startswith("image/"):
            return EditResult(image=_picture(response.content))
        content = response.json()
        if content.get("error"):
            raise Refused(str(content["error"]))
        return EditResult(image=_picture(base64.b64decode(content["image"])), response=content.get("response"))

    def send(request: EditRequest) -> EditResult:
        picture = base64.b64encode(_png(request.image, options.longest_side)).decode()
        body = {"image": picture, "instruction": request.instruction, "seed": request.seed, **options.fields}
        result: EditResult = caller.post(read, json=body)
        return result

    return ServerEditor(options, send)


def _png(image: Image.Image, longest_side: int | None) -> bytes:
    if longest_side is not None and max(image.size) > longest_side:
        image = image.copy()
        image.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _picture(content: bytes) -> Image.Image:
    """The picture in an answer, decoded.

    Raises:
        ValueError: There is none, or it is cut off.
    """
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, Image.DecompressionBombError) as error:
        raise ValueError(f"no picture: {error}") from error
    return image


OPENAI_IMAGES = MethodSpec(
    name="openai-images",
    summary="Any OpenAI-compatible images/edits endpoint; --model names the provider's model.",
    tags=(Tag.DIRECT,),
    options=OpenAIImagesOptions,
    build=build_openai_images,
    batched=True,
    whole_batches=False,
    facts={"license": "the provider's terms", "remark": "what the provider does to a prompt inside is not known"},
)
PLAIN_HTTP = MethodSpec(
    name="http",
    summary="A server of your own: POST JSON with image, instruction, seed; a picture comes back.",
    tags=(Tag.DIRECT,),
    options=PlainOptions,
    build=build_plain,
    batched=True,
    whole_batches=False,
    facts={"license": "the server's"},
)
