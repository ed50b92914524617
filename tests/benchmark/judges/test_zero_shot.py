"""The zero-shot judge: its rule with features that are known, and the whole path with transformers' real CLIP."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from benchmark.judges.judging import judge_run
from benchmark.judges.verdicts import Case, JudgeError
from benchmark.judges.zero_shot import ZeroShotJudge, read_vocabulary
from benchmark.networks import find_clip
from reason_edit.rating.study import Answer
from reason_edit.schema import Category, EditSample
from tests.reason_edit.rating.drawn_run import METHODS, write_run

LABELS = ("red", "green", "blue")


class ColorEye:
    """Names a crop by its mean color: a CLIP whose right answers are known."""

    def crop_features(self, crops: Sequence[Image.Image]) -> torch.Tensor:
        means = torch.tensor(np.array([np.asarray(c).reshape(-1, 3).mean(axis=0) for c in crops]), dtype=torch.float32)
        return torch.nn.functional.normalize(means, dim=-1)

    def label_feature(self, label: str, keep_end: bool) -> torch.Tensor:
        return torch.eye(3)[LABELS.index(label)]


def case(
    folder: Path, *, before: str, after: str, background: str = "gray", label: str = "blue", mask: bool = True
) -> Case:
    box = (16, 16, 48, 48)
    source = Image.new("RGB", (64, 64), "gray")
    source.paste(ImageColor.getrgb(before), box)
    edited = Image.new("RGB", (64, 64), background)
    edited.paste(ImageColor.getrgb(after), box)
    painted = Image.new("L", (64, 64), 0)
    if mask:
        painted.paste(255, box)
    for name, picture in (("source", source), ("edited", edited), ("mask", painted)):
        picture.save(folder / f"{name}.png")
    sample = EditSample(
        sample_id="color/1",
        category=Category.COLOR,
        instruction="make it blue",
        target_label=label,
        image=folder / "source.png",
        mask=folder / "mask.png",
    )
    return Case(method="m", sample=sample, edited=folder / "edited.png", edited_sha256="")


def opinion(one: Case, lowest_psnr: float = 18.0) -> tuple[Answer | None, str | None]:
    found = next(iter(ZeroShotJudge(ColorEye(), "eye@1", LABELS, lowest_psnr).judge([one])))
    return found.answer, found.reason


def test_the_right_thing_in_the_right_place_is_aligned(tmp_path: Path) -> None:
    assert opinion(case(tmp_path, before="red", after="blue")) == (Answer.ALIGNED, None)


def test_every_gate_can_fail(tmp_path: Path) -> None:
    assert opinion(case(tmp_path, before="red", after="green"))[0] is Answer.NOT_ALIGNED
    assert opinion(case(tmp_path, before="blue", after="blue"))[0] is Answer.NOT_ALIGNED
    ruined = case(tmp_path, before="red", after="blue", background="white")
    assert opinion(ruined)[0] is Answer.NOT_ALIGNED
    assert opinion(ruined, lowest_psnr=1.0)[0] is Answer.ALIGNED


def test_what_it_measured_is_kept(tmp_path: Path) -> None:
    judge = ZeroShotJudge(ColorEye(), "eye@1", LABELS)
    reply = json.loads(str(next(iter(judge.judge([case(tmp_path, before="red", after="green")]))).reply))
    assert reply["named"] == "green"
    assert reply["similarity"] < 0.05
    assert 30 < reply["background_psnr"] < 35


def test_without_label_mask_or_picture_there_is_no_score(tmp_path: Path) -> None:
    assert opinion(case(tmp_path, before="red", after="blue", label="")) == (None, "the sample has no target label")
    answer, reason = opinion(case(tmp_path, before="red", after="blue", mask=False))
    assert answer is None
    assert "mask is empty" in str(reason)
    broken = case(tmp_path, before="red", after="blue")
    broken.edited.write_bytes(b"no picture")
    answer, reason = opinion(broken)
    assert answer is None
    assert "edited.png" in str(reason)


def test_a_choice_among_one_is_refused() -> None:
    with pytest.raises(JudgeError, match="a choice among one is always right"):
        ZeroShotJudge(ColorEye(), "eye@1", ("blue", "", "blue"))


def test_another_threshold_or_vocabulary_is_another_judge(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", samples=1)
    judge_run(run, ZeroShotJudge(ColorEye(), "eye@1", LABELS), "zero-shot", methods=METHODS[:1])
    judge_run(run, ZeroShotJudge(ColorEye(), "eye@1", tuple(reversed(LABELS))), "zero-shot", methods=METHODS[1:2])
    for other in (ZeroShotJudge(ColorEye(), "eye@1", LABELS, 30.0), ZeroShotJudge(ColorEye(), "eye@1", (*LABELS, "x"))):
        with pytest.raises(JudgeError, match=r"'zero-shot' is eye@1, 18 dB, .* labels .*; this one is eye@1, "):
            judge_run(run, other, "zero-shot", methods=METHODS[:1])


def test_a_vocabulary_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("apple\n\n pear \n")
    assert read_vocabulary(tmp_path / "words.txt") == ["apple", "pear"]
    with pytest.raises(JudgeError, match="no such vocabulary"):
        read_vocabulary(tmp_path / "none.txt")


def test_the_real_clip_class_judges_a_run(golden: Path, tmp_path: Path) -> None:
    folder = golden / "reason_edit_dev" / "nets" / "clip"
    if not folder.is_dir():
        pytest.skip(f"no reference networks in {golden}")
    run = write_run(tmp_path / "run", samples=3, missing=1)
    clip = find_clip(str(folder))
    labels = tuple(s.target_label for s in run.samples())
    rows = judge_run(run, ZeroShotJudge(clip.load(), f"tiny@{clip.sha256[:12]}", labels), "zero-shot")
    assert len(rows) == 9
    assert [r.reason for r in rows if r.answer is None] == ["no edited picture: out of memory"]
    scores = run.scores()
    assert {s.metric for s in scores} == {"judge:zero-shot"}
    assert {s.protocol for s in scores} == {"judge-zero-shot-v1"}
    assert sum(math.isnan(s.value) for s in scores) == 1
    again = judge_run(run, ZeroShotJudge(clip.load(), f"tiny@{clip.sha256[:12]}", labels), "zero-shot")
    assert again == rows
