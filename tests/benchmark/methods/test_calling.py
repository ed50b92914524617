"""What happens when a batch does not fit, a model has to go, or weights may not be had."""

import gc
import logging
import re
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmark.edit import edit_run
from benchmark.methods.calling import edit_requests
from benchmark.methods.memory import is_out_of_memory
from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.methods.specs import MethodError, SampleError, Setting
from benchmark.methods.weights import find_weights
from benchmark.provenance import describe_dataset, open_run
from benchmark.runs import Run
from reason_edit.loading import load_reason_edit
from reason_edit.schema import Category
from smartedit.editing import EditRequest, EditResult
from tests.reason_edit.folders import write_folder

MODELS: list[weakref.ref[Any]] = []


class Cramped:
    """Fits `room` pictures at once, and none whose instruction names 004."""

    def __init__(self, room: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        self.room, self.error = room, error
        self.sizes: list[int] = []
        self.itself = self  # a cycle, as pipelines with hooks have
        MODELS.append(weakref.ref(self))

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        gc.collect(0)
        assert sum(model() is not None for model in MODELS) == 1, "two models are in memory"
        self.sizes.append(len(requests))
        if len(requests) > self.room or any("004" in r.instruction for r in requests):
            raise self.error("CUDA out of memory. Tried to allocate 3 GiB")
        return [EditResult(image=Image.new("RGB", (8, 8), (r.seed % 256, 0, 0))) for r in requests]


def cramped(room: int = 1) -> Cramped:
    return Cramped(room)


def request(text: str, seed: int = 0) -> EditRequest:
    return EditRequest(image=Image.new("RGB", (8, 8)), instruction=text, seed=seed)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError, RuntimeError])
def test_a_batch_that_does_not_fit_is_halved(error: type[Exception], caplog: pytest.LogCaptureFixture) -> None:
    MODELS.clear()
    editor = Cramped(2, error)
    with caplog.at_level(logging.WARNING):
        made = edit_requests("big", editor, [request(f"00{n}", n) for n in (1, 2, 3, 5, 6)])
    assert [r.image.getpixel((0, 0)) for r in made if isinstance(r, EditResult)] == [(n, 0, 0) for n in (1, 2, 3, 5, 6)]
    assert editor.sizes == [5, 2, 3, 1, 2]
    assert "big: out of memory with 5 pictures at once; 3 instead, for this batch" in caplog.text


def test_what_a_failed_batch_held_is_gone_before_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception's traceback holds the failed call's tensors; while it lives, nothing can be given back."""
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    class Greedy:
        def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
            activations = torch.zeros(8)
            held.append(weakref.ref(activations))
            if len(requests) > 1:
                raise torch.OutOfMemoryError(f"CUDA out of memory with {len(activations)}")
            return [EditResult(image=r.image) for r in requests]

    monkeypatch.setattr("benchmark.methods.calling.free_memory", lambda: alive.append(held[-1]() is not None))
    made = edit_requests("x", Greedy(), [request("001"), request("002")])
    assert all(isinstance(m, EditResult) for m in made) and alive == [False]


def test_a_picture_too_large_alone_is_a_row_with_the_remedy() -> None:
    MODELS.clear()
    made = edit_requests("big", Cramped(4), [request("001"), request("004")])
    assert isinstance(made[0], EditResult)
    assert str(made[1]).startswith("out of memory with this picture alone (CUDA out of memory.")
    assert "set offload=model" in str(made[1])


def test_the_grid_of_batches_stays_and_one_model_is_in_memory(tmp_path: Path) -> None:
    MODELS.clear()
    folder = write_folder(tmp_path / "set", {Category.COLOR: ["001", "002", "003", "004", "005"]})
    samples, run = load_reason_edit(folder), Run(tmp_path / "run")
    words = MethodWords(
        methods=[f"{name}={__name__}:cramped" for name in ("one", "two")], sets=["one.room=4", "two.room=1"]
    )
    methods = resolve_methods(words)
    described = describe_dataset(samples, folder, "x")
    open_run(run, dataset=described, samples=samples, methods=methods, device="cpu", seed=0, batch_size=4, command=[])
    records = edit_run(run, methods, samples, device="cpu", batch_size=4)
    assert [r.error is None for r in records] == [True, True, True, False, True] * 2
    assert [r.image_sha256 for r in records[:5]] == [r.image_sha256 for r in records[5:]]
    assert all(model() is None for model in MODELS)


def test_a_wrong_key_stops_and_a_sample_error_does_not() -> None:
    class Server:
        def edit(self, requests: Sequence[EditRequest]) -> list[EditResult | SampleError]:
            if any("key" in r.instruction for r in requests):
                raise MethodError("wrong key")
            return [SampleError("no cats") if "cat" in r.instruction else EditResult(image=r.image) for r in requests]

    made = edit_requests("x", Server(), [request("a cat"), request("a dog")])
    assert made[0] == "no cats" and isinstance(made[1], EditResult)
    with pytest.raises(MethodError, match="wrong key"):
        edit_requests("x", Server(), [request("key"), request("a dog")])


def test_what_counts_as_out_of_memory() -> None:
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_gated_weights_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from httpx import Request, Response
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    asked: list[dict[str, Any]] = []

    def refuse(model: str, **keywords: Any) -> str:
        asked.append(keywords)
        if keywords.get("local_files_only"):
            raise LocalEntryNotFoundError("not cached")
        answer: Any = Response(403, request=Request("GET", "https://x"))
        raise GatedRepoError("403", response=answer)

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    monkeypatch.setattr("benchmark.methods.weights.hub_answers", lambda *names: True)
    with pytest.raises(MethodError, match="owner/model: gated; accept its licence on its page and log in"):
        find_weights("owner/model", revision="abc", patterns=["model_index.json"])
    assert asked[1] == {"revision": "abc", "allow_patterns": ["model_index.json"]}


def test_the_documented_editor_of_your_own_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/methods.md as it stands there, with a model put behind it."""
    docs = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n# my_editors\.py: (.+?)\n(.+?)```", docs, re.DOTALL)
    words, code = example
    model = """
def load_my_model(device, steps):
    return lambda image, instruction, seed: image.rotate(90).resize((steps, 8 if device == "cpu" else 9))
"""
    (tmp_path / "my_editors.py").write_text(code + model)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert words == "smartedit-bench evaluate --run runs/bagel --method bagel=my_editors:bagel --set bagel.steps=50"
    (method,) = resolve_methods(MethodWords(methods=["bagel=my_editors:bagel"], sets=["bagel.steps=50"]))
    assert method.label == "bagel" and method.settings()["options"] == {"steps": 50}
    made = edit_requests("bagel", method.build(Setting(device="cpu")), [request("x"), request("y")])
    assert [r.image.size for r in made if isinstance(r, EditResult)] == [(50, 8), (50, 8)]
    code_lines = [line for line in code.splitlines() if line]
    assert len(code_lines) <= 10
