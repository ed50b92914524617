"""A vision-language model as judge: one question an edit, pinned model, every raw reply kept."""

import io
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from benchmark.judges.replies import PROTOCOL, QUESTION, Reply, ReplyCache, opinion_of
from benchmark.judges.verdicts import Case, JudgeError, Opinion
from reason_edit.files import file_sha256
from reason_edit.rating.pictures import blind_png, open_upright
from reason_edit.rating.study import RatingError

LONGEST_SIDE = 1024
"""Pixels; larger pictures are sent at this size."""

UNREACHABLE_IN_A_ROW = 8
"""After so many cases without any reply the judge stops; what was answered is kept."""


class NoReply(Exception):
    """A model gave nothing for this case, though it was asked again: a time-out, a lost connection, an overload."""


class VisionChat(Protocol):
    """A model that answers a question on pictures.

    Attributes:
        model: The pinned model.
        settings: What else decides its words, as text.
        concurrency: How many questions it takes at once.
    """

    model: str
    settings: str
    concurrency: int

    def ask(self, question: str, pictures: Sequence[bytes]) -> Reply:
        """Answer one question on PNG pictures, at temperature 0.

        Raises:
            NoReply: There is none, and asking again did not help.
            JudgeError: There will be none: a wrong key, an unknown model.
        """
        ...


@dataclass(slots=True)
class VlmJudge:
    """Asks `QUESTION` of every edit; a reply that was kept is not asked for again.

    Attributes:
        chat: The model.
        cache: The replies.
        protocol: Name and version of this procedure.
    """

    chat: VisionChat
    cache: ReplyCache
    protocol: str = PROTOCOL

    @property
    def model(self) -> str:
        """The pinned model."""
        return self.chat.model

    def judge(self, cases: Sequence[Case]) -> Iterator[Opinion]:
        """Judge cases, several at once, in order; time-outs are not kept, so a rerun asks those again."""
        silent = 0
        with ThreadPoolExecutor(max_workers=self.chat.concurrency) as pool:
            waiting: deque[Future[Opinion | NoReply]] = deque()
            rest = iter(cases)
            try:
                while True:
                    while len(waiting) < 2 * self.chat.concurrency and (case := next(rest, None)) is not None:
                        waiting.append(pool.submit(self._one, case))
                    if not waiting:
                        return
                    found = waiting.popleft().result()
                    silent = silent + 1 if isinstance(found, NoReply) else 0
                    if silent >= UNREACHABLE_IN_A_ROW:
                        raise JudgeError(
                            f"{self.model}: no reply to {silent} questions in a row ({found}); replies so far are "
                            "kept, run the same command again"
                        )
                    if isinstance(found, NoReply):
                        found = Opinion(answer=None, reason=f"no reply: {found}", reply=None)
                    yield found
            finally:
                for future in waiting:
                    future.cancel()

    def _one(self, case: Case) -> Opinion | NoReply:
        try:
            key = self.cache.key(case, file_sha256(case.sample.image), self.model, self.chat.settings)
            reply = self.cache.find(key)
            if reply is None:
                reply = self.chat.ask(QUESTION.format(instruction=case.sample.instruction), _pictures(case))
                self.cache.keep(key, reply, self.model)
        except NoReply as error:
            return error
        except (RatingError, OSError) as error:
            return Opinion(answer=None, reason=str(error), reply=None)
        return opinion_of(reply)


def _pictures(case: Case) -> list[bytes]:
    """Source and edit as a rater would get them: one size, no metadata."""
    source = open_upright(case.sample.image.read_bytes(), str(case.sample.image))
    edited = open_upright(case.edited.read_bytes(), str(case.edited))
    scale = min(1.0, LONGEST_SIDE / max(source.size))
    size = (max(1, round(source.width * scale)), max(1, round(source.height * scale)))
    return [blind_png(source, size), blind_png(edited, size)]


class LocalVisionChat:
    """An image-text model of transformers, decoded greedily."""

    concurrency = 1

    def __init__(self, name: str, *, device: str = "auto", max_new_tokens: int = 16) -> None:
        """Load a model.

        Args:
            name: A folder with weights and processor, or a hub id.
            device: "auto" (cuda, mps, cpu) or a torch device.
            max_new_tokens: Length of a reply at most.

        Raises:
            JudgeError: Something is missing; a network with random weights never judges.
        """
        from benchmark.hub import hub_answers
        from benchmark.networks import NetworkError, pick_device

        folder = Path(name).expanduser()
        if not folder.is_dir():
            folder = _snapshot(name, online=hub_answers(name))
        try:
            self.device = pick_device(device)
            self.model_object, self.processor = _load(folder, self.device)
        except (OSError, ValueError, KeyError, ImportError, NetworkError) as error:
            raise JudgeError(f"{name}: cannot be loaded as an image-text model ({error})") from error
        self.model = f"{name}@{_weights_hash(folder)[:12]}"
        self.max_new_tokens = max_new_tokens
        self.settings = f"transformers greedy {max_new_tokens}"

    def ask(self, question: str, pictures: Sequence[bytes]) -> Reply:
        """Answer one question on PNG pictures."""
        import torch

        content: list[dict[str, Any]] = [{"type": "image"} for _ in pictures]
        messages = [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        images = [Image.open(io.BytesIO(p)) for p in pictures]
        inputs = self.processor(text=text, images=images, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            tokens = self.model_object.generate(**inputs, do_sample=False, max_new_tokens=self.max_new_tokens)
        said = tokens[0, inputs["input_ids"].shape[1] :]
        words = str(self.processor.decode(said, skip_special_tokens=True))
        return Reply(text=words, refusal=None, served_model=self.model)


def _snapshot(name: str, *, online: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, local_files_only=not online))
    except (HFValidationError, OSError, ValueError) as error:
        raise JudgeError(f"{name}: no such folder, and no model that can be had from the hub ({error})") from error


def _load(folder: Path, device: str) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, loaded = AutoModelForImageTextToText.from_pretrained(
        folder, local_files_only=True, dtype="auto", output_loading_info=True
    )
    lost = sorted(loaded["missing_keys"]) + [str(k) for k in loaded["mismatched_keys"]]
    if lost:
        raise ValueError(f"the weights lack {', '.join(lost[:3])} and {len(lost)} tensors in all")
    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    return model.eval().requires_grad_(False).to(device), processor


def _weights_hash(folder: Path) -> str:
    """A hash over the files that decide a model's words."""
    import hashlib

    names = sorted(
        p for pattern in ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt") for p in folder.glob(pattern)
    )
    lines = [f"{p.name} {file_sha256(p)}\n" for p in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
