"""The contact sheet shows every source on one page that needs nothing else."""

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smartedit.cli import app
from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
from smartedit.data.manifest import Manifest
from smartedit.data.sheet import write_sheet

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def manifest(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    config = load_tree(ManifestConfig, source=corpus / "sources.toml")
    return Manifest(build_manifest(config, tmp_path_factory.mktemp("built"), data_root=corpus / "data").manifest)


def test_rows_that_cannot_be_decoded_say_why(manifest: Manifest, tmp_path: Path) -> None:
    moved = Manifest(manifest.path, data_root=tmp_path)
    faults = write_sheet(moved, tmp_path / "sheet.html", sources=["synthetic"])
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert faults == 1 and "SyntheticData/a.png: cannot be read" in page


def test_same_rows_every_time_and_others_by_seed(manifest: Manifest, tmp_path: Path) -> None:
    pages = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_sheet(manifest, tmp_path / name, rows=1, sources=["refcoco", "pairs-of-the-hub"], seed=seed)
        pages.append((tmp_path / name).read_bytes())
    assert pages[0] == pages[1] != pages[2]


def test_words_of_a_data_set_stay_words(manifest: Manifest, tmp_path: Path) -> None:
    write_sheet(manifest, tmp_path / "sheet.html", sources=["llava"])
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "&lt;image&gt;" in page and "<image>" not in page


def test_command_names_an_unknown_source(manifest: Manifest) -> None:
    done = CliRunner().invoke(app, ["manifest", "show", str(manifest.path), "--source", "nothing"])
    assert done.exit_code == 1 and "no source 'nothing'; there are refcoco" in done.output


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_page_in_a_browser(manifest: Manifest, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    done = CliRunner().invoke(app, ["manifest", "show", str(manifest.path), "--out", str(tmp_path / "sheet.html")])
    assert done.exit_code == 0, done.output
    switches = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    with sync_playwright() as playwright:
        options = [*switches.split(), "--disable-component-update", "--disable-sync"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 390, "height": 800})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "sheet.html").as_uri())
        sections = page.locator("h2").all_inner_texts()
        loaded = page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        pictures = page.locator("figure img").count()
        width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert sections == list(manifest.sources)
    assert loaded and pictures > len(sections) and width <= 390
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
