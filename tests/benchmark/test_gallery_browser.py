"""The HTML report in a real Chromium: what a person can do with it, by mouse and by keyboard."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.report.write import write_report
from tests.benchmark.report_run import write_run

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no chromium is installed"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = write_run(tmp_path_factory.mktemp("run"), per_category=4)
    other = [replace(s, protocol="unheard-of-v1") for s in run.scores() if s.metric != "clip_score"]
    run.write_scores(run.scores() + other, run.unscored())
    return write_report(run, ["html"])[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """A page that must neither complain nor ask for anything but itself."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, offline=True)
    opened = context.new_page()
    trouble: list[str] = []
    requests: list[str] = []
    opened.on("console", lambda message: trouble.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda request: requests.append(request.url))
    opened.goto(report.as_uri())
    opened.wait_for_selector(".card")
    yield opened
    assert trouble == []
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    context.close()


def ids(page: Any) -> list[str]:
    """The samples that the gallery shows, all of them, after scrolling to the end."""
    for _ in range(8):
        page.evaluate("document.getElementById('more').scrollIntoView({behavior: 'instant'})")
        page.wait_for_timeout(30)
    return list(page.eval_on_selector_all(".card", "cards => cards.map(card => card.dataset.id)"))


def test_everything_is_there(page: Any) -> None:
    assert len(ids(page)) == 24
    assert page.text_content("h1") == "4 methods on 24 samples"
    first = page.locator(".card").first
    assert first.locator("figcaption").all_text_contents() == [
        "Source",
        "Mask",
        "painter",
        "smearer",
        "paster",
        "copy-input",
    ]
    first.scroll_into_view_if_needed()
    decoded = "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
    assert first.locator("img").evaluate_all(decoded) == [96] * 7
    assert "∞" in first.inner_text()
    assert "<b>an orange & a leaf</b>" in first.inner_text()
    assert page.locator("svg.plot:visible").count() >= 4


def test_filters_by_category_and_method_and_words(page: Any) -> None:
    page.locator("#categories-filter .toggle", has_text="mirror").click()
    assert ids(page) == [f"mirror/00{n}" for n in (1, 2, 3, 4)]
    assert "4 of 24 samples" in page.text_content("#count")
    page.locator("#categories-filter .toggle", has_text="color").click()
    assert {i.split("/")[0] for i in ids(page)} == {"mirror", "color"}
    page.locator("#methods-filter .toggle", has_text="painter").click()
    page.locator("#methods-filter .toggle", has_text="smearer").click()
    assert page.locator(".card").first.locator("figcaption").all_text_contents() == [
        "Source",
        "Mask",
        "painter",
        "smearer",
    ]
    page.fill("#search", "picture 2")
    assert ids(page) == ["mirror/002", "color/002"]
    page.fill("#search", "zebra")
    assert "No sample fits" in page.text_content("#cards")
    page.locator("#count button").click()
    assert len(ids(page)) == 24


def test_shows_only_what_is_missing_or_infinite(page: Any) -> None:
    page.select_option("#only", "gaps")
    assert ids(page) == ["mirror/002"]
    assert "the smearer slipped" in page.locator(".card").inner_text()
    page.locator("#methods-filter .toggle", has_text="paster").click()
    page.select_option("#only", "infinite")
    assert len(ids(page)) == 6
    assert all(i.endswith("/001") for i in ids(page))


def score_column(page: Any, method: str, metric: str) -> list[float]:
    """What the cards print for a method's metric, in their order."""
    ids(page)
    texts = page.eval_on_selector_all(
        ".card",
        """(cards, [method, metric]) => cards.map(card => {
            const named = shot => shot.querySelector('figcaption').textContent === method;
            const shot = [...card.querySelectorAll('.shot')].find(named);
            const names = [...shot.querySelectorAll('dt')];
            return shot.querySelectorAll('dd')[names.findIndex(name => name.textContent === metric)].textContent;
        })""",
        [method, metric],
    )
    return [float(text.replace("∞", "inf").replace("–", "nan")) for text in texts]


def test_sorts_by_any_score_and_by_disagreement(page: Any) -> None:
    page.select_option("#sort-metric", label="SSIM")
    page.select_option("#sort-how", label="of painter")
    values = score_column(page, "painter", "SSIM")
    assert values == sorted(values)
    page.click("#direction")
    values = score_column(page, "painter", "SSIM")
    assert values == sorted(values, reverse=True)
    page.select_option("#sort-metric", label="PSNR")
    page.select_option("#sort-how", label="disagreement")
    columns = {m: score_column(page, m, "PSNR") for m in ("painter", "smearer", "paster", "copy-input")}
    finite = [[v for v in row if abs(v) < 1e9] for row in zip(*columns.values(), strict=True)]
    spreads = [max(row) - min(row) for row in finite]
    assert all(a >= b - 0.002 for a, b in itertools.pairwise(spreads))
    assert spreads[0] > spreads[-1]
    page.select_option("#sort-metric", label="order of the data set")
    assert ids(page)[0] == "left_right/001"


def test_a_sample_without_the_score_sorts_last_in_both_directions(page: Any) -> None:
    page.select_option("#sort-metric", label="CLIP score")
    page.select_option("#sort-how", label="of smearer")
    assert ids(page)[-1] == "mirror/002"
    page.click("#direction")
    assert ids(page)[-1] == "mirror/002"


def test_the_viewer_works_by_keyboard_alone(page: Any) -> None:
    page.locator(".card .shot button").nth(2).focus()
    page.keyboard.press("Enter")
    assert page.locator("#viewer").is_visible()
    assert "left_right/001" in page.text_content("#v-id")
    pressed = "#v-methods button[aria-pressed=true]"
    assert page.text_content(pressed) == "painter"
    assert "It is an orange now." in page.text_content("#v-response")
    page.keyboard.press("ArrowRight")
    assert page.text_content(pressed) == "smearer"
    page.keyboard.press("ArrowDown")
    assert "left_right/002" in page.text_content("#v-id")
    page.keyboard.press("2")
    assert not page.locator("#v-edit").is_visible()
    page.keyboard.press("4")
    assert page.evaluate("getComputedStyle(document.getElementById('v-edit')).mixBlendMode") == "difference"
    page.keyboard.press("m")
    assert page.locator("#v-mask").is_visible()
    page.keyboard.press("3")
    assert "50%" in page.evaluate("document.getElementById('v-edit').style.clipPath")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()


def test_the_viewer_says_why_there_is_no_picture(page: Any) -> None:
    page.fill("#search", "mirror/002")
    page.locator(".card .shot button[aria-label='smearer on mirror/002']").click()
    assert page.text_content("#v-error") == "ValueError: the smearer slipped"
    assert page.locator("#v-error").is_visible()


def test_tables_sort_within_their_sections(page: Any) -> None:
    head = page.locator("#t-main >> visible=true").locator("thead button", has_text="SSIM").first
    names = "() => [...document.querySelectorAll('#t-main tbody')][0].innerText"
    assert page.evaluate(names).index("painter") < page.evaluate(names).index("smearer")
    head.click()
    head.click()
    assert page.evaluate(names).index("smearer") < page.evaluate(names).index("painter")
    sections = page.eval_on_selector_all("#t-main .section", "rows => rows.map(row => row.innerText.toLowerCase())")
    assert sections[:3] == ["editors", "given the mask, or compositing", "references"]


def test_the_protocol_changes_everything_at_once(page: Any) -> None:
    assert page.locator(".card").first.locator("dt", has_text="CLIP score").count() == 4
    assert page.locator(".protocol-part:visible").first.get_attribute("data-protocol") == "strict-v1"
    page.select_option("#protocol", "unheard-of-v1")
    visible = page.locator(".protocol-part:visible")
    assert {part.get_attribute("data-protocol") for part in visible.all()} == {"unheard-of-v1"}
    assert page.locator(".card").first.locator("dt", has_text="CLIP score").count() == 0
    assert page.locator("#results:visible").count() == 1


def test_tabs_choose_a_metric(page: Any) -> None:
    tabs = page.locator("#categories [role=tab]")
    tabs.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert tabs.nth(1).get_attribute("aria-selected") == "true"
    assert "SSIM" in page.locator("#categories [role=tabpanel]:visible caption").inner_text()


def test_dark_and_light(page: Any) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(color)
    page.click("#theme")
    assert page.evaluate(color) != light
    page.click("#theme")
    assert page.evaluate(color) == light


def test_nothing_sticks_out_on_a_phone(browser: Any, report: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    opened = context.new_page()
    opened.goto(report.as_uri())
    opened.wait_for_selector(".card")
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    strip = opened.locator(".card .strip").first
    assert strip.evaluate("strip => strip.scrollWidth > strip.clientWidth")
    opened.locator(".card .shot button").nth(2).tap()
    assert opened.locator("#viewer").is_visible()
    box = opened.locator("#v-stage").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    context.close()
