"""Whole studies in a real browser: by keyboard, by click, on a phone, and on a page without a server."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reason_edit.rating.sheet_file import import_answers
from reason_edit.rating.store import Store
from reason_edit.rating.study import Answer
from tests.reason_edit.rating.drawn_run import METHODS, Served, serve, write_run

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium is installed"),
]
Browser, Page = playwright.Browser, playwright.Page
ITEMS = 9
ERRORS: list[str] = []


@pytest.fixture(autouse=True)
def no_script_error() -> Iterator[None]:
    ERRORS.clear()
    yield
    assert ERRORS == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser") / "run"
    write_run(folder, samples=3)
    return folder


@pytest.fixture(scope="module")
def served(run: Path) -> Iterator[Served]:
    """One server for all tests; every test has raters of its own."""
    running = serve(run, "--raters", "12")
    yield running
    running.kill()


def until(page: Page, expression: str, seconds: float = 10) -> None:
    """Wait for a condition; Playwright's own wait evaluates strings in the page, which the page's policy forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"{expression} did not come true; status: {page.inner_text('#status')!r}"
        page.wait_for_timeout(15)


def begin(page: Page, link: str) -> None:
    page.on("pageerror", lambda error: ERRORS.append(str(error)))
    page.goto(link)
    page.wait_for_selector("#about[open]")
    page.keyboard.press("Enter")
    ready(page)


def ready(page: Page) -> None:
    """Until an item, or the end, is shown and takes input."""
    until(
        page,
        "(document.getElementById('item').hidden && !document.getElementById('done').hidden) || "
        "(!document.getElementById('item').hidden && !document.querySelector('#item.waiting') "
        " && document.querySelector('[data-answer]').getAttribute('aria-disabled') === 'false')",
    )
    page.wait_for_timeout(270)


def place(page: Page) -> int:
    text = page.inner_text("#count")
    return int(text.split()[1]) if text.startswith("Edit") else 0


def answered(page: Page) -> int:
    return int(page.get_attribute(".progress", "aria-valuenow") or 0)


def shot(page: Page, name: str) -> None:
    if folder := os.environ.get("SMARTEDIT_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png")


def votes(run: Path, rater: int) -> list[str]:
    with sqlite3.connect(run / "study.sqlite") as connection:
        found = connection.execute("SELECT answer FROM votes WHERE rater = ? ORDER BY number", (rater - 1,)).fetchall()
    return [answer for (answer,) in found]


def test_three_raters_finish_a_study(browser: Browser, served: Served, run: Path) -> None:
    links = list(served.links.values())
    # The first by keyboard alone, closing the browser in the middle and coming back.
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    begin(page, links[0])
    shot(page, "desktop")
    for key in "123123":
        before = answered(page)
        page.keyboard.press(key)
        until(page, f"document.querySelector('.progress').ariaValueNow == {before + 1}")
        ready(page)
    assert len(votes(run, 1)) == 6
    context.close()
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(links[0])
    ready(page)
    assert (place(page), answered(page)) == (7, 6)
    assert not page.is_visible("#about")
    page.keyboard.press("ArrowLeft")
    ready(page)
    assert place(page) == 6
    assert page.get_attribute('[data-answer="cannot tell"]', "aria-pressed") == "true"
    shot(page, "desktop-back")
    page.keyboard.press("1")
    until(page, "document.getElementById('count').innerText.startsWith('Edit 7')")
    ready(page)
    assert answered(page) == 6
    while page.is_hidden("#done"):
        before = answered(page)
        page.keyboard.press("1")
        until(page, f"document.querySelector('.progress').ariaValueNow == {before + 1}")
        ready(page)
    assert "9 of 9" in page.inner_text("#count")
    shot(page, "desktop-done")
    context.close()

    # The second by click, the third by tap on a phone.
    context = browser.new_context(viewport={"width": 1100, "height": 700}, color_scheme="dark")
    page = context.new_page()
    begin(page, links[1])
    for turn in range(ITEMS):
        page.click('[data-answer="not"]')
        until(page, f"document.querySelector('.progress').ariaValueNow == {turn + 1}")
        ready(page)
        page.wait_for_timeout(250)
    assert page.is_visible("#done")
    context.close()
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, device_scale_factor=2, is_mobile=True, has_touch=True
    )
    page = context.new_page()
    page.goto(links[2])
    page.wait_for_selector("#about[open]")
    shot(page, "phone-about")
    page.tap("#begin")
    ready(page)
    shot(page, "phone")
    for turn in range(ITEMS):
        page.tap('[data-answer="cannot tell"]')
        until(page, f"document.querySelector('.progress').ariaValueNow == {turn + 1}")
        ready(page)
        page.wait_for_timeout(250)
    assert page.is_visible("#done")
    context.close()

    assert [len(votes(run, rater)) for rater in (1, 2, 3)] == [ITEMS + 1, ITEMS, ITEMS]
    store = Store.open(str(run / "study.sqlite"))
    first = [v.answer for v in store.current(0).values()]
    assert [first.count(a) for a in Answer] == [6, 2, 1]
    assert {v.answer for v in store.current(1).values()} == {Answer.NOT_ALIGNED}
    assert {v.answer for v in store.current(2).values()} == {Answer.CANNOT_TELL}


def test_a_double_click_answers_one_item(browser: Browser, served: Served, run: Path) -> None:
    page = browser.new_page()
    begin(page, served.links["rater-4"])
    page.dblclick('[data-answer="aligned"]')
    page.wait_for_timeout(600)
    for _ in range(3):
        page.keyboard.press("1", delay=0)
    page.wait_for_timeout(600)
    assert answered(page) == 2
    assert len(votes(run, 4)) == 2
    page.close()


def test_an_item_left_open_for_days_is_answered_all_the_same(browser: Browser, served: Served, run: Path) -> None:
    page = browser.new_page()
    begin(page, served.links["rater-12"])
    page.evaluate("() => { const now = performance.now(); performance.now = () => now + 2e8; }")
    page.keyboard.press("1")
    until(page, "document.querySelector('.progress').ariaValueNow == 1")
    with sqlite3.connect(run / "study.sqlite") as connection:
        assert connection.execute("SELECT seconds FROM votes WHERE rater = 11").fetchall() == [(86_400.0,)]
    page.close()


def test_two_tabs_do_not_overwrite_one_another(browser: Browser, served: Served, run: Path) -> None:
    context = browser.new_context()
    first, second = context.new_page(), context.new_page()
    begin(first, served.links["rater-5"])
    begin(second, served.links["rater-5"])
    first.keyboard.press("1")
    until(first, "document.getElementById('count').innerText.startsWith('Edit 2')")
    second.bring_to_front()
    second.keyboard.press("2")
    second.wait_for_selector("#status.trouble")
    assert "In another tab you answered “aligned”" in second.inner_text("#status")
    assert second.get_attribute('[data-answer="aligned"]', "aria-pressed") == "true"
    assert votes(run, 5) == ["aligned"]
    second.wait_for_timeout(300)
    second.keyboard.press("2")
    until(second, "document.getElementById('count').innerText.startsWith('Edit 2')")
    assert votes(run, 5) == ["aligned", "not"]
    context.close()


def test_a_dead_server_loses_no_answer(browser: Browser, tmp_path: Path) -> None:
    write_run(tmp_path / "run", samples=1)
    served = serve(tmp_path / "run", "--raters", "1")
    page = browser.new_page()
    begin(page, served.links["rater-1"])
    served.kill()
    page.keyboard.press("1")
    page.wait_for_selector("#status.trouble")
    assert "Nothing is lost" in page.inner_text("#status")
    assert place(page) == 1
    shot(page, "no-connection")
    again = serve(tmp_path / "run", port=urlsplit(served.links["rater-1"]).port or 0)
    try:
        until(page, "document.getElementById('count').innerText.startsWith('Edit 2')", seconds=15)
    finally:
        again.kill()
    assert votes(tmp_path / "run", 1) == ["aligned"]
    page.close()


def test_zoom_flicker_and_peek(browser: Browser, served: Served) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    begin(page, served.links["rater-6"])
    transforms = "[...document.querySelectorAll('.window img')].map((i) => i.style.transform)"
    page.click("#before", position={"x": 100, "y": 150})
    zoomed = page.evaluate(transforms)
    assert len(set(zoomed)) == 1
    assert zoomed[0].startswith("scale(2)")
    page.keyboard.press("Shift+ArrowRight")
    assert page.evaluate(transforms) != zoomed
    page.keyboard.press("0")
    assert page.inner_text("#scale") == "1×"
    page.mouse.move(700, 300)
    page.mouse.wheel(0, -400)
    until(page, "document.getElementById('scale').innerText === '2.7×'")
    shown = "document.getElementById('after').dataset.show"
    page.keyboard.down(" ")
    assert page.evaluate(shown) == "source"
    assert "Before" in page.inner_text("#after-caption")
    page.keyboard.up(" ")
    assert page.evaluate(shown) == "edited"
    page.keyboard.press("f")
    until(page, f"{shown} === 'edited' && document.getElementById('flicker').ariaPressed === 'true'")
    until(page, f"{shown} === 'source'")
    page.keyboard.press("f")
    assert page.evaluate(shown) == "edited"
    # Space after a mouse click must look, not vote.
    page.click("#zoom")
    page.keyboard.press(" ")
    assert answered(page) == 0
    page.keyboard.press("1")
    until(page, "document.getElementById('count').innerText.startsWith('Edit 2')")
    assert page.inner_text("#scale") == "1×"
    page.close()


def test_the_keyboard_alone_reaches_every_control(browser: Browser, served: Served) -> None:
    page = browser.new_page()
    begin(page, served.links["rater-7"])
    reached = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.dataset.answer"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid" or page.evaluate("document.activeElement === document.body")
    assert {"help", "peek", "flicker", "zoom", "forward", "aligned", "not", "cannot tell"} <= reached
    page.keyboard.press("h")
    assert page.is_visible("#about")
    page.keyboard.press("Escape")
    page.focus('[data-answer="not"]')
    page.keyboard.press("Enter")
    until(page, "document.getElementById('count').innerText.startsWith('Edit 2')")
    page.close()


def test_everything_fits_on_small_and_large_screens(browser: Browser, served: Served) -> None:
    for width, height in ((360, 640), (390, 844), (844, 390), (768, 1024), (1920, 1080)):
        page = browser.new_page(viewport={"width": width, "height": height})
        begin(page, served.links["rater-8"])
        for text, trouble in (
            ("Saved", "false"),
            ("The server cannot save just now. Nothing is lost; trying again …", "true"),
        ):
            page.evaluate(
                f"""document.getElementById('status').textContent = '{text}';
                document.getElementById('status').classList.toggle('trouble', {trouble});
                document.getElementById('count').textContent = 'Edit 398 of 398 · 398 answered'"""
            )
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (width, height, text)
            assert page.evaluate("document.querySelector('header').offsetHeight") <= 100
        boxes = page.evaluate(
            "[...document.querySelectorAll('#item button, .window')].map((e) => e.getBoundingClientRect().toJSON())"
        )
        for box in boxes:
            assert box["left"] >= 0 and box["right"] <= width and box["bottom"] <= height, (width, height, box)
            assert box["height"] >= 36
        assert min(b["height"] for b in boxes[:2]) >= 36
        windows = page.evaluate(
            "[...document.querySelectorAll('.window')].map((e) => e.getBoundingClientRect().height)"
        )
        assert min(windows) >= 0.25 * min(height, 640), (width, height, windows)
        page.close()


def test_signs_and_frames_tell_the_answer_without_color(browser: Browser, served: Served) -> None:
    page = browser.new_page(viewport={"width": 1000, "height": 700}, forced_colors="active")
    begin(page, served.links["rater-9"])
    page.keyboard.press("2")
    until(page, "document.getElementById('count').innerText.startsWith('Edit 2')")
    ready(page)
    page.keyboard.press("ArrowLeft")
    ready(page)
    styles = page.evaluate(
        "[...document.querySelectorAll('[data-answer]')].map((b) => [b.innerText[0], getComputedStyle(b).borderStyle])"
    )
    assert styles == [["✓", "solid"], ["✗", "double"], ["?", "solid"]]
    shot(page, "without-color")
    page.close()


def test_a_sheet_without_a_server(browser: Browser, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from benchmark.commands.rate import app

    run = tmp_path / "run"
    write_run(run, samples=3)
    result = CliRunner().invoke(app, ["sheet", str(run), "--rater", "zoe", "--out", str(tmp_path / "sheets")])
    assert result.exit_code == 0, result.output
    sheet = next((tmp_path / "sheets").glob("*.html"))
    context = browser.new_context(viewport={"width": 1100, "height": 700}, accept_downloads=True)
    requests: list[str] = []
    context.on("request", lambda r: requests.append(r.url))
    page = context.new_page()
    begin(page, sheet.as_uri())
    for key in "123":
        page.keyboard.press(key)
        page.wait_for_timeout(50)
        ready(page)
    page.close()
    page = context.new_page()
    page.goto(sheet.as_uri())
    ready(page)
    assert answered(page) == 3
    while page.is_hidden("#done"):
        page.keyboard.press("1")
        page.wait_for_timeout(50)
        ready(page)
    shot(page, "sheet-done")
    with page.expect_download() as download:
        page.click("#save")
    answers = tmp_path / "answers.json"
    download.value.save_as(answers)
    context.close()
    assert [u for u in requests if u.startswith("http")] == []
    assert not [m for m in METHODS if m in answers.read_text()]
    result = CliRunner().invoke(app, ["import", str(run), str(answers)])
    assert result.exit_code == 0, result.output
    assert "zoe, 9 new" in result.output
    store = Store.open(str(run / "study.sqlite"))
    assert [[v.answer for v in store.current(0).values()].count(a) for a in Answer] == [7, 1, 1]
    assert import_answers(answers, store).known == 9
    assert len(json.loads(answers.read_text())["answers"]) == 9
