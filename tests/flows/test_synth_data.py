"""The flow is the same work in tasks: on two Dask processes it writes the bytes that the plain functions write."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import flows.quiet

# isort: split
from flows.serve import FLOWS, load_flow
from flows.synth_data import GPU_TAG, gpu_tags, may_help
from smartedit.config.synthesis import load_synthesis
from smartedit.synthesis.export import export
from smartedit.synthesis.finish import choose
from smartedit.tools.protocols import ToolUnavailable
from tests.smartedit.synthesis.conftest import DrawnSet, run_all
from tests.smartedit.synthesis.drawn import write_coco

ROOT = Path(__file__).parents[2]
SETTINGS = ["pictures.min_side=64", "pictures_per_shard=2", "pictures.limit=4"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DrawnSet:
    folder = tmp_path_factory.mktemp("drawn")
    return DrawnSet(folder=folder, pictures=write_coco(folder))


def digest(root: Path) -> dict[str, str]:
    skipped = {"environment.json", "review.html"}
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.name not in skipped)
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_two_dask_processes_write_the_same_bytes_as_none(drawn: DrawnSet, tmp_path: Path) -> None:
    settings = [*SETTINGS, f"proposals.knowledge='{drawn.folder}/knowledge.toml'"]
    annotations = str(drawn.folder / "instances.json")
    command = [sys.executable, "-m", "flows.synth_data", str(drawn.pictures), str(tmp_path / "flow")]
    command += ["--annotations", annotations, "--allow-short", "--workers", "2", "--dask", "local"]
    command += [part for s in settings for part in ("--set", s)]
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONWARNINGS": "ignore"}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Finished in state Completed" in done.stderr

    config = load_synthesis(None, [*settings, f"pictures.annotations={annotations!r}"])
    run_all(drawn.pictures, tmp_path / "plain", config)
    choose(tmp_path / "plain")
    export(tmp_path / "plain")
    assert digest(tmp_path / "flow") == digest(tmp_path / "plain")


def test_mistakes_are_not_tried_again_and_accidents_are() -> None:
    class State:
        def __init__(self, error: Exception) -> None:
            self._error = error

        def result(self, raise_on_failure: bool) -> Exception:
            assert not raise_on_failure
            return self._error

    assert not may_help(None, None, State(ToolUnavailable("no weights")))
    assert may_help(None, None, State(OSError(28, "No space left on device")))
    assert may_help(None, None, State(RuntimeError("a worker was lost")))


def test_only_tasks_on_a_gpu_wait_for_it() -> None:
    plain, public = load_synthesis(), load_synthesis("public-models")
    assert gpu_tags("ground", plain) == gpu_tags("instruct", public) == []
    assert gpu_tags("ground", public) == gpu_tags("score", public) == [GPU_TAG]


def test_serve_and_the_deployment_file_name_the_same_flow() -> None:
    import yaml

    flow = load_flow("synth-data")
    assert "synth-data" in FLOWS
    assert flow.name == "synth-data"
    entries = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    by_entry = {entry["entrypoint"]: entry for entry in entries}
    module, attribute = FLOWS["synth-data"].split(":")
    assert by_entry[f"{module.replace('.', '/')}.py:{attribute}"]["name"] == "default"


def test_telemetry_is_off() -> None:
    assert flows.quiet is not None
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
