"""Grounding: what must be known, what may stay unknown, invented clues, rivals, and free places."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from reason_edit.schema import Category
from smartedit.synthesis.ground import ground
from smartedit.synthesis.knowledge import read_knowledge
from smartedit.synthesis.records import Candidate, Grounding, PictureRow, Rule
from smartedit.synthesis.stage import Outcome, Pictures
from smartedit.tools.protocols import Box, Detection, GroundingRequest, Operation, SegmentationRequest, ToolError
from tests.smartedit.synthesis.conftest import DrawnSet

CANDIDATE = Candidate(
    candidate_id="c",
    picture_id="p",
    category=Category.REASONING,
    operation=Operation.REPLACE,
    rule=Rule.CLUE,
    kind="clock",
    clue="object that can tell the time",
    clue_origin="table",
    rivals=("wristwatch",),
    context=("cup",),
    replacement="vase",
    variant=0,
)
CLOCK: Box = (60.0, 60.0, 90.0, 90.0)


class Detector:
    """Finds what it was told; a kind that it was told nothing good about fails."""

    def __init__(self, found: dict[str, list[Box] | None]) -> None:
        self._found = found

    def ground(self, requests: list[GroundingRequest]) -> list[list[Detection]]:
        answers = []
        for request in requests:
            boxes = self._found.get(request.phrase, [])
            if boxes is None:
                raise ToolError("out of memory")
            answers.append([Detection(box=b, score=0.9, phrase=request.phrase) for b in boxes])
        return answers

    def segment(self, requests: list[SegmentationRequest]) -> list[object]:
        raise ToolError("no segmenter")


@pytest.fixture
def grounded(drawn_set: DrawnSet, tmp_path: Path):  # type: ignore[no-untyped-def]
    Image.new("RGB", (160, 160), (180, 180, 180)).save(tmp_path / "p.png")
    row = PictureRow(
        picture_id="p",
        path="p.png",
        original="p.png",
        original_sha256="",
        original_width=160,
        original_height=160,
        width=160,
        height=160,
        perceptual_hash="0" * 16,
        license="CC0",
        url=None,
    )

    def run(candidate: Candidate, found: dict[str, list[Box] | None]) -> Outcome[Grounding]:
        tool = Detector(found)
        pictures = Pictures(tmp_path, [row])
        return ground([candidate], pictures, tool, tool, read_knowledge(), drawn_set.config())  # type: ignore[arg-type]

    return run


def test_a_clue_needs_its_thing_alone(grounded) -> None:  # type: ignore[no-untyped-def]
    (row,) = grounded(CANDIDATE, {"clock": [CLOCK]}).rows
    assert (row.referring, row.attribute, row.box.corners) == ("object that can tell the time", "", CLOCK)
    (rejection,) = grounded(CANDIDATE, {"clock": [CLOCK], "wristwatch": [(5.0, 5.0, 30.0, 30.0)]}).rejections
    assert (rejection.reason, "wristwatch" in rejection.detail) == ("rival present", True)


def test_an_invented_clue_must_lead_the_detector_to_the_thing(grounded) -> None:  # type: ignore[no-untyped-def]
    invented = replace(CANDIDATE, clue="thing that ticks", clue_origin="a model", rivals=())
    assert grounded(invented, {"clock": [CLOCK], "thing that ticks": [(58.0, 60.0, 90.0, 92.0)]}).rows
    for elsewhere in ([], [(5.0, 5.0, 40.0, 40.0)]):
        (rejection,) = grounded(invented, {"clock": [CLOCK], "thing that ticks": elsewhere}).rejections
        assert rejection.reason == "clue not confirmed"


def test_only_what_the_rule_needs_may_not_fail(grounded) -> None:  # type: ignore[no-untyped-def]
    assert grounded(CANDIDATE, {"clock": [CLOCK], "cup": None}).rows
    for needed in ("clock", "mirror", "wristwatch"):
        (rejection,) = grounded(CANDIDATE, {"clock": [CLOCK], needed: None}).rejections
        assert rejection.reason == "tool failed"
        assert rejection.detail == f"{needed}: out of memory"


def test_additions_need_a_free_place(grounded) -> None:  # type: ignore[no-untyped-def]
    add = replace(CANDIDATE, operation=Operation.ADD)
    (row,) = grounded(add, {"clock": [CLOCK]}).rows
    assert row.place == "to the right of"
    assert row.free_box.x0 > CLOCK[2]
    assert row.free_box.y1 == CLOCK[3]
    right, left = (100.0, 50.0, 130.0, 100.0), (20.0, 50.0, 50.0, 100.0)
    (other_side,) = grounded(add, {"clock": [CLOCK], "cup": [right]}).rows
    assert other_side.place == "to the left of"
    (rejection,) = grounded(add, {"clock": [CLOCK], "cup": [right, left]}).rejections
    assert rejection.reason == "no free place"


def test_a_color_needs_a_mask(grounded) -> None:  # type: ignore[no-untyped-def]
    color = replace(CANDIDATE, category=Category.COLOR, rule=Rule.COLOR, clue=None, clue_origin=None, rivals=())
    (rejection,) = grounded(color, {"clock": [CLOCK, (10.0, 60.0, 40.0, 90.0)]}).rejections
    assert (rejection.reason, rejection.detail) == ("tool failed", "segmenting for the color: no segmenter")
