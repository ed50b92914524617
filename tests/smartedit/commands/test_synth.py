"""`smartedit synth`: from pictures to a set, plain messages for mistakes, and a short set only when it is allowed."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smartedit.commands.synth import app
from tests.smartedit.synthesis.drawn import write_coco

QUOTAS = ("left_right", "relative_size", "mirror", "color", "multiple_objects", "reasoning")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    write_coco(folder)
    return folder


def arguments(drawn: Path, root: Path, *more: str) -> list[str]:
    settings = [f"proposals.knowledge='{drawn}/knowledge.toml'", "pictures.min_side=64", "pictures.limit=4"]
    settings += [f"selection.quotas.{q}=1" for q in QUOTAS]
    options = [part for s in settings for part in ("--set", s)]
    return [
        "run",
        str(drawn / "images"),
        "--run",
        str(root),
        "--annotations",
        str(drawn / "instances.json"),
        *options,
        *more,
    ]


def test_run_review_select_export(drawn: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    runner = CliRunner()
    first = runner.invoke(app, arguments(drawn, root, "--allow-short"))
    assert first.exit_code == 0, first.output
    assert (root / "set/DATA_CARD.md").is_file()
    assert (root / "review.html").is_file()
    short = runner.invoke(app, ["select", str(root), "--set", "quotas.color=40"])
    assert short.exit_code == 1
    assert "color: " in short.output
    assert "of 40" in short.output
    assert "kept the" in short.output
    assert runner.invoke(app, ["stage", str(root), "score"]).exit_code == 0
    unknown = runner.invoke(app, ["stage", str(root), "polish"])
    assert (unknown.exit_code, "no stage 'polish'" in unknown.output) == (1, True)
    funnel = runner.invoke(app, ["funnel", str(root)])
    assert "| propose |" in funnel.output
    out = tmp_path / "elsewhere"
    assert runner.invoke(app, ["export", str(root), "--out", str(out)]).exit_code == 0
    assert (out / "samples.parquet").is_file()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--set", "rules.min_aera=1"], "rules.min_aera"),
        (["--set", "grounder.name=groundingdino"], "no checkpoint at None"),
        (["--set", "segmenter.name=sam-hf"], "set segmenter.model"),
        (["--set", "writer.name=endpoint"], "writer.url"),
        (["--set", "scorer.clip='/nowhere'"], "no model '/nowhere'"),
        (["--set", "pictures.vocabulary=['zebra']"], "quotas not met"),
        (["--set", "pictures.limit=0"], "pictures.limit"),
        (["--preset", "nosuch"], "no synthesis preset 'nosuch'"),
    ],
)
def test_mistakes_are_plain_messages(drawn: Path, tmp_path: Path, more: list[str], problem: str) -> None:
    result = CliRunner().invoke(app, arguments(drawn, tmp_path / "run", *more))
    assert result.exit_code == 1
    assert problem in result.output
    assert "Traceback" not in result.output


def test_help_does_not_import_what_it_does_not_need() -> None:
    code = (
        "import sys; from smartedit.commands.synth import app\n"
        "heavy = {'torch', 'cv2', 'pandas', 'pyarrow', 'diffusers', 'transformers', 'prefect'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_says_how_far_it_is(drawn: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from smartedit.cli import main; main()", "synth"]
    options = arguments(drawn, tmp_path / "run", "--allow-short")
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert "propose 00000" in done.stderr and "score 00000" in done.stderr
