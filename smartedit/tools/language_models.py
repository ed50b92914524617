"""Language models that answer a prompt: an OpenAI-compatible endpoint, or a local model of transformers."""

import json
import os
import time
from typing import Any, Protocol

from smartedit.config.synthesis import WriterConfig
from smartedit.hub import locate_model, model_revision
from smartedit.tools.protocols import ToolError, ToolUnavailable

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP answers after which another try may help."""


MOST_BYTES = 4_000_000
"""A longer answer is none."""


class NoConnection(ToolError):
    """An endpoint could not be reached, or kept failing, after all tries."""


class LanguageModel(Protocol):
    """Answers prompts.

    Attributes:
        name: The model, for provenance.
        settings: What else decides its answers, as text.
    """

    name: str
    settings: str

    def complete(self, prompt: str, seed: int) -> str:
        """The answer to one prompt.

        Raises:
            ToolError: There is none.
        """
        ...


def build_language_model(config: WriterConfig) -> LanguageModel:
    """The language model of a writer's configuration.

    Raises:
        ToolUnavailable: No address, no name, or no weights.
    """
    if config.name == "transformers":
        return TransformersModel.load(config)
    if config.url is None or config.model is None:
        raise ToolUnavailable("endpoint: set writer.url (for example http://127.0.0.1:8000/v1) and writer.model")
    _need_address(config.url)
    if config.api_key_variable and not os.environ.get(config.api_key_variable, "").strip():
        raise ToolUnavailable(
            f"endpoint: the environment variable {config.api_key_variable} is not set; put the key into it, or leave "
            "writer.api_key_variable out"
        )
    return Endpoint(config)


def _need_address(url: str) -> None:
    import httpx

    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ToolUnavailable(f"endpoint: writer.url {url!r} is no address ({error})") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise ToolUnavailable(f"endpoint: writer.url {url!r} is no address; for example http://127.0.0.1:8000/v1")


class Endpoint:
    """A chat model behind an OpenAI-compatible API.

    Args:
        config: Address, model, time to wait, tries. The key comes from the named environment variable only.
        pause: Seconds before the second try; doubles with every further one.
    """

    def __init__(self, config: WriterConfig, pause: float = 1.0) -> None:
        self.name = f"{config.model}"
        self.settings = f"{_address(config)} max_tokens={config.max_new_tokens}"
        self._config = config
        self._pause = pause
        self._client: Any = None

    def complete(self, prompt: str, seed: int) -> str:
        """Ask once, and again after passing failures.

        Raises:
            NoConnection: It hung, refused or kept failing.
            ToolError: It answered something else than a chat completion.
        """
        import httpx

        config = self._config
        headers = {}
        if config.api_key_variable:
            headers["Authorization"] = f"Bearer {os.environ[config.api_key_variable].strip()}"
        body = {
            "model": config.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0.7,
            "max_tokens": config.max_new_tokens,
            "seed": seed % 2**31,
        }
        problem = ""
        for attempt in range(config.retries + 1):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            try:
                status, text = self._post(body, headers)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            except httpx.RequestError as error:
                raise ToolError(f"endpoint: {type(error).__name__}: {error}") from error
            if status in TRANSIENT:
                problem = f"HTTP {status}"
                continue
            return _content(status, text)
        raise NoConnection(f"{config.url}: {problem} after {config.retries + 1} tries")

    def _post(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, str]:
        """Status and text of one answer, all of it within the time limit: the library's own is for each piece of it."""
        import httpx

        config = self._config
        if self._client is None:
            # Made once: it reads the machine's certificates, and keeps connections open.
            self._client = httpx.Client(timeout=config.timeout)
        end = time.monotonic() + config.timeout
        content = bytearray()
        with self._client.stream("POST", _address(config), json=body, headers=headers) as response:
            for piece in response.iter_bytes():
                content += piece
                if len(content) > MOST_BYTES:
                    raise ToolError(f"endpoint: an answer of more than {MOST_BYTES} bytes")
                if time.monotonic() > end:
                    raise httpx.ReadTimeout(f"the answer is not complete after {config.timeout:g} s")
        return response.status_code, content.decode("utf-8", "replace")


def _address(config: WriterConfig) -> str:
    return f"{str(config.url).rstrip('/')}/chat/completions"


def _content(status: int, text: str) -> str:
    """The text of a chat completion.

    Raises:
        ToolError: The answer is none.
    """
    if status >= 400:
        raise ToolError(f"endpoint: HTTP {status}: {text[:200]}")
    try:
        content = json.loads(text)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ToolError(f"endpoint: not a chat completion: {text[:200]!r}") from error
    if not isinstance(content, str):
        raise ToolError("endpoint: a chat completion without text")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise ToolError("endpoint: a chat completion with half a character") from error
    return content


class TransformersModel:
    """A local causal language model, decoded greedily so that the same prompt gives the same answer.

    Args:
        model: The model.
        tokenizer: Its tokenizer, with a chat template or without.
        name: For provenance.
        revision: Which weights stand behind the name.
        max_new_tokens: Longest answer.
        device: Where it runs.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str, revision: str, max_new_tokens: int, device: str = "cpu"
    ) -> None:
        self.name = name
        self.settings = f"{revision} max_new_tokens={max_new_tokens}"
        self._model = model.eval().to(device)
        self._tokenizer = tokenizer
        self._most = max_new_tokens
        self._device = device

    @classmethod
    def load(cls, config: WriterConfig) -> "TransformersModel":
        """Read a model from a folder or the hub's cache.

        Raises:
            ToolUnavailable: There is none of that name.
        """
        from transformers import AutoModelForCausalLM, AutoTokenizer

        if config.model is None:
            raise ToolUnavailable("transformers: set writer.model to a folder or a hub name")
        try:
            where = locate_model(config.model)
            model = AutoModelForCausalLM.from_pretrained(where)
            tokenizer = AutoTokenizer.from_pretrained(where)
        except (OSError, ValueError) as error:
            raise ToolUnavailable(f"transformers: no model {config.model!r} ({error})") from error
        return cls(
            model,
            tokenizer,
            name=config.model,
            revision=model_revision(where),
            max_new_tokens=config.max_new_tokens,
            device=config.device,
        )

    def complete(self, prompt: str, seed: int) -> str:
        """Decode greedily; the seed is not needed.

        Raises:
            ToolError: The model failed.
        """
        import torch

        del seed
        text = prompt
        if getattr(self._tokenizer, "chat_template", None):
            messages = [{"role": "user", "content": prompt}]
            text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = self._tokenizer(text, return_tensors="pt").to(self._device)
        try:
            with torch.inference_mode():
                output = self._model.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    max_new_tokens=self._most,
                    do_sample=False,
                )
        except RuntimeError as error:
            raise ToolError(f"transformers: {error}") from error
        answer: str = self._tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return answer
