"""The flow builds the bytes of the plain command, goes on where a build stopped, and reports as artifacts."""

import ast
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import PARTS, BuildReport, build_manifest
from smartedit.data.manifest import MANIFEST, REJECTIONS
from tests.reason_edit.folders import write_folder
from tests.smartedit.data.conftest import corpus

__all__ = ["corpus"]

ROOT = Path(__file__).parents[2]


def build(corpus: Path, out: Path) -> BuildReport:
    config = load_tree(ManifestConfig, source=corpus / "sources.toml")
    return build_manifest(config, out, data_root=corpus / "data")


def test_a_real_run_resumes_to_the_bytes_of_the_plain_command(corpus: Path, tmp_path: Path) -> None:
    build(corpus, tmp_path / "plain")
    parts = tmp_path / "flow" / PARTS
    shutil.copytree(tmp_path / "plain" / PARTS, parts)
    for path in parts.glob("llava-*.parquet"):
        path.unlink()
    benchmark = write_folder(tmp_path / "benchmark")

    command = [sys.executable, "-m", "flows.manifest", str(corpus / "sources.toml"), str(tmp_path / "flow")]
    home = tmp_path / "prefect"
    environment = os.environ | {"PREFECT_HOME": str(home), "SMARTEDIT_CACHE": str(tmp_path / "cache")}
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(
        [*command, "--against", str(benchmark)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Finished in state Completed" in done.stderr
    kept = done.stderr.partition("kept from before: ")[2].partition("\n")[0]
    assert "refcoco" in kept and "llava" not in kept
    for name in (MANIFEST, REJECTIONS):
        assert (tmp_path / "flow" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    for page in ("contact-sheet.html", "audit/audit.html"):
        assert (tmp_path / "flow" / page).is_file()
    with sqlite3.connect(home / "prefect.db") as database:
        keys = {key for (key,) in database.execute("select key from artifact")}
        (counts,) = database.execute("select data from artifact where key = 'manifest-counts'").fetchone()
    assert {"manifest-counts", "manifest-rejections", "manifest-audit"} <= keys
    assert "refcoco" in counts and "segment" in counts


def test_without_its_decorators_it_still_runs(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMARTEDIT_CACHE", str(tmp_path / "cache"))
    tree = ast.parse((ROOT / "flows/manifest.py").read_text(encoding="utf-8"))
    reported: list[object] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            node.decorator_list.clear()
    tree.body = [n for n in tree.body if not (isinstance(n, ast.ImportFrom) and str(n.module).startswith("prefect"))]
    names: dict[str, object] = {"__name__": "plain"}
    exec(compile(tree, "plain", "exec"), names)  # noqa: S102  (our own file, as a reader would change it)
    names["report"] = lambda *parts: reported.append(parts)
    plain = names["manifest"]
    assert callable(plain)
    path = plain(str(corpus / "sources.toml"), str(tmp_path / "out"))
    assert Path(path).is_file() and reported


def test_it_is_served_as_default() -> None:
    from flows.serve import FLOWS, load_flow

    assert load_flow("manifest").name == "manifest" and "manifest" in FLOWS
    assert "entrypoint: flows/manifest.py:manifest" in (ROOT / "prefect.yaml").read_text(encoding="utf-8")
