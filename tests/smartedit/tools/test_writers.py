"""Writers: wordings that hold together, a language model behind a real HTTP server, and its failures as rejections."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from smartedit.config.synthesis import WriterConfig
from smartedit.synthesis.knowledge import read_knowledge
from smartedit.tools.build import build_clue_writer, build_language_model, build_writer
from smartedit.tools.instruction_writer import ASKING, DIRECT, TemplateWriter
from smartedit.tools.language_models import Endpoint
from smartedit.tools.llm_writer import ClueWriter, LanguageModelWriter
from smartedit.tools.protocols import EditFacts, Operation, ToolError, ToolUnavailable
from smartedit.tools.wording import fault

CLUE = "object that can tell the time"


def facts(operation: Operation = Operation.REPLACE, *, clue: bool = False, seed: int = 1) -> EditFacts:
    removed = operation is Operation.REMOVE
    return EditFacts(
        operation=operation,
        kind="clock",
        referring=CLUE if clue else "left clock",
        attribute="" if clue else "left",
        forbidden=("clock", "watch") if clue else (),
        replacement=None if removed else "orange",
        replacement_phrase=None if removed else "an orange",
        place="to the right of" if operation is Operation.ADD else None,
        seed=seed,
        others=() if clue else ("clock on the left",),
        known=frozenset({"clock", "orange", "dog", "dining table", "mirror"}),
    )


@pytest.mark.parametrize("operation", list(Operation))
@pytest.mark.parametrize("clue", [False, True])
def test_every_template_says_what_is_true(operation: Operation, clue: bool) -> None:
    fact = facts(operation, clue=clue)
    (texts,) = TemplateWriter(count=30).write([fact])
    assert isinstance(texts, tuple)
    assert len(set(texts)) == len(DIRECT[operation]) + (len(ASKING[operation]) if clue else 0)
    for text in texts:
        assert fault(text, fact) is None
        assert "{" not in text
        assert "None" not in text
        assert text[0].isupper()
        assert text[-1] in ".?"


def test_wording_follows_from_the_seed_alone() -> None:
    writer = TemplateWriter(count=3)
    together = writer.write([facts(seed=1), facts(seed=2), facts(seed=1)])
    assert together[0] == together[2] != together[1]
    assert together[1] == writer.write([facts(seed=2)])[0]


@pytest.mark.parametrize(
    ("text", "clue", "problem"),
    [
        ("Change the clock to an orange.", False, "leaves out 'left'"),
        ("Change the left clock to a pear.", False, "does not name 'orange'"),
        ("Change the left thing to an orange.", False, "does not name 'clock'"),
        ("Change the left clock\nto an orange.", False, "not one short line"),
        (f"Change the {CLUE}, a clock, to an orange.", True, "gives 'clock' away"),
        ("Change the thing on the wall to an orange.", True, "leaves out the clue"),
        ("Change the left clock to an orange and remove the dogs.", False, "speaks of 'dog'"),
        ("Put an orange where the left clock is on the dining table.", False, "speaks of 'dining table'"),
        ("Change the left clock in the mirror to an orange.", False, "speaks of 'mirror'"),
        (f"What is the {CLUE}? Change it and the dog to an orange.", True, "speaks of 'dog'"),
        ("Change the left clock\u202e to an orange.", False, "not one short line"),
        ("Change the left clock to an orange\ud800.", False, "not one short line"),
    ],
)
def test_wrong_wordings_are_found(text: str, clue: bool, problem: str) -> None:
    assert problem in (fault(text, facts(clue=clue)) or "")


def test_names_within_names_are_no_other_things() -> None:
    fact = replace(facts(), kind="hot dog", referring="left hot dog", others=(), replacement="teddy bear")
    fact = replace(fact, replacement_phrase="a teddy bear", known=frozenset({"dog", "hot dog", "bear", "teddy bear"}))
    assert fault("Change the left hot dog to a teddy bear.", fact) is None
    assert "speaks of 'bear'" in (fault("Change the left hot dog to a teddy bear beside a bear.", fact) or "")
    assert fault("Change what the mirror shows of the clock to an orange.", mirrored(inside=True)) is None


def mirrored(operation: Operation = Operation.REPLACE, *, inside: bool) -> EditFacts:
    where = "in the mirror" if inside else "outside the mirror"
    others = ("reflected clock", "clock that shows in the mirror")
    if not inside:
        others = ("clock that is not in the mirror", "real clock")
    return replace(facts(operation), referring=f"clock {where}", attribute=where, others=others)


@pytest.mark.parametrize("operation", [Operation.REPLACE, Operation.REMOVE])
@pytest.mark.parametrize("inside", [True, False])
def test_templates_say_which_side_of_a_mirror_they_mean(operation: Operation, inside: bool) -> None:
    fact, opposite = mirrored(operation, inside=inside), mirrored(operation, inside=not inside)
    (texts,) = TemplateWriter(count=30).write([fact])
    assert not isinstance(texts, ToolError)
    for text in texts:
        assert fault(text, fact) is None
        assert "does not mean what is" in (fault(text, opposite) or "")


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("Remove the clock inside the mirror.", True),
        ("Remove the mirror image of the clock.", True),
        ("Remove the reflection of the clock, not the real one.", True),
        ("Do not leave the clock in the mirror.", True),
        ("Please take the clock in the mirror out of the picture.", True),
        ("Remove the clock that isn't reflected.", False),
        ("Remove the clock, not the one in the mirror.", False),
        ("Remove the clock outside the mirror, not its reflection.", False),
        ("I do not want the real clock.", False),
    ],
)
def test_either_side_of_a_mirror_has_many_names(text: str, inside: bool) -> None:
    assert fault(text, mirrored(Operation.REMOVE, inside=inside)) is None
    assert "does not mean what is" in (fault(text, mirrored(Operation.REMOVE, inside=not inside)) or "")


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Remove the clock in front of the mirror.", "leaves out"),
        ("Remove the realistic clock.", "leaves out"),
        ("Remove the real clock and the one in the mirror.", "does not mean what is"),
    ],
)
def test_no_side_or_both_sides_of_a_mirror_are_wrong(text: str, problem: str, inside: bool) -> None:
    assert problem in (fault(text, mirrored(Operation.REMOVE, inside=inside)) or "")


@pytest.mark.parametrize("clue", [False, True])
def test_a_removal_brings_nothing(clue: bool) -> None:
    fact = facts(Operation.REMOVE, clue=clue)
    for verb, rest in (("Replace", " with something else"), ("Swap", ""), ("Please add to", "")):
        assert "else than a removal" in (fault(f"{verb} the {fact.referring}{rest}.", fact) or "")


def test_a_clue_may_speak_of_adding() -> None:
    fact = replace(facts(Operation.REMOVE, clue=True), referring="spice that cooks add last")
    assert fault("Remove the spice that cooks add last.", fact) is None


def test_no_template_names_a_thing_of_the_table() -> None:
    things = read_knowledge().things
    known = frozenset(name.lower() for name in things)
    for kind, other in zip(things, [*list(things)[1:], "apple"], strict=True):
        for operation in Operation:
            fact = replace(facts(operation), kind=kind, referring=f"left {kind}", others=(f"{kind} on the left",))
            if operation is not Operation.REMOVE:
                fact = replace(fact, replacement=other, replacement_phrase=things[other].one)
            (texts,) = TemplateWriter(count=30).write([replace(fact, known=known)])
            assert not isinstance(texts, ToolError)
            assert [fault(text, replace(fact, known=known)) for text in texts] == [None] * len(texts)


Reply = Callable[[dict[str, object]], tuple[int, str]]


SLOWLY, COMPRESSED = "\f", "not compressed"
"""A reply that is sent piece by piece, and one that is not what its header says."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[dict[str, object]], list[Reply]]]:
    """A real HTTP server; its last reply function answers, and every request is kept."""
    asked: list[dict[str, object]] = []
    replies: list[Reply] = []
    release = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body | {"path": self.path, "auth": self.headers.get("Authorization")})
            status, text = replies[-1](body)
            self.send_response(status)
            if text == COMPRESSED:
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for piece in text.split(SLOWLY):
                    self.wfile.write(piece.encode())
                    release.wait(0.05 if SLOWLY in text else 0)

        def log_message(self, *_: object) -> None:
            pass

    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{service.server_port}/v1", asked, replies
    release.set()
    service.shutdown()
    service.server_close()


def answer(*texts: str) -> Reply:
    content = "Sure! " + json.dumps(list(texts))
    return lambda _: (200, json.dumps({"choices": [{"message": {"content": content}}]}))


def config(url: str, **changes: object) -> WriterConfig:
    options: dict[str, object] = {"name": "endpoint", "model": "m", "url": url, "count": 2, "retries": 1, "timeout": 2}
    return WriterConfig(**(options | changes))  # type: ignore[arg-type]


def writer_for(config: WriterConfig, cache: Path) -> LanguageModelWriter:
    model = Endpoint(config, pause=0.01)
    return LanguageModelWriter(model, cache=cache, count=config.count, give_up_after=config.give_up_after)


GOOD = ("Turn the left clock into an orange.", "Let the left clock become an orange.")


def test_an_endpoint_is_asked_once_and_then_remembered(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, asked, replies = server
    monkeypatch.setenv("A_KEY", "secret")
    replies.append(answer(*GOOD))
    settings = config(url, api_key_variable="A_KEY")
    first = build_writer(settings, tmp_path).write([facts()])
    again = build_writer(settings, tmp_path).write([facts()])
    assert first == again == [GOOD]
    assert len(asked) == 1
    assert asked[0]["path"] == "/v1/chat/completions"
    assert asked[0]["auth"] == "Bearer secret"
    assert "secret" not in "".join(p.read_text() for p in tmp_path.iterdir())


def test_another_model_address_or_length_is_asked_anew(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path
) -> None:
    url, asked, replies = server
    replies.append(answer(*GOOD))
    settings = config(url)
    others = [replace(settings, model="n"), replace(settings, url=f"{url}/n"), replace(settings, max_new_tokens=512)]
    for number, other in enumerate([settings, *others], start=1):
        assert build_writer(other, tmp_path).write([facts()]) == [GOOD]
        assert len(asked) == number


def test_an_answer_without_a_list_is_not_remembered(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path
) -> None:
    url, _, replies = server
    replies.append(lambda _: (200, json.dumps({"choices": [{"message": {"content": '["Turn the left'}}]})))
    (cut_off,) = build_writer(config(url), tmp_path).write([facts()])
    assert "no JSON list" in str(cut_off)
    replies.append(answer(*GOOD))
    assert build_writer(config(url), tmp_path).write([facts()]) == [GOOD]


def test_only_true_wordings_are_taken(server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path) -> None:
    url, asked, replies = server
    replies.append(answer("Change the clock to an orange.", GOOD[0]))
    (result,) = writer_for(config(url), tmp_path).write([facts()])
    assert isinstance(result, ToolError)
    assert "1 of 2 usable" in str(result)
    assert "leaves out 'left'" in str(result)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ((200, "<html>busy</html>"), "not a chat completion"),
        ((200, '{"choices": []}'), "not a chat completion"),
        ((200, '{"choices": [{"message": {"content": "I am sorry."}}]}'), "no JSON list"),
        ((200, '{"choices": [{"message": {"content": null}}]}'), "without text"),
        ((401, "bad key"), "HTTP 401: bad key"),
        ((200, "[" * 100_000), "not a chat completion"),
        ((200, json.dumps({"choices": [{"message": {"content": "[" * 100_000 + "]"}}]})), "no JSON list"),
        ((200, '{"choices": [{"message": {"content": "\\ud800"}}]}'), "half a character"),
        ((200, "x" * 5_000_000), "more than 4000000 bytes"),
    ],
)
def test_nonsense_rejects_the_sample(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path, reply: tuple[int, str], problem: str
) -> None:
    url, _, replies = server
    replies.append(lambda _: reply)
    results = writer_for(config(url), tmp_path).write([facts(seed=n) for n in range(7)])
    assert all(isinstance(r, ToolError) and problem in str(r) for r in results)


def test_passing_failures_are_tried_again(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path
) -> None:
    url, asked, replies = server
    replies.append(lambda body: (503, "later") if len(asked) == 1 else answer(*GOOD)(body))
    assert writer_for(config(url), tmp_path).write([facts()]) == [GOOD]
    assert len(asked) == 2


def test_a_dead_endpoint_ends_the_run_with_a_remedy(tmp_path: Path) -> None:
    writer = writer_for(config("http://127.0.0.1:9/v1", give_up_after=3), tmp_path)
    with pytest.raises(ToolUnavailable, match="run the same command again"):
        writer.write([facts(seed=n) for n in range(4)])


def test_a_hanging_endpoint_is_left_after_the_time_limit(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path
) -> None:
    url, _, replies = server
    release = threading.Event()

    def hang(_: dict[str, object]) -> tuple[int, str]:
        release.wait(5)
        return 200, ""

    replies.append(hang)
    (result,) = writer_for(config(url, timeout=0.1, retries=0), tmp_path).write([facts()])
    release.set()
    assert isinstance(result, ToolError)
    assert "ReadTimeout" in str(result)


def test_an_endpoint_that_sends_for_ever_hangs_too(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path
) -> None:
    url, _, replies = server
    replies.append(lambda _: (200, SLOWLY.join(" " * 2000)))
    (result,) = writer_for(config(url, timeout=0.3, retries=0), tmp_path).write([facts()])
    assert isinstance(result, ToolError)
    assert "not complete after 0.3 s" in str(result)


def test_a_reply_that_cannot_be_decoded_is_nonsense(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path
) -> None:
    url, _, replies = server
    replies.append(lambda _: (200, COMPRESSED))
    (result,) = writer_for(config(url), tmp_path).write([facts()])
    assert isinstance(result, ToolError)
    assert "DecodingError" in str(result)


@pytest.mark.parametrize("url", ["", "localhost:8000/v1", "http://", "ftp://host/v1", "http://[::1/v1"])
def test_what_is_no_address_is_said_before_the_run(url: str, tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailable, match="is no address"):
        build_writer(config(url), tmp_path)


def save_language_model(folder: Path, tokenizer: Path) -> None:
    """A tiny model with weights of its own."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=1040, max_position_embeddings=512, **sizes)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)


def test_a_local_model_of_transformers_answers(tmp_path: Path, bert_folder: Path) -> None:
    save_language_model(tmp_path / "m", bert_folder)
    settings = WriterConfig(name="transformers", model=str(tmp_path / "m"), max_new_tokens=8)
    (result,) = build_writer(settings, tmp_path / "answers").write([facts()])
    assert isinstance(result, ToolError)
    assert "no JSON list" in str(result)
    assert not (tmp_path / "answers").exists()


def test_other_weights_or_a_longer_answer_of_a_local_model_are_no_former_answer(
    tmp_path: Path, bert_folder: Path
) -> None:
    settings = WriterConfig(name="transformers", model=str(tmp_path / "m"), max_new_tokens=8)

    def decided_by(config: WriterConfig) -> str:
        return build_language_model(config).settings

    save_language_model(tmp_path / "m", bert_folder)
    first = decided_by(settings)
    assert decided_by(settings) == first != decided_by(replace(settings, max_new_tokens=9))
    save_language_model(tmp_path / "m", bert_folder)
    assert decided_by(settings) != first


def test_clues_of_a_language_model_give_nothing_away(
    server: tuple[str, list[dict[str, object]], list[Reply]], tmp_path: Path
) -> None:
    url, _, replies = server
    replies.append(answer("the thing that ticks on the wall.", "clock face", "a thing next to the cup", "x"))
    writer = ClueWriter(Endpoint(config(url), pause=0.01), cache=tmp_path, count=3)
    assert writer.clues("clock", ("clock", "watch"), ("cup",)) == ["thing that ticks on the wall"]


def test_missing_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailable, match=r"writer\.url"):
        build_writer(WriterConfig(name="endpoint"), tmp_path)
    with pytest.raises(ToolUnavailable, match="no model"):
        build_writer(WriterConfig(name="transformers", model=str(tmp_path)), tmp_path)
    with pytest.raises(ToolUnavailable, match="needs a language model"):
        build_clue_writer(WriterConfig(extra_clues=2), tmp_path)
