"""The flow `benchmark` is the command line's work in tasks: two Dask processes write the bytes that one writes."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from benchmark.edit import edit_run
from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.provenance import describe_dataset, open_run
from benchmark.runs import Run
from flows.measure import device_turn, edit_shard, measure, merge, prepare
from flows.serve import FLOWS, load_flow
from flows.synth_data import failure_of, task_runner
from reason_edit.loading import load_reason_edit
from reason_edit.schema import Category
from tests.benchmark.methods.tiny_editors import write_tiny_editor
from tests.reason_edit.folders import write_folder

ROOT = Path(__file__).parents[2]
MODERN = tuple(filter(None, os.environ.get("SMARTEDIT_TEST_METHODS", "").split(",")))
"""Editors of small random weights that go through the flow too, when asked for: each worker imports their libraries."""


def some_methods(folder: Path, editors: tuple[str, ...]) -> MethodWords:
    """Editors of small random weights, references, and one from outside that fails on a sample."""
    folders = {name: write_tiny_editor(name, folder) for name in editors}
    return MethodWords(
        methods=[*folders, "copy-input", "oracle-inpaint", "mine=tests.benchmark.editors:inverter"],
        models=[f"{name}={path}" for name, path in folders.items()],
        sets=[*(f"{n}.{s}" for n in editors for s in ("steps=1", "side=64")), 'mine.fail_on="002"'],
    )


def test_two_dask_processes_write_the_bytes_of_one(tmp_path: Path) -> None:
    dataset = write_folder(tmp_path / "set", {Category.COLOR: ["001", "002"], Category.REASONING: ["003"]})
    words = some_methods(tmp_path / "models", MODERN)
    command = [sys.executable, "-m", "flows.measure", str(tmp_path / "flow"), "--dataset", str(dataset)]
    for option, values in (("--method", words.methods), ("--model", words.models), ("--set", words.sets)):
        command += [part for value in values for part in (option, value)]
    command += ["--shards", "2", "--workers", "2", "--dask", "local", "--device", "cpu", "--protocol", "strict-v1"]
    command += ["--batch-size", "2"]
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONWARNINGS": "ignore"}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{len(words.methods)} methods, 1 edits failed" in done.stderr
    # One server, this process's: one in every worker as well would be three on one SQLite file.
    assert done.stderr.count("Starting temporary server") == 1

    samples, methods, plain = load_reason_edit(dataset), resolve_methods(words), Run(tmp_path / "plain")
    described = describe_dataset(samples, dataset, dataset.name)
    open_run(plain, dataset=described, samples=samples, methods=methods, device="cpu", seed=0, batch_size=2, command=[])
    edit_run(plain, methods, samples, device="cpu", batch_size=2)
    flow = Run(tmp_path / "flow")
    assert flow.edits_path.read_bytes() == plain.edits_path.read_bytes()
    pictures = sorted(p.relative_to(plain.folder) for p in plain.folder.rglob("*.png"))
    assert len(pictures) == len(methods) * len(samples) - 1
    assert all((flow.folder / p).read_bytes() == (plain.folder / p).read_bytes() for p in pictures)
    assert flow.settings()["methods"] == plain.settings()["methods"]
    report = (flow.folder / "report.md").read_text()
    assert all(name in report for name in ("copy-input", "mine", *MODERN))


def test_shards_in_any_order_merge_to_one(tmp_path: Path) -> None:
    dataset = write_folder(tmp_path / "set")
    words = some_methods(tmp_path / "models", ("flux-kontext", "omnigen"))
    for name, shards in (("parts", [3, 1, 2]), ("whole", [1])):
        labels = prepare(str(tmp_path / name), str(dataset), words, 0, 2, "cpu")
        for label in reversed(labels):
            for shard in shards:
                edit_shard(str(tmp_path / name), words, label, shard, len(shards), "cpu")
        table = {row["method"]: (row["pictures"], row["errors"]) for row in merge(str(tmp_path / name))}
        assert set(table) == set(labels) and table["flux-kontext"] == (8, 0) and table["mine"] == (6, 2)
    parts, whole = Run(tmp_path / "parts"), Run(tmp_path / "whole")
    assert parts.edits_path.read_bytes() == whole.edits_path.read_bytes()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"methods": ["nothing"]}, "unknown method"),
        ({"protocol": "v9"}, "unknown protocol 'v9'"),
        ({"clip_model": "/nowhere"}, "CLIP /nowhere"),
        ({"lpips_backbone": "/nowhere"}, "LPIPS backbone /nowhere"),
    ],
)
def test_mistakes_are_told_before_a_run_is_opened(tmp_path: Path, option: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure.fn(**{"run": str(tmp_path / "run"), "methods": ["copy-input"], **option})
    assert not (tmp_path / "run").exists()


def test_a_device_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    run, order = Run(tmp_path), []

    def second() -> None:
        with device_turn(run, "cuda:0"):
            order.append("second")

    waiting = threading.Thread(target=second)
    with device_turn(run, "cuda:0"):
        waiting.start()
        with device_turn(run, "cuda:1"):
            waiting.join(0.2)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_a_worker_that_dies_is_a_failure_though_the_server_never_hears_of_it() -> None:
    """The future of a task whose Dask worker was killed, as Dask leaves it, and one that ended well."""
    from concurrent.futures import Future
    from uuid import uuid4

    from distributed import KilledWorker
    from prefect.states import Completed
    from prefect_dask.task_runners import PrefectDaskFuture

    class Worker:
        address = "tcp://127.0.0.1:1"

    killed, done = Future(), Future()  # type: ignore[var-annotated]
    killed.set_exception(KilledWorker("edit-1", Worker(), 3))
    done.set_result(Completed(data={"pictures": 2}))
    assert str(failure_of(PrefectDaskFuture(uuid4(), killed))).startswith("KilledWorker: ")
    assert failure_of(PrefectDaskFuture(uuid4(), done)) is None


def lingering(note: str) -> None:
    """Let this worker process take six seconds to end, one more than Dask's own nanny gives it."""
    import atexit
    import time

    atexit.register(Path(note).write_text, "ended by itself")
    atexit.register(time.sleep, 6)


def test_a_worker_that_takes_long_to_end_is_waited_for(tmp_path: Path) -> None:
    with task_runner(1, "local") as runner:
        runner.client.submit(lingering, str(tmp_path / "note")).result()
    assert (tmp_path / "note").read_text() == "ended by itself"


def test_serve_and_the_deployment_file_name_the_same_flow() -> None:
    import yaml

    assert load_flow("benchmark").name == "benchmark"
    module, attribute = FLOWS["benchmark"].split(":")
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    by_entry = {entry["entrypoint"]: entry for entry in entries}
    assert by_entry[f"{module.replace('.', '/')}.py:{attribute}"]["name"] == "default"


def test_prefect_loads_the_flow_from_its_file() -> None:
    """As a deployment does, in a process where nothing of ours was imported before."""
    code = (
        "import flows.quiet; from prefect.flows import load_flow_from_entrypoint as load\n"
        "assert load('flows/measure.py:measure').name == 'benchmark'"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
