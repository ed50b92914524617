"""One question to a vision-language model, and what counts as an answer to it."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.judges.verdicts import Case, Opinion
from reason_edit.files import write_text
from reason_edit.rating.study import Answer

PROTOCOL = "judge-vlm-v1"

QUESTION = (
    "The first picture is the original. The second picture is what an editor made of it for this instruction:\n"
    "{instruction}\n"
    "Does the second picture show exactly what the instruction asks for, done to the right object, with the rest of "
    "the picture left as it was? Answer with one word: yes, no, or unsure."
)

WORDS = {"yes": Answer.ALIGNED, "no": Answer.NOT_ALIGNED, "unsure": Answer.CANNOT_TELL}
FIRST_WORD = re.compile(r"^\W*(yes|no|unsure)\b\s*(?:[.,;:!)\"'*\u2013\u2014-]|$)", re.IGNORECASE)
ANY_WORD = re.compile(r"\b(yes|no|unsure|not sure|cannot tell|can't tell)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What a model said.

    Attributes:
        text: Its words, unchanged; None where it gave none.
        refusal: Why it gave none, in the provider's words; None where it did.
        served_model: The model that says it answered, where the endpoint tells.
    """

    text: str | None
    refusal: str | None
    served_model: str | None


def opinion_of(reply: Reply) -> Opinion:
    """Read a reply strictly.

    The first word must be yes, no or unsure, end there or be followed by punctuation, and no other of these words may
    follow: "no doubt it does" and "yes and no" are no answers.

    Args:
        reply: What the model said.

    Returns:
        An answer, or the reason why there is none.
    """
    if reply.text is None:
        return Opinion(answer=None, reason=f"refused: {reply.refusal or 'no words'}", reply=reply.refusal)
    found = FIRST_WORD.match(reply.text.strip())
    if not found:
        return Opinion(answer=None, reason="unreadable reply", reply=reply.text)
    word = found[1].lower()
    if {w.lower() for w in ANY_WORD.findall(reply.text)} - {word}:
        return Opinion(answer=None, reason="unreadable reply: it says one thing and another", reply=reply.text)
    answer = WORDS[word]
    if answer is Answer.CANNOT_TELL:
        return Opinion(answer=None, reason="the judge is unsure", reply=reply.text)
    return Opinion(answer=answer, reason=None, reply=reply.text)


@dataclass(frozen=True, slots=True)
class ReplyCache:
    """Replies on disk, keyed by everything that decides them: model, question, settings and both pictures' bytes.

    Attributes:
        folder: One JSON file a reply; safe to share between runs.
    """

    folder: Path

    def key(self, case: Case, source_sha256: str, model: str, settings: str) -> str:
        """The name of the reply to a case."""
        parts = [PROTOCOL, model, settings, QUESTION, case.sample.instruction, source_sha256, case.edited_sha256]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def find(self, key: str) -> Reply | None:
        """A reply that was kept; None where there is none, or its file is broken."""
        path = self.folder / key[:2] / f"{key}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return Reply(**content["reply"])
        except (OSError, json.JSONDecodeError, KeyError, TypeError):
            return None

    def keep(self, key: str, reply: Reply, model: str) -> None:
        """Keep a reply, whole or not at all."""
        content = json.dumps({"model": model, "reply": asdict(reply)}, ensure_ascii=False, sort_keys=True)
        write_text(self.folder / key[:2] / f"{key}.json", content + "\n")
