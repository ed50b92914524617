"""Instructions and clues by a language model: cached, checked, and rejected rather than repaired."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from reason_edit.files import write_text
from smartedit.seeding import seed_from
from smartedit.tools.language_models import LanguageModel, NoConnection
from smartedit.tools.protocols import EditFacts, Operation, ToolError, ToolUnavailable
from smartedit.tools.wording import fault, names_word


class Answers:
    """A language model's lists of texts, kept on disk under a hash of all that decides them.

    Args:
        model: The model.
        folder: Where answers are kept.
        give_up_after: So many prompts in a row without a connection end the run.
    """

    def __init__(self, model: LanguageModel, folder: Path, give_up_after: int) -> None:
        self._model = model
        self._folder = folder
        self._most = give_up_after
        self._unanswered = 0

    def ask(self, prompt: str, seed: int) -> list[str]:
        """The texts of the kept answer, or of a new one; an answer that holds no list is not kept.

        Raises:
            ToolError: The model gave none, or no list.
            ToolUnavailable: There was no connection several times in a row.
        """
        asked = [self._model.name, self._model.settings, prompt, str(seed)]
        key = hashlib.sha256("\x1f".join(asked).encode()).hexdigest()
        path = self._folder / f"{key}.json"
        if path.is_file():
            return parse_texts(json.loads(path.read_text(encoding="utf-8"))["answer"])
        try:
            answer = self._model.complete(prompt, seed)
        except NoConnection as error:
            self._unanswered += 1
            if self._unanswered >= self._most:
                raise ToolUnavailable(
                    f"the language model does not answer ({error}); what is done is kept, so run the same command "
                    "again when it does"
                ) from error
            raise
        self._unanswered = 0
        texts = parse_texts(answer)
        record = {"model": self._model.name, "prompt": prompt, "seed": seed, "answer": answer}
        write_text(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        return texts


class LanguageModelWriter:
    """Writes instructions with a language model.

    Args:
        model: Answers prompts.
        cache: Folder of kept answers.
        count: Instructions an edit.
        give_up_after: So many edits in a row without a connection end the run.
        attempts: Answers to ask for until enough instructions stand the check.
    """

    def __init__(
        self, model: LanguageModel, *, cache: Path, count: int = 4, give_up_after: int = 5, attempts: int = 2
    ) -> None:
        self._answers = Answers(model, cache, give_up_after)
        self._count = count
        self._attempts = attempts

    def write(self, facts: Sequence[EditFacts]) -> list[tuple[str, ...] | ToolError]:
        """Ask for instructions and keep only those without a fault; too few of them are an error.

        Raises:
            ToolUnavailable: There was no connection several times in a row.
        """
        return [self._write(fact) for fact in facts]

    def _write(self, fact: EditFacts) -> tuple[str, ...] | ToolError:
        good: list[str] = []
        problem = "no answer"
        for attempt in range(self._attempts):
            try:
                texts = self._answers.ask(prompt_for(fact, self._count), seed_from("answer", fact.seed, attempt))
            except ToolUnavailable:
                raise
            except ToolError as error:
                problem = str(error)
                continue
            for text in texts:
                wrong = fault(text, fact)
                if wrong is None and text not in good:
                    good.append(text)
                problem = wrong or problem
            if len(good) >= self._count:
                return tuple(good[: self._count])
        return ToolError(f"{len(good)} of {self._count} usable instructions: {problem}")


def prompt_for(fact: EditFacts, count: int) -> str:
    """What a language model is asked for, and nothing that it must not say but the words that it must avoid."""
    it = f'"the {fact.referring}"'
    task = {
        Operation.REPLACE: f"replacing {it} with {fact.replacement_phrase}",
        Operation.REMOVE: f"removing {it}",
        Operation.ADD: f"putting {fact.replacement_phrase} {fact.place} {it}",
    }[fact.operation]
    rules = [f"each contains the words {it[1:-1]!r} unchanged"]
    if fact.forbidden:
        rules.append(f"none contains any of these words: {', '.join(fact.forbidden)}")
    if fact.replacement is not None:
        rules.append(f"each names {fact.replacement_phrase}")
    return (
        f"Write {count} different short instructions to a picture editor for {task}. Vary the wording; some may ask "
        f"first what the thing is. Rules: {'; '.join(rules)}; nothing else about the picture is mentioned. Answer with "
        "a JSON list of strings and nothing else."
    )


def parse_texts(answer: str) -> list[str]:
    """The JSON list of strings in an answer.

    Raises:
        ToolError: There is none.
    """
    match = re.search(r"\[.*\]", answer, flags=re.DOTALL)
    try:
        texts = json.loads(match[0]) if match else None
    except (json.JSONDecodeError, RecursionError):
        texts = None
    if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        raise ToolError(f"the answer holds no JSON list of strings: {answer[:120]!r}")
    return [" ".join(text.split()) for text in texts]


class ClueWriter:
    """Asks a language model for clues; grounding has to confirm them later.

    Args:
        model: Answers prompts.
        cache: Folder of kept answers.
        count: Clues a thing.
        give_up_after: So many prompts in a row without a connection end the run.
    """

    def __init__(self, model: LanguageModel, *, cache: Path, count: int, give_up_after: int = 5) -> None:
        self._answers = Answers(model, cache, give_up_after)
        self._count = count
        self.name = model.name

    def clues(self, kind: str, forbidden: Sequence[str], others: Sequence[str]) -> list[str]:
        """Noun phrases that point at a thing by what one knows of it.

        Args:
            kind: The thing.
            forbidden: Words that a clue must not contain.
            others: What else is in the picture, and must not fit.

        Returns:
            Usable clues, perhaps none.

        Raises:
            ToolError: The model gave no list.
            ToolUnavailable: There was no connection several times in a row.
        """
        beside = f" It must not fit {', '.join(others)}." if others else ""
        prompt = (
            f"Give {self._count} noun phrases without an article that describe {kind!r} by its use or by common "
            f"knowledge, such as 'object that ...'. None contains {', '.join(forbidden)}.{beside} Answer with a JSON "
            "list of strings and nothing else."
        )
        texts = self._answers.ask(prompt, seed_from("clue", kind, *others))
        usable = [
            re.sub(r"^(the|an?)\s+", "", text, flags=re.IGNORECASE).rstrip(".")
            for text in texts
            if 8 <= len(text) <= 120
            and text.isprintable()
            and not any(names_word(text, word) for word in (*forbidden, *others))
        ]
        return list(dict.fromkeys(usable))[: self._count]
