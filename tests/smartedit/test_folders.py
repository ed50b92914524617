"""A run is kept out of a folder that holds something else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from smartedit.commands.plain_errors import plain_words
from smartedit.folders import OtherContentError, refuse_other_content

ROOT = Path(__file__).parents[2]
OURS = "stage"


def test_a_folder_of_our_own_or_a_new_one_is_taken(tmp_path: Path) -> None:
    refuse_other_content(tmp_path / "new", OURS, "--run")
    (tmp_path / "log").write_text("what the shell wrote")
    refuse_other_content(tmp_path, OURS, "--run")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").write_text(json.dumps({"stage": "full"}))
    refuse_other_content(tmp_path, OURS, "--run")
    (tmp_path / "manifest.parquet").touch()  # What came into it since is no matter.
    refuse_other_content(tmp_path, OURS, "--run")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.json", "{}", "holds a benchmark run"),
        ("pictures.parquet", "", "holds a run of `smartedit synth`"),
        ("sources.toml", "", "holds corpora"),
        ("checkpoints", "", "holds a training run"),
        ("model_index.json", "{}", "holds a pipeline"),
        ("config.json", '{"pictures": "x"}', "holds the config.json of something else"),
        ("config.json", "[]", "holds the config.json of something else"),
        ("config.json", "{", "cannot be read"),
    ],
)
def test_another_one_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(OtherContentError, match=f"{message}.*another"):
        refuse_other_content(tmp_path, OURS, "--run")
    assert (tmp_path / name).read_text() == content


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OtherContentError, match=r"--run .*file: is a file; name a folder"):
        refuse_other_content(tmp_path / "file", OURS, "--run")


def test_what_the_system_says_of_files_and_folders_is_said_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for wrong, message in (
        (lambda: (tmp_path / "file").mkdir(), "file: a folder is wanted there"),
        (lambda: (tmp_path / "file/below").mkdir(), "below: a folder is wanted there"),
        (lambda: tmp_path.write_text("x"), f"{tmp_path}: a file is wanted there, and it is a folder"),
        (lambda: (tmp_path / "file").rename(tmp_path / "folder"), "folder: a file is wanted there, and it is a folder"),
        (lambda: (tmp_path / "folder").rename(tmp_path / "file"), "file: a folder is wanted there"),
        (lambda: (tmp_path / "folder").mkdir(), "File exists"),
    ):
        with pytest.raises(typer.Exit), plain_words():
            wrong()
        assert message in capsys.readouterr().err


def test_output_that_nobody_reads_any_more_ends_in_silence_and_other_pipes_do_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit), plain_words():
        raise BrokenPipeError(32, "Broken pipe")
    assert "Broken pipe" in capsys.readouterr().err
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m benchmark methods --verbose | head -c 1; exit ${{PIPESTATUS[0]}}'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, len(done.stdout), done.stderr) == (1, 1, "")
