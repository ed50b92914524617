"""Posts to somebody's server: tried again where that may help, spaced, and with a key that stays secret.

Editors and judges behind an address share it; what a refusal or a dead server means to them is theirs to say.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""HTTP statuses after which the same request may succeed later."""

HOPELESS = {401, 402, 403, 404, 405}
"""HTTP statuses that every request will get: a wrong key, no money, an unknown model or path."""

HOPELESS_CODES = ("insufficient_quota", "billing", "invalid_api_key", "model_not_found")
"""Codes in an error's body that mean the same, whatever the status."""

REFUSAL_CODES = ("moderation", "content_filter", "content_policy", "safety")
"""Codes in an error's body that mean that the provider refuses this very request, whatever the status."""

LONGEST_PAUSE = 120.0
LONGEST_WORDS = 500


class Refused(ValueError):
    """The provider refuses this very request; in its words."""


class Rejected(ValueError):
    """The provider takes the request for a bad one, and would so the next time."""


class Unanswered(ValueError):
    """No answer that can be used came, though it was tried often enough."""


class Hopeless(ValueError):
    """No request can succeed: a wrong key, no money, an unknown model or path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PostOptions:
    """How to post.

    Attributes:
        url: The whole address.
        headers: Sent with every request.
        secret: A key that is blotted out of whatever the provider says; None for none.
        timeout: Seconds for one answer, from the request's first byte to the answer's last.
        attempts: How often to try.
        per_minute: Requests a minute at most; None for no limit.
        concurrency: Requests at once.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: str | None = field(default=None, repr=False)
    timeout: float = 180.0
    attempts: int = 6
    per_minute: float | None = None
    concurrency: int = 4


class Poster:
    """Posts requests to one address until they succeed, are refused, or have been tried often enough."""

    def __init__(self, options: PostOptions, sleep: Callable[[float], None] = time.sleep) -> None:
        """Prepare a connection; nothing is sent yet.

        Args:
            options: How to post.
            sleep: Waits between attempts.
        """
        import httpx

        limits = httpx.Limits(max_connections=options.concurrency)
        self._client = httpx.Client(
            headers=dict(options.headers), timeout=options.timeout, limits=limits, follow_redirects=False
        )
        self._options, self._sleep = options, sleep
        self._lock, self._next = threading.Lock(), 0.0

    def post(
        self, read: "Callable[[httpx.Response], Any]", *, passing: tuple[type[Exception], ...] = (), **content: Any
    ) -> Any:
        """Post one request.

        Args:
            read: Takes what is wanted out of an answer with status 200. Raises `Refused` where the answer is a refusal;
                any other `ValueError`, `LookupError`, `TypeError` or `httpx.HTTPError` of it counts as a malformed
                answer.
            passing: Exceptions of `read` that are the caller's and pass as they are.
            content: As `httpx.Client.post` takes it.

        Returns:
            What `read` returned.

        Raises:
            Refused: By the provider.
            Rejected: As a bad request.
            Unanswered: Tried often enough.
            Hopeless: No request can succeed.
        """
        import httpx

        problem, asked = "never sent", None
        for attempt in range(self._options.attempts):
            if attempt:
                self._sleep(pause(attempt, asked))
            self._take_turn()
            asked = None
            try:
                response = self._send(content)
            except httpx.TimeoutException:
                problem = f"no answer within {self._options.timeout:g} s"
                continue
            except httpx.RequestError as error:
                # Not the words of a header that cannot be sent: it would be the key's.
                told = "a header cannot be sent" if isinstance(error, httpx.LocalProtocolError) else str(error)
                problem = self._hide(f"connection failed ({told})")
                continue
            if response.status_code == httpx.codes.OK:
                try:
                    return read(response)
                except Refused as error:
                    raise Refused(self._hide(str(error))) from error
                except passing:
                    raise
                except (ValueError, LookupError, TypeError, httpx.HTTPError) as error:
                    problem = self._hide(f"malformed answer ({error}): {response.text[:100]!r}")
                    continue
            problem, asked = self._judge(response), _retry_after(response)
            logger.info("%s: %s, attempt %d of %d", self._options.url, problem, attempt + 1, self._options.attempts)
        raise Unanswered(f"{problem}, after {self._options.attempts} attempts")

    def _send(self, content: Mapping[str, Any]) -> "httpx.Response":
        with self._client.stream("POST", self._options.url, **content) as response:
            return whole(response, self._options.timeout)

    def _judge(self, response: "httpx.Response") -> str:
        """The problem in an answer that may be another one the next time."""
        code, words = _error(response)
        words = self._hide(f"{response.status_code} {words}")
        if any(word in code for word in REFUSAL_CODES):
            raise Refused(words)
        if response.status_code in HOPELESS or any(word in code for word in HOPELESS_CODES):
            raise Hopeless(words)
        if response.status_code not in AGAIN:
            raise Rejected(words)
        return words

    def _take_turn(self) -> None:
        """Wait until the rate limit allows one more request."""
        if self._options.per_minute is None:
            return
        with self._lock:
            now = time.monotonic()
            wait = max(0.0, self._next - now)
            self._next = max(now, self._next) + 60 / self._options.per_minute
        if wait:
            self._sleep(wait)

    def _hide(self, text: str) -> str:
        return text.replace(self._options.secret, "***") if self._options.secret else text


def whole(response: "httpx.Response", seconds: float) -> "httpx.Response":
    """A streamed response with all of its content.

    Args:
        response: As `httpx.stream` gives it.
        seconds: For all of it; httpx itself counts its time-out anew for every piece, so that a server that sends one
            byte now and then would hold a run for ever.

    Raises:
        httpx.ReadTimeout: It takes longer.
    """
    import httpx

    end = time.monotonic() + seconds
    pieces: list[bytes] = []
    for piece in response.iter_raw():
        pieces.append(piece)
        if time.monotonic() > end:
            raise httpx.ReadTimeout("the answer trickles")
    content = b"".join(pieces)
    return httpx.Response(response.status_code, headers=response.headers, content=content, request=response.request)


def pause(attempt: int, asked: float | None) -> float:
    """Seconds before a new attempt: what the server asked for, else doubling from one, spread by up to a half."""
    if asked is not None:
        return min(asked, LONGEST_PAUSE)
    return min(2.0 ** (attempt - 1) * (1 + random.SystemRandom().random() / 2), LONGEST_PAUSE)


def _error(response: "httpx.Response") -> tuple[str, str]:
    """The provider's code for an error, lower case, and its words."""
    try:
        content = response.json()
        error = content.get("error", content.get("detail", content))
        if isinstance(error, dict):
            return f"{error.get('code')} {error.get('type')}".lower(), str(error.get("message", error))[:LONGEST_WORDS]
        return "", str(error)[:LONGEST_WORDS]
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError):
        return "", response.text[:LONGEST_WORDS] or response.reason_phrase


def _retry_after(response: "httpx.Response") -> float | None:
    """Seconds that the server asks to wait; None where it does not say."""
    value = response.headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
