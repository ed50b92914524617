"""An OpenAI-compatible endpoint: temperature 0, a pinned model, retries with back-off, refusals named."""

import base64
import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmark.judges.replies import Reply
from benchmark.judges.verdicts import JudgeError
from benchmark.judges.vlm import NoReply
from benchmark.posting import Hopeless, Poster, PostOptions, Refused, Rejected, Unanswered


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

        try:
            url = httpx.URL(base_url.rstrip("/") + "/chat/completions")
        except httpx.InvalidURL as error:
            raise JudgeError(f"--endpoint {base_url}: not a web address ({error})") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise JudgeError(f"--endpoint {base_url}: not a web address")
        self.url, self.model, self.concurrency = str(url), model, concurrency
        self.max_tokens, self.token_field = max_tokens, token_field
        self.settings = f"{self.url} {token_field}={max_tokens}"
        self._poster = Poster(
            PostOptions(
                url=self.url,
                headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
                secret=api_key,
                timeout=timeout,
                attempts=attempts,
                concurrency=concurrency,
            ),
            sleep,
        )

    def ask(self, question: str, pictures: Sequence[bytes]) -> Reply:
        """Answer one question on PNG pictures.

        Raises:
            NoReply: None came, though it was asked `attempts` times, or the endpoint takes the question for a bad one.
            JudgeError: The endpoint refuses the key, the model or the path, or another model answers.
        """
        try:
            reply: Reply = self._poster.post(self._read, passing=(JudgeError,), json=self._body(question, pictures))
        except Refused as error:
            return Reply(text=None, refusal=str(error), served_model=None)
        except (Rejected, Unanswered) as error:
            raise NoReply(str(error)) from error
        except Hopeless as error:
            raise JudgeError(f"{self.url}: {error}; no question to {self.model} will pass") from error
        return reply

    def _body(self, question: str, pictures: Sequence[bytes]) -> dict[str, Any]:
        urls = [f"data:image/png;base64,{base64.b64encode(p).decode()}" for p in pictures]
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {
            "model": self.model,
            "temperature": 0,
            self.token_field: self.max_tokens,
            "messages": [{"role": "user", "content": [*content, {"type": "text", "text": question}]}],
        }

    def _read(self, response: Any) -> Reply:
        """The reply in a response.

        Raises:
            JudgeError: Another model answered than was asked.
            ValueError: There is none in it.
        """
        content = response.json()
        choice = content["choices"][0]
        message, served = choice["message"], content.get("model")
        if served is not None and served != self.model:
            raise JudgeError(
                f"{self.url}: asked for {self.model!r}, answered by {served!r}; pin the model: --model {served}"
            )
        if message.get("refusal"):
            return Reply(text=None, refusal=str(message["refusal"]), served_model=served)
        if choice.get("finish_reason") == "content_filter":
            return Reply(text=None, refusal="content filter", served_model=served)
        if not isinstance(message.get("content"), str):
            raise ValueError(f"no words in {str(message)[:200]}")
        return Reply(text=message["content"], refusal=None, served_model=served)
