import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from reason_edit.tables import read_metadata
from smartedit.commands.manifest import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def out(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "out"
    result = run("build", "--config", corpus / "sources.toml", "--out", folder)
    assert result.exit_code == 0, result.output
    assert "17 rows, written" in result.output
    return folder


def test_build_prints_the_layouts_the_rows_and_what_was_left_out(corpus: Path, out: Path) -> None:
    result = run("build", "--config", corpus / "sources.toml", "--out", out)
    assert result.exit_code == 0
    assert "is up to date" in result.output
    assert "refs(unc).p and instances.json in refer_seg/refcoco, pictures in coco/train2014" in result.output
    assert re.search(r"cc12m: 2 caption.*\n.*cc12m\.tsv.*\n\s+left out 1: bad_line", result.output)


def test_summary_with_a_mixture(corpus: Path, out: Path, tmp_path: Path) -> None:
    result = run("summary", out, "--mixture", "smartedit-paper")
    assert result.exit_code == 0
    assert "synthetic: 1 edit, drawn 15.00%  [unconfirmed]" in result.output
    assert "cc12m: 2 caption, drawn 0.00%" in result.output
    content = json.loads(run("summary", out / "manifest.parquet", "--json").output)
    assert content["rows"] == 17 and content["rejections"]["cc12m"] == {"bad_line": 1}
    (tmp_path / "m.toml").write_text("[weights]\nlava = 1\n")
    wrong = run("summary", out, "--mixture", tmp_path / "m.toml")
    assert wrong.exit_code == 1 and "weights for lava" in wrong.stderr


def test_diff_says_what_changed_and_in_its_exit_code(corpus: Path, out: Path, tmp_path: Path) -> None:
    assert run("diff", out, out).exit_code == 0
    build = run(
        "build", "--config", corpus / "sources.toml", "--out", tmp_path, "--set", "sources.refcoco.overlap=smartedit"
    )
    assert build.exit_code == 0
    result = run("diff", out, tmp_path)
    assert result.exit_code == 1
    assert "refcoco: 2 -> 2 rows, 0 added, 0 removed, 1 changed\n    ~ refcoco/unc/train/1" in result.output
    assert "llava: 2 -> 2 rows, the same" in result.output
    assert run("diff", out, tmp_path / "nowhere").exit_code == 2


def test_a_damaged_manifest_is_named(out: Path, tmp_path: Path) -> None:
    content = bytearray((out / "manifest.parquet").read_bytes())
    content[4:400] = bytes(396)
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(content)
    for command in (("diff", out, damaged), ("diff", damaged, out), ("show", damaged)):
        result = run(*command)
        assert result.exit_code == (2 if command[0] == "diff" else 1)
        assert f"{damaged}: the file is damaged; build the manifest again" in result.stderr


def test_a_manifest_that_lacks_rows_is_told(out: Path, tmp_path: Path) -> None:
    whole = out / "manifest.parquet"
    table = pq.read_table(whole).replace_schema_metadata(read_metadata(whole))
    fewer = tmp_path / "fewer.parquet"
    pq.write_table(table.slice(0, table.num_rows - 2), fewer)
    for command in (("diff", out, fewer), ("summary", fewer)):
        result = run(*command)
        assert result.exit_code == (2 if command[0] == "diff" else 1)
        counted, found = table.num_rows, table.num_rows - 2
        assert f"{fewer}: its metadata counts {counted} rows and its table has {found}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "--config", "nowhere.toml", "--out", "x"), "nowhere.toml: there is no such file"),
        (("summary", "nowhere"), "nowhere: there is no such file"),
        (("build", "--config", ".", "--out", "x"), ".: is a folder; name a TOML file in it"),
    ],
)
def test_mistakes_end_in_one_plain_message(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ") and message in result.stderr
    assert "Traceback" not in result.output


def test_another_table_is_no_manifest(tmp_path: Path) -> None:
    pq.write_table(pa.table({"method": ["x"]}), tmp_path / "scores.parquet")
    result = run("summary", tmp_path / "scores.parquet")
    assert result.exit_code == 1 and "scores.parquet: is no manifest" in result.stderr


def test_sources_that_are_missing_are_all_named(corpus: Path, tmp_path: Path) -> None:
    overrides = ("--set", "sources.llava.root=x", "--set", "sources.refcoco.root=y")
    result = run("build", "--config", corpus / "sources.toml", "--out", tmp_path, *overrides)
    assert result.exit_code == 1
    assert "source 'refcoco'" in result.stderr and "source 'llava'" in result.stderr


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, smartedit.commands.manifest; "
        "print([m for m in ('pyarrow', 'numpy', 'pandas', 'pydantic', 'cv2', 'torch') if m in sys.modules])"
    )
    started = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", (result.stderr, time.perf_counter() - started)
