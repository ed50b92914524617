"""Calls to somebody's server: retries, rate limits, refusals in the provider's words, and keys that stay secret."""

import json
import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from benchmark.methods.specs import MethodError, SampleError

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
            MethodError: The address is none or holds a secret, or the key's variable is not set.
        """
        import httpx

        try:
            url = httpx.URL(options.url)
        except (httpx.InvalidURL, TypeError) as error:
            raise MethodError(f"{options.url}: not a web address ({error})") from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise MethodError(f"{options.url}: not a web address")
        if url.userinfo or url.query:
            raise MethodError(
                f"{url.host}: the address holds a password or a query, which run.json would keep; put the secret into "
                "an environment variable and name it by key_variable"
            )
        self._key = _key(options.key_variable)
        headers = {} if self._key is None else {options.key_header: options.key_prefix + self._key}
        limits = httpx.Limits(max_connections=options.concurrency)
        self._client = httpx.Client(headers=headers, timeout=options.timeout, limits=limits, follow_redirects=False)
        self._options, self._sleep = options, sleep
        self._lock, self._next = threading.Lock(), 0.0

    def post(self, read: "Callable[[httpx.Response], Any]", **content: Any) -> Any:
        """Post one request.

        Args:
            read: Takes what is wanted out of an answer with status 200; its `ValueError` counts as a malformed answer.
            content: As `httpx.Client.post` takes it.

        Returns:
            What `read` returned.

        Raises:
            SampleError: This request is refused, or was tried often enough.
            MethodError: No request can succeed: a wrong key, no money, an unknown model or path.
        """
        import httpx

        problem, asked = "never sent", None
        for attempt in range(self._options.attempts):
            if attempt:
                self._sleep(pause(attempt, asked))
            self._take_turn()
            asked = None
            try:
                response = self._client.post(self._options.url, **content)
            except httpx.TimeoutException:
                problem = f"no answer within {self._options.timeout:g} s"
                continue
            except httpx.TransportError as error:
                problem = f"connection failed ({error})"
                continue
            if response.status_code == httpx.codes.OK:
                try:
                    return read(response)
                except (ValueError, KeyError, TypeError, LookupError, httpx.HTTPError) as error:
                    if isinstance(error, SampleError):
                        raise SampleError(self._hide(str(error))) from error
                    problem = self._hide(f"malformed answer ({error}): {response.text[:100]!r}")
                    continue
            problem, asked = self._judge(response), _retry_after(response)
            logger.info("%s: %s, attempt %d of %d", self._options.url, problem, attempt + 1, self._options.attempts)
        raise SampleError(f"{problem}, after {self._options.attempts} attempts")

    def get(self, url: str) -> bytes:
        """The content of an address that an answer named; the key is not sent there."""
        import httpx

        response = httpx.get(url, timeout=self._options.timeout, follow_redirects=True)
        response.raise_for_status()
        return response.content

    def _judge(self, response: "httpx.Response") -> str:
        """The problem in an answer that may be another one the next time."""
        code, words = _error(response)
        words = self._hide(f"{response.status_code} {words}")
        if any(word in code for word in REFUSAL_CODES):
            raise SampleError(f"refused: {words}")
        if response.status_code in HOPELESS or any(word in code for word in HOPELESS_CODES):
            raise MethodError(f"{self._options.url}: {words}; no request will pass until that is mended")
        if response.status_code not in AGAIN:
            raise SampleError(f"refused: {words}")
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
        return text if not self._key else text.replace(self._key, "***")


def pause(attempt: int, asked: float | None) -> float:
    """Seconds before a new attempt: what the server asked for, else doubling from one, spread by up to a half."""
    if asked is not None:
        return min(asked, LONGEST_PAUSE)
    return min(2.0 ** (attempt - 1) * (1 + random.SystemRandom().random() / 2), LONGEST_PAUSE)


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise MethodError(f"the environment variable {variable} is not set; put the key into it, or set key_variable")
    return key


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
