import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.report.content import load_content
from benchmark.report.gallery import gallery_data, html_report
from benchmark.report.pictures import PictureStore, encode_mask, encode_picture, fitting_edge
from benchmark.report.plots import scale_of
from benchmark.runs import Run
from tests.benchmark.report_run import FAILED, PROTOCOL, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return html_report(run, load_content(run))


def test_the_page_is_one_file_that_asks_for_nothing(page: str) -> None:
    found = re.findall(r"(?:src|href)=[\"']?([^\"' >]+)", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert all(link.startswith(("#", "data:")) for link in found)
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!data:)|fetch\(|XMLHttpRequest|import\(", page)


def test_the_same_run_gives_the_same_page(run: Run, page: str) -> None:
    assert html_report(run, load_content(run)) == page


def test_text_of_others_is_never_markup(page: str) -> None:
    assert "<b>an orange" not in page
    assert "\\u003cb>an orange & a leaf" in page


class Balance(HTMLParser):
    """Open elements must be closed in order."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_markup_is_balanced_and_ids_are_unique(page: str) -> None:
    balance = Balance()
    balance.feed(page)
    assert balance.open == []
    assert len(set(balance.ids)) == len(balance.ids)


def test_the_data_hold_every_score_reason_and_picture(run: Run) -> None:
    content = load_content(run)
    data, pictures = gallery_data(run, content, edge=64, max_megabytes=10)
    assert len(data["samples"]) == 18
    assert [m["title"] for m in data["metrics"][PROTOCOL]] == ["PSNR", "SSIM", "CLIP score", "MSE"]
    labels = [m["label"] for m in data["methods"]]
    failed = next(s for s in data["samples"] if s["id"] == FAILED[1])["edits"][labels.index("smearer")]
    assert (failed["picture"], failed["error"]) == (None, "ValueError: the smearer slipped")
    assert failed["scores"][PROTOCOL] == [None] * 4
    copied = data["samples"][0]["edits"][labels.index("copy-input")]
    assert copied["scores"][PROTOCOL][0] == "inf"
    assert copied["reasons"][PROTOCOL][0] == "the background is identical"
    # A copy of the source is the same picture, and is held once.
    assert copied["picture"] == data["samples"][0]["source"]
    assert all(len(p) > 50 for p in pictures)
    json.dumps(data, allow_nan=False)


def test_a_picture_that_is_gone_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=1)
    run.image_path("painter", "color/001").unlink()
    run.image_path("painter", "mirror/001").write_bytes(b"no picture")
    content = load_content(run)
    data, _ = gallery_data(run, content, edge=64, max_megabytes=10)
    place = [m["label"] for m in data["methods"]].index("painter")
    errors = {s["id"]: s["edits"][place]["error"] for s in data["samples"]}
    assert errors["color/001"] == errors["mirror/001"] == "the picture is missing or broken"
    assert errors["left_right/001"] is None


def test_pictures_shrink_until_they_fit(tmp_path: Path) -> None:
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.png")
        noise = np.random.default_rng(number).integers(0, 255, (300, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(paths[-1])
    assert fitting_edge(paths, 256, max_megabytes=10) == 256
    small = fitting_edge(paths, 256, max_megabytes=0.1)
    assert small < 256
    store = PictureStore(small)
    store.add_files(paths)
    assert sum(map(len, store.encoded)) < 0.1e6
    assert max(Image.open(paths[0]).size) == 400


def test_encoded_pictures_keep_their_shape(run: Run, tmp_path: Path) -> None:
    sample = load_content(run).samples[0]
    path = tmp_path / "x.webp"
    path.write_bytes(encode_picture(sample.image, 48))
    with Image.open(path) as image:
        assert (image.format, image.size) == ("WEBP", (48, 36))
    path.write_bytes(encode_mask(sample.mask, 96))
    with Image.open(path) as image:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert alpha[36, 24] == 255
    assert alpha[2, 2] == 0


def test_an_axis_holds_its_values() -> None:
    axis = scale_of([20.0, float("inf"), 31.0], 100, 300)
    assert 100 < axis(20) < axis(31) < 300
    assert axis(float("inf")) == 300
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())
    assert len(axis.ticks()) >= 2
    assert scale_of([1.0, 1.0], 0, 10).low < 1 < scale_of([1.0, 1.0], 0, 10).high
