"""The judges by name; only here is known what each is made of."""

import importlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.judges.verdicts import Judge, JudgeError
from benchmark.runs import Run

FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeOptions:
    """What a command line says about a judge.

    Attributes:
        model: Model id, folder or hub id (`vlm`), or CLIP (`zero-shot`, as `--clip-model` of `score`).
        endpoint: Base address of an OpenAI-compatible server (`vlm`); a local model where it is None.
        api_key_env: Environment variable that holds the key.
        vocabulary: File of further labels (`zero-shot`).
        lowest_psnr: Of the background in dB (`zero-shot`); None for the judge's own.
        cache: Folder of raw replies (`vlm`); in the run folder by default.
        concurrency: Questions at once.
        timeout: Seconds for a reply.
        attempts: Attempts for a reply.
        max_tokens: Length of a reply.
        token_field: What the endpoint calls that length.
        device: Where a local model runs.
    """

    model: str | None = None
    endpoint: str | None = None
    api_key_env: str | None = None
    vocabulary: Path | None = None
    lowest_psnr: float | None = None
    cache: Path | None = None
    concurrency: int = 4
    timeout: float = 120.0
    attempts: int = 6
    max_tokens: int = 16
    token_field: str = "max_tokens"
    device: str = "auto"


def _zero_shot(run: Run, options: JudgeOptions) -> Judge:
    from benchmark.judges.zero_shot import LOWEST_PSNR, ZeroShotJudge, read_vocabulary
    from benchmark.networks import find_clip, pick_device

    name = options.model if options.model is not None else "openai/clip-vit-large-patch14"
    clip = find_clip(name, pick_device(options.device))
    labels = [s.target_label for s in run.samples()]
    labels += read_vocabulary(options.vocabulary) if options.vocabulary else []
    lowest = LOWEST_PSNR if options.lowest_psnr is None else options.lowest_psnr
    return ZeroShotJudge(clip.load(), f"{name}@{clip.sha256[:12]}", tuple(labels), lowest)


def _vlm(run: Run, options: JudgeOptions) -> Judge:
    from benchmark.judges.replies import ReplyCache
    from benchmark.judges.vlm import LocalVisionChat, VisionChat, VlmJudge

    if options.model is None:
        raise JudgeError("vlm needs --model: a pinned model id for --endpoint, else a folder or hub id")
    chat: VisionChat
    if options.endpoint is not None:
        from benchmark.judges.endpoint import EndpointChat

        chat = EndpointChat(
            options.endpoint,
            options.model,
            api_key=_key(options.api_key_env),
            concurrency=options.concurrency,
            timeout=options.timeout,
            attempts=options.attempts,
            max_tokens=options.max_tokens,
            token_field=options.token_field,
        )
    else:
        chat = LocalVisionChat(options.model, device=options.device, max_new_tokens=options.max_tokens)
    folder = options.cache if options.cache is not None else run.folder / "judges" / "replies"
    return VlmJudge(chat, ReplyCache(folder))


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key or not key.isprintable():
        state = "holds unprintable characters" if key else "is not set"
        raise JudgeError(f"--api-key-env {variable}: this environment variable {state}")
    return key


Factory = Callable[[Run, JudgeOptions], Judge]

JUDGES: dict[str, Factory] = {"zero-shot": _zero_shot, "vlm": _vlm}
"""The judges of any data set; `package.module:factory` names one from outside, called with the run and the options."""


def build_judge(kind: str, run: Run, options: JudgeOptions, judges: Mapping[str, Factory] = JUDGES) -> Judge:
    """Build a judge by name.

    Args:
        kind: A key of `judges`, or `package.module:factory`.
        run: The run that it will judge.
        options: What the user wants of it.
        judges: The judges by name; a command adds those that know one data set only.

    Returns:
        The judge.

    Raises:
        JudgeError: There is no such judge, or something that it needs is missing.
    """
    if kind in judges:
        return judges[kind](run, options)
    if not FACTORY.fullmatch(kind):
        raise JudgeError(f"unknown judge {kind!r}; there are {', '.join(judges)}, or package.module:factory")
    module, _, attribute = kind.partition(":")
    try:
        factory = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise JudgeError(f"judge {kind}: {error}") from error
    judge: Judge = factory(run, options)
    return judge


def default_name(kind: str, names: Iterable[str] = tuple(JUDGES)) -> str:
    """What tables call a judge of this kind unless the user says otherwise."""
    return kind if kind in names else kind.rpartition(":")[2]
