"""The review sheet in a real browser: keys decide, the file is saved, and selection reads it back."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reason_edit.tables import read_rows
from smartedit.synthesis.finish import choose
from smartedit.synthesis.review import write_review_sheet
from smartedit.synthesis.run_folder import RunFolder
from smartedit.synthesis.select import Selected

CHROMIUM = Path("/usr/bin/chromium")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def page() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip("no chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        opened = browser.new_page(accept_downloads=True)
        problems: list[str] = []
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
        yield opened
        assert problems == []
        browser.close()


@pytest.mark.browser
def test_keys_decide_and_selection_obeys(finished_run: RunFolder, tmp_path: Path, page: Any) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished_run.root, root)
    before = [s.pair_id for s in read_rows(root / "selected.parquet", Selected)]
    page.goto(write_review_sheet(root).as_uri())
    assert page.locator("article").count() == len(before)
    assert page.locator("#tally").inner_text() == f"0 kept, 0 rejected, {len(before)} undecided"
    for key in ("k", "r", "r", "u", "ArrowLeft", "u"):
        page.keyboard.press(key)
    assert page.locator("#tally").inner_text() == f"1 kept, 1 rejected, {len(before) - 2} undecided"
    page.select_option("#filter", "reject")
    assert page.locator("article:visible").count() == 1
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(root / "decisions.json")
    decisions = json.loads((root / "decisions.json").read_text())
    assert decisions == {before[0]: "keep", before[1]: "reject"}
    choose(root)
    after = {s.pair_id: s.reviewed for s in read_rows(root / "selected.parquet", Selected)}
    assert after[before[0]] is True
    assert before[1] not in after
    page.goto(write_review_sheet(root, everything=True).as_uri())
    assert page.locator("article.keep").get_attribute("data-id") == before[0]
    assert page.locator("article.reject").get_attribute("data-id") == before[1]


def test_the_sheet_is_one_file_and_escapes_what_it_shows(finished_run: RunFolder, tmp_path: Path) -> None:
    root = tmp_path / "a<b>&c"
    shutil.copytree(finished_run.root, root)
    text = write_review_sheet(root, limit=3).read_text()
    assert text.count("<article") == 3
    assert "a<b>" not in text
    assert 'src="data:image/jpeg;base64,' in text
    assert "http" not in text
