"""An OpenAI-compatible endpoint: temperature 0, a pinned model, retries with back-off, refusals named."""

import base64
import json
import logging
import random
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

from benchmark.judges.replies import Reply
from benchmark.judges.verdicts import JudgeError
from benchmark.judges.vlm import NoReply

logger = logging.getLogger(__name__)

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""HTTP statuses after which the same question may be answered later."""

HOPELESS = {401, 402, 403, 404, 405}
"""HTTP statuses that every question will get: a wrong key, no money, an unknown model or path."""

HOPELESS_CODES = ("insufficient_quota", "invalid_api_key", "model_not_found")
"""Codes in an error's body that mean the same."""

FILTER_CODES = ("content_filter", "content_policy", "moderation", "safety")
"""Codes in an error's body that mean that the provider refuses this very question."""

LONGEST_PAUSE = 120.0


class EndpointChat:
    """Questions to `BASE/chat/completions`."""

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str | None = None,
        concurrency: int = 4,
        timeout: float = 120.0,
        attempts: int = 6,
        max_tokens: int = 16,
        token_field: str = "max_tokens",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare a connection; nothing is asked yet.

        Args:
            base_url: For example `https://api.openai.com/v1`, or the address of a server of your own.
            model: The pinned id of the model; an alias that moves is refused when the endpoint tells.
            api_key: Sent as a bearer token.
            concurrency: Questions at once.
            timeout: Seconds for a reply.
            attempts: How often to ask, before a question stays without a reply.
            max_tokens: Length of a reply at most.
            token_field: What the endpoint calls that length; some want `max_completion_tokens`.
            sleep: Waits between attempts.

        Raises:
            JudgeError: The address is no URL.
        """
        import httpx

        url = httpx.URL(base_url.rstrip("/") + "/chat/completions")
        if url.scheme not in ("http", "https") or not url.host:
            raise JudgeError(f"--endpoint {base_url}: not a web address")
        self.url, self.model, self.concurrency, self.attempts = str(url), model, concurrency, attempts
        self.max_tokens, self.token_field, self.sleep = max_tokens, token_field, sleep
        self.settings = f"{self.url} {token_field}={max_tokens}"
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=concurrency)
        self.client = httpx.Client(headers=headers, timeout=timeout, limits=limits, follow_redirects=False)

    def ask(self, question: str, pictures: Sequence[bytes]) -> Reply:
        """Answer one question on PNG pictures.

        Raises:
            NoReply: None came, though it was asked `attempts` times.
            JudgeError: The endpoint refuses the key, the model or the path, or another model answers.
        """
        import httpx

        body = self._body(question, pictures)
        problem, wait = "never asked", None
        for attempt in range(self.attempts):
            if attempt:
                self.sleep(self._pause(attempt, wait))
            wait = None
            try:
                response = self.client.post(self.url, json=body)
            except httpx.TimeoutException:
                problem = "time-out"
                continue
            except httpx.TransportError as error:
                problem = f"connection failed ({error})"
                continue
            if response.status_code == 200:
                reply = self._read(response)
                if isinstance(reply, Reply):
                    return reply
                problem = reply
                continue
            code, words = _error(response)
            if response.status_code in HOPELESS or any(word in code for word in HOPELESS_CODES):
                raise JudgeError(f"{self.url}: {response.status_code} {words}; no question to {self.model} will pass")
            if any(word in code for word in FILTER_CODES):
                return Reply(text=None, refusal=f"{response.status_code} {words}", served_model=None)
            problem, wait = f"{response.status_code} {words}", _retry_after(response)
            if response.status_code not in AGAIN:
                raise NoReply(problem)
            logger.info("%s: %s, attempt %d of %d", self.url, problem, attempt + 1, self.attempts)
        raise NoReply(f"{problem}, after {self.attempts} attempts")

    def _body(self, question: str, pictures: Sequence[bytes]) -> dict[str, Any]:
        urls = [f"data:image/png;base64,{base64.b64encode(p).decode()}" for p in pictures]
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {
            "model": self.model,
            "temperature": 0,
            self.token_field: self.max_tokens,
            "messages": [{"role": "user", "content": [*content, {"type": "text", "text": question}]}],
        }

    def _pause(self, attempt: int, asked: float | None) -> float:
        """Seconds before an attempt: what the endpoint asked for, else doubling from one, spread by up to a half."""
        if asked is not None:
            return min(asked, LONGEST_PAUSE)
        return min(2.0 ** (attempt - 1), LONGEST_PAUSE) * (1 + random.SystemRandom().random() / 2)

    def _read(self, response: Any) -> Reply | str:
        """The reply in a response, or why it holds none.

        Raises:
            JudgeError: Another model answered than was asked.
        """
        try:
            content = response.json()
            choice = content["choices"][0]
            message = choice["message"]
            served = content.get("model")
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError):
            return f"malformed response: {response.text[:200]!r}"
        if served is not None and served != self.model:
            raise JudgeError(
                f"{self.url}: asked for {self.model!r}, answered by {served!r}; pin the model: --model {served}"
            )
        if message.get("refusal"):
            return Reply(text=None, refusal=str(message["refusal"]), served_model=served)
        if choice.get("finish_reason") == "content_filter":
            return Reply(text=None, refusal="content filter", served_model=served)
        if not isinstance(message.get("content"), str):
            return f"malformed response: no words in {str(message)[:200]}"
        return Reply(text=message["content"], refusal=None, served_model=served)


def _error(response: Any) -> tuple[str, str]:
    """The provider's code for an error, lower case, and its words."""
    try:
        error = response.json()["error"]
        if not isinstance(error, dict):
            return "", str(error)[:500]
        return f"{error.get('code')} {error.get('type')}".lower(), str(error["message"])[:500]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        return "", str(response.text[:200]) or str(response.reason_phrase)


def _retry_after(response: Any) -> float | None:
    """Seconds that the endpoint asks to wait; None where it does not say."""
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
