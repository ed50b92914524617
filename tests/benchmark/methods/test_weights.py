"""Which commit a run takes, where it is read from, and what is said where there is none: a hub's cache by hand."""

import json
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.methods.checkpoints import Checkpoint
from benchmark.methods.modern_table import EDITING_PIPELINES
from benchmark.methods.registry import METHODS, MethodWords, resolve_methods
from benchmark.methods.specs import MethodError
from benchmark.methods.weights import folder_commit, weights_description

KONTEXT = next(row.checkpoint for row in EDITING_PIPELINES if row.name == "flux-kontext")
OTHER = "0123456789abcdef0123456789abcdef01234567"


def cache(root: Path, model: str, commit: str, branch: str | None = None) -> Path:
    """A cached commit as the hub's client lays it out; the branch points to it."""
    place = root / f"models--{model.replace('/', '--')}"
    folder = place / "snapshots" / commit
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxKontextPipeline"}))
    (folder / "transformer" / "config.json").write_text("{}")
    if branch is not None:
        (place / "refs").mkdir(exist_ok=True)
        (place / "refs" / branch).write_text(commit)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def commit_of(*sets: str, model: str | None = None) -> object:
    words = MethodWords(methods=["flux-kontext"], models=[model] if model else (), sets=sets)
    return resolve_methods(words)[0].settings()["commit"]


def test_the_default_checkpoint_is_taken_at_its_pin(hub: Path) -> None:
    assert KONTEXT.model is not None and KONTEXT.revision is not None
    cache(hub, KONTEXT.model, OTHER, "main")
    with pytest.raises(MethodError, match=f"not in the cache at revision {KONTEXT.revision}, and the hub does not"):
        commit_of()
    cache(hub, KONTEXT.model, KONTEXT.revision)
    assert commit_of() == KONTEXT.revision
    assert commit_of("flux-kontext.revision=main") == OTHER
    assert commit_of(f"flux-kontext.revision={OTHER}") == OTHER


def test_a_pin_belongs_to_its_checkpoint_alone(hub: Path) -> None:
    cache(hub, "somebody/kontext", OTHER, "main")
    assert commit_of(model="somebody/kontext") == OTHER
    pinned = Checkpoint(model="a/b", revision="1" * 40, license="x", checked="y")
    assert pinned.revision_of("a/b", None) == "1" * 40 and pinned.revision_of("a/b", "main") == "main"
    assert pinned.revision_of("c/d", None) is None and pinned.revision_of("./a", None) is None


def test_a_downloaded_folder_tells_its_commit_and_any_other_none(tmp_path: Path) -> None:
    note = tmp_path / ".cache" / "huggingface" / "download" / "model_index.json.metadata"
    assert folder_commit(tmp_path) is None
    note.parent.mkdir(parents=True)
    note.write_text("nothing of the kind\n")
    assert folder_commit(tmp_path) is None
    note.write_text(f"{OTHER}\nabc\n1700000000.0\n")
    assert weights_description(str(tmp_path))["commit"] == OTHER


def test_pins_are_printed_as_settings(hub: Path) -> None:
    assert KONTEXT.model is not None and KONTEXT.revision is not None
    cache(hub, KONTEXT.model, KONTEXT.revision)
    done = CliRunner().invoke(app, ["methods", "--pin", "flux-kontext"])
    assert done.exit_code == 0 and done.output.startswith(f"--set flux-kontext.revision={KONTEXT.revision}  # ")
    done = CliRunner().invoke(app, ["methods", "--pin", "all"])
    assert done.exit_code == 1
    assert "# omnigen: Shitao/OmniGen-v1-diffusers: not in the cache, and the hub does not answer" in done.output
    assert not any(name in done.output for name in ("copy-input", "instruct-diffusion", "z-image-omni", "openai"))
    done = CliRunner().invoke(app, ["methods", "--pin", "flux-contest"])
    assert done.exit_code == 1 and "--pin flux-contest: no such method" in done.output


def test_verbose_says_what_and_where_it_was_read() -> None:
    done = CliRunner().invoke(app, ["methods", "--verbose"], env={"COLUMNS": "400"})
    assert done.exit_code == 0
    for name, spec in METHODS.items():
        assert name in done.output
        if spec.checkpoint is not None:
            assert f"checked: {spec.checkpoint.checked[:40]}" in done.output, name


def test_verbose_folds_no_name_on_a_narrow_terminal() -> None:
    """A commit or class that is broken over lines cannot be searched for or pasted."""
    lines = CliRunner().invoke(app, ["methods", "--verbose"], env={"COLUMNS": "80"}).output.splitlines()
    assert f"    checkpoint: {KONTEXT.model} @ {KONTEXT.revision}" in lines
    assert "    --set flux-kontext.resolution=area" in lines and "    --set flux-kontext.vae_tiling=false" in lines
    assert "    --set flux-kontext.revision=(not set)" in lines and "    --set http.url=VALUE (needed)" in lines
    for row in EDITING_PIPELINES:
        (line,) = (line for line in lines if line.startswith(f"{row.name} ("))
        rest = lines[lines.index(line) + 1 :]
        told = rest[: rest.index("")]
        (size,) = (text for text in told if text.startswith("    size: "))
        assert f"    class: {row.pipeline}" in told and size.endswith("scoring brings it back to the source's")
        assert row.fixed == size.startswith("    size: the class's own")
        assert f"    --set {row.name}.steps={row.steps}" in told


def test_every_pin_is_a_commit_or_a_branch_that_is_said_to_be_one() -> None:
    for spec in METHODS.values():
        weights = spec.checkpoint
        if weights is None or weights.revision is None:
            continue
        commit = len(weights.revision) == 40 and set(weights.revision) <= set("0123456789abcdef")
        assert commit or "branch" in weights.checked, spec.name
        assert not commit or "commit: none" not in weights.checked, spec.name
