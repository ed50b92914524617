"""Language models that answer a prompt: an OpenAI-compatible endpoint, or a local model of transformers."""

import os
import time
from typing import Any, Protocol

from smartedit.config.synthesis import WriterConfig
from smartedit.hub import locate_model
from smartedit.tools.protocols import ToolError, ToolUnavailable

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""HTTP answers after which another try may help."""


class NoConnection(ToolError):
    """An endpoint could not be reached, or kept failing, after all tries."""


class LanguageModel(Protocol):
    """Answers prompts."""

    name: str

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
    return Endpoint(config)


class Endpoint:
    """A chat model behind an OpenAI-compatible API.

    Args:
        config: Address, model, time to wait, tries. The key comes from the named environment variable only.
        pause: Seconds before the second try; doubles with every further one.
    """

    def __init__(self, config: WriterConfig, pause: float = 1.0) -> None:
        self.name = f"{config.model}"
        self._config = config
        self._pause = pause

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
            headers["Authorization"] = f"Bearer {os.environ.get(config.api_key_variable, '')}"
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
                address = f"{str(config.url).rstrip('/')}/chat/completions"
                response = httpx.post(address, json=body, headers=headers, timeout=config.timeout)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if response.status_code in TRANSIENT:
                problem = f"HTTP {response.status_code}"
                continue
            return _content(response)
        raise NoConnection(f"{config.url}: {problem} after {config.retries + 1} tries")


def _content(response: Any) -> str:
    """The text of a chat completion.

    Raises:
        ToolError: The answer is none.
    """
    if response.status_code >= 400:
        raise ToolError(f"endpoint: HTTP {response.status_code}: {response.text[:200]}")
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ToolError(f"endpoint: not a chat completion: {response.text[:200]!r}") from error
    if not isinstance(content, str):
        raise ToolError("endpoint: a chat completion without text")
    return content


class TransformersModel:
    """A local causal language model, decoded greedily so that the same prompt gives the same answer.

    Args:
        model: The model.
        tokenizer: Its tokenizer, with a chat template or without.
        name: For provenance and the cache.
        max_new_tokens: Longest answer.
        device: Where it runs.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str, max_new_tokens: int, device: str = "cpu") -> None:
        self.name = name
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
        return cls(model, tokenizer, name=config.model, max_new_tokens=config.max_new_tokens, device=config.device)

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
