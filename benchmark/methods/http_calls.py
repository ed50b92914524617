"""Calls of an editor behind an address: what a refusal, a dead server or a wrong key means to a run."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from benchmark.methods.specs import MethodError, SampleError
from benchmark.posting import Hopeless, Poster, PostOptions, Refused, Rejected, Unanswered, pause, whole

if TYPE_CHECKING:
    import httpx


def _checked_address(address: str) -> str:
    """Refuse an address that is none or holds a secret, in words that do not repeat it."""
    import httpx

    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise MethodError("not a web address; write http:// or https://, a host and a path")
    if url.userinfo or url.query:
        raise MethodError(
            f"the address at {url.host} holds a password or a query, which run.json would keep; put the secret into an "
            "environment variable and name it by key_variable"
        )
    return address


Address = Annotated[str, AfterValidator(_checked_address)]
"""A web address without a secret: refused while settings are read, before anything is written down."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallOptions:
    """How to call.

    Attributes:
        url: The whole address.
        key_variable: Environment variable that holds the key; None for none. Its value is never written anywhere.
        key_header: The header that carries it.
        key_prefix: What stands before it there.
        timeout: Seconds for one answer.
        attempts: How often to try, before a sample stays without a picture.
        per_minute: Requests a minute at most; None for no limit.
        concurrency: Requests at once.
    """

    url: str
    key_variable: str | None = None
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    timeout: float = 180.0
    attempts: int = 6
    per_minute: float | None = None
    concurrency: int = 4


class Caller:
    """Posts requests to one address until they succeed, are refused, or have been tried often enough."""

    def __init__(self, options: CallOptions, sleep: Callable[[float], None] = time.sleep) -> None:
        """Prepare a connection; nothing is sent yet.

        Raises:
            MethodError: The key's variable is not set.
        """
        key = _key(options.key_variable)
        self._url, self._timeout = options.url, options.timeout
        self._attempts, self._sleep = options.attempts, sleep
        self._poster = Poster(
            PostOptions(
                url=options.url,
                headers={} if key is None else {options.key_header: options.key_prefix + key},
                secret=key,
                timeout=options.timeout,
                attempts=options.attempts,
                per_minute=options.per_minute,
                concurrency=options.concurrency,
            ),
            sleep,
        )

    def post(self, read: "Callable[[httpx.Response], Any]", **content: Any) -> Any:
        """Post one request.

        Args:
            read: Takes what is wanted out of an answer with status 200, as `Poster.post` says.
            content: As `httpx.Client.post` takes it.

        Returns:
            What `read` returned.

        Raises:
            SampleError: This request is refused, or was tried often enough.
            MethodError: No request can succeed: a wrong key, no money, an unknown model or path.
        """
        try:
            return self._poster.post(read, **content)
        except (Refused, Rejected) as error:
            raise SampleError(f"refused: {error}") from error
        except Unanswered as error:
            raise SampleError(str(error)) from error
        except Hopeless as error:
            raise MethodError(f"{self._url}: {error}; no request will pass until that is mended") from error

    def get(self, url: str) -> bytes:
        """The content of an address that an answer named; the key is not sent there.

        Raises:
            Refused: It could not be had, though it was tried often enough. The edit is not asked for again, since it is
                made and paid for.
        """
        import httpx

        problem = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(pause(attempt, None))
            try:
                with httpx.stream("GET", url, timeout=self._timeout, follow_redirects=True) as stream:
                    response = whole(stream, self._timeout)
                response.raise_for_status()
                return response.content
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                problem = str(error)
        raise Refused(f"the picture that the answer names cannot be had ({problem})")


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise MethodError(f"the environment variable {variable} is not set; put the key into it, or set key_variable")
    if not key.isprintable():
        raise MethodError(
            f"the environment variable {variable} holds unprintable characters; put the key alone into it"
        )
    return key
