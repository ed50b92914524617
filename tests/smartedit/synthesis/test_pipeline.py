"""From drawn pictures to scores: what comes out is true of the pictures, and an interruption changes nothing."""

import hashlib
import json
import os
import re
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from smartedit.config.synthesis import GrounderConfig
from smartedit.folders import OtherContentError
from smartedit.synthesis.finish import choose
from smartedit.synthesis.intake import PictureFolderError
from smartedit.synthesis.pipeline import prepare, with_absolute_paths
from smartedit.synthesis.records import Candidate, EditedPair, Grounding, Instructions, QualityScores, Region
from smartedit.synthesis.run_folder import STAGES, RunFolder, RunFolderError
from smartedit.synthesis.stage import read_mask, read_rgb
from smartedit.synthesis.toolbox import Toolbox, toolbox
from smartedit.tools.annotations import AnnotationError
from smartedit.tools.protocols import Operation, ToolUnavailable
from tests.smartedit.synthesis.conftest import DrawnSet, run_all


def digest(root: Path) -> dict[str, str]:
    """Hashes of everything that a run wrote, without the environment and the machine's paths."""
    skipped = {"config.json", "environment.json"}
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.name not in skipped)
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_every_category_and_operation_gets_through(finished_run: RunFolder) -> None:
    candidates = {c.candidate_id: c for c in finished_run.all_rows("propose", Candidate)}
    scored = [candidates[s.candidate_id] for s in finished_run.all_rows("score", QualityScores)]
    assert {c.category.value for c in scored} == {
        "left_right",
        "relative_size",
        "mirror",
        "color",
        "multiple_objects",
        "reasoning",
    }
    assert {Operation.REPLACE, Operation.REMOVE} <= {c.operation for c in scored}


def test_every_candidate_ends_as_a_row_or_as_a_rejection(finished_run: RunFolder) -> None:
    candidates = {c.candidate_id for c in finished_run.all_rows("propose", Candidate)}
    scored = {s.candidate_id for s in finished_run.all_rows("score", QualityScores)}
    rejected = {
        r.candidate_id for r in finished_run.all_rejections() if r.candidate_id is not None and r.stage != "select"
    }
    assert scored | rejected == candidates
    assert not scored & rejected


def test_background_is_kept_exactly_and_the_thing_changes(finished_run: RunFolder) -> None:
    regions = {r.candidate_id: r for r in finished_run.all_rows("segment", Region)}
    candidates = {c.candidate_id: c for c in finished_run.all_rows("propose", Candidate)}
    paths = {p.picture_id: p.path for p in finished_run.pictures()}
    pairs = list(finished_run.all_rows("inpaint", EditedPair))
    for pair in pairs:
        source = np.asarray(read_rgb(finished_run.root / paths[candidates[pair.candidate_id].picture_id]))
        target = np.asarray(read_rgb(finished_run.root / pair.target))
        region = read_mask(finished_run.root / regions[pair.candidate_id].region)
        assert np.array_equal(source[~region], target[~region])
        assert (source != target)[region].any()
    assert len(pairs) > 20


def test_the_left_one_is_left_and_the_clue_does_not_name_it(finished_run: RunFolder) -> None:
    groundings = {g.candidate_id: g for g in finished_run.all_rows("ground", Grounding)}
    said = {i.candidate_id: i for i in finished_run.all_rows("instruct", Instructions)}
    checked = 0
    for candidate in finished_run.all_rows("propose", Candidate):
        grounding = groundings.get(candidate.candidate_id)
        if grounding is None:
            continue
        if grounding.attribute == "left":
            rights = [o for o in grounding.others if o.x0 < grounding.box.x0]
            assert all(o.x1 - o.x0 > 0 for o in rights)
            assert candidate.kind in said[candidate.candidate_id].texts[0]
            checked += 1
        if candidate.clue is not None:
            assert not any(candidate.kind in text for text in said[candidate.candidate_id].texts)
            checked += 1
    assert checked > 5


def test_threads_that_begin_at_once_share_one_toolbox(
    drawn_set: DrawnSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(drawn_set.pictures, tmp_path / "run", drawn_set.config())
    begin = threading.Barrier(4)

    class SlowToolbox(Toolbox):
        def __init__(self, folder: RunFolder) -> None:
            super().__init__(folder)
            time.sleep(0.2)

    def first_use(_: int) -> Toolbox:
        begin.wait()
        return toolbox(tmp_path / "run")

    monkeypatch.setattr("smartedit.synthesis.toolbox.Toolbox", SlowToolbox)
    with ThreadPoolExecutor(4) as threads:
        built = list(threads.map(first_use, range(4)))
    assert len(set(map(id, built))) == 1


def test_the_same_settings_give_the_same_bytes(drawn_set: DrawnSet, finished_run: RunFolder, tmp_path: Path) -> None:
    again = run_all(drawn_set.pictures, tmp_path / "again", drawn_set.config())
    choose(again.root)
    assert digest(again.root) == digest(finished_run.root)


def test_killed_at_ten_moments_it_resumes_to_the_same_bytes(
    drawn_set: DrawnSet, finished_run: RunFolder, tmp_path: Path
) -> None:
    root = tmp_path / "killed"
    goals = [3, 9, 14, 22, 30, 41, 55, 70, 90, 110]
    kills = 0
    for goal in goals:
        child = os.fork()
        if child == 0:  # pragma: no cover - killed
            try:
                run_all(drawn_set.pictures, root, drawn_set.config())
            finally:
                os._exit(0)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if sum(len(names) for _, _, names in os.walk(root)) >= goal:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                break
            time.sleep(0.001)
    done = {(s, n): RunFolder(root).table(s, n).stat().st_mtime_ns for s in STAGES for n in _done(root, s)}
    run_all(drawn_set.pictures, root, drawn_set.config())
    choose(root)
    assert kills == len(goals)
    # A killed write may leave its temporary file, which nobody reads.
    left = {k: v for k, v in digest(root).items() if ".tmp-" not in k}
    assert left == digest(finished_run.root)
    assert all(RunFolder(root).table(s, n).stat().st_mtime_ns == t for (s, n), t in done.items())


def _done(root: Path, stage: str) -> list[int]:
    return [int(p.stem) for p in (root / "stages" / stage).glob("?????.parquet")]


def test_other_settings_are_refused_by_name(drawn_set: DrawnSet, finished_run: RunFolder) -> None:
    with pytest.raises(RunFolderError, match=r"config\.rules\.size_ratio"):
        run_all(drawn_set.pictures, finished_run.root, drawn_set.config("rules.size_ratio=2.5"))


def test_annotations_that_changed_are_no_resume(drawn_set: DrawnSet, tmp_path: Path) -> None:
    annotations = tmp_path / "instances.json"
    shutil.copy(str(drawn_set.config().pictures.annotations), annotations)
    config = replace(drawn_set.config(), pictures=replace(drawn_set.config().pictures, annotations=str(annotations)))
    prepare(drawn_set.pictures, tmp_path / "run", config)
    prepare(drawn_set.pictures, tmp_path / "run", config)
    annotations.write_text(annotations.read_text() + "\n")
    with pytest.raises(RunFolderError, match=r"inputs\.annotations"):
        prepare(drawn_set.pictures, tmp_path / "run", config)


def test_a_folder_that_holds_something_else_is_not_touched(drawn_set: DrawnSet, tmp_path: Path) -> None:
    for number, (name, content) in enumerate((("config.json", '{"stage": "full"}'), ("run.json", "{}"))):
        root = tmp_path / str(number)
        root.mkdir()
        (root / name).write_text(content)
        with pytest.raises(OtherContentError, match=r"of something else|a benchmark run"):
            prepare(drawn_set.pictures, root, drawn_set.config())
        assert [p.name for p in root.iterdir()] == [name] and (root / name).read_text() == content


def test_a_slip_of_the_pen_does_not_claim_the_folder(drawn_set: DrawnSet, tmp_path: Path) -> None:
    with pytest.raises(PictureFolderError, match="no such folder"):
        prepare(tmp_path / "picz", tmp_path / "run", drawn_set.config())
    missing = replace(drawn_set.config(), pictures=replace(drawn_set.config().pictures, annotations="none.json"))
    with pytest.raises(AnnotationError):
        prepare(drawn_set.pictures, tmp_path / "run", missing)
    assert prepare(drawn_set.pictures, tmp_path / "run", drawn_set.config()) > 0


def test_annotations_of_other_pictures_do_not_claim_it(drawn_set: DrawnSet, tmp_path: Path) -> None:
    config = drawn_set.config()
    content = json.loads(Path(str(config.pictures.annotations)).read_text())
    for image in content["images"]:
        image["file_name"] = f"other-{image['file_name']}"
    (tmp_path / "other.json").write_text(json.dumps(content))
    wrong = replace(config, pictures=replace(config.pictures, annotations=str(tmp_path / "other.json")))
    count = len(content["images"])
    with pytest.raises(PictureFolderError, match=rf"no picture could be taken in: {count} not annotated .*annotations"):
        prepare(drawn_set.pictures, tmp_path / "run", wrong)
    assert prepare(drawn_set.pictures, tmp_path / "run", config) > 0
    assert len(RunFolder(tmp_path / "run").pictures()) == count


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"grounder": {"name": "groundingdimo"}},
            "grounder: no tool 'groundingdimo'; known are annotations, grounding",
        ),
        ({"scorer": {"regrounder": GrounderConfig(name="magic")}}, "scorer.regrounder: no tool 'magic'"),
        ({"segmenter": {"name": "sam2"}}, "segmenter: no tool 'sam2'; known are annotations, sam, sam-hf, or write"),
        ({"replacer": {"name": "flux"}}, "replacer: no tool 'flux'; known are diffusion, exemplar, opencv"),
        ({"remover": {"name": "nowhere.module:make"}}, "remover: tool 'nowhere.module:make': No module named"),
        ({"writer": {"name": "gpt"}}, "writer: no tool 'gpt'; known are endpoint, template, transformers"),
        ({"writer": {"extra_clues": 2}}, "writer.extra_clues needs a language model"),
        ({"pictures": {"annotations": None}}, "grounder 'annotations' needs pictures.annotations"),
        (
            {"pictures": {"annotations": None}, "grounder": {"name": "groundingdino"}, "segmenter": {"name": "sam"}},
            "bank",
        ),
    ],
)
def test_tools_that_can_never_be_built_do_not_claim_it_either(
    drawn_set: DrawnSet, tmp_path: Path, changes: dict[str, dict[str, Any]], message: str
) -> None:
    config = drawn_set.config()
    wrong = replace(config, **{part: replace(getattr(config, part), **values) for part, values in changes.items()})
    with pytest.raises(ToolUnavailable, match=re.escape(message)):
        prepare(drawn_set.pictures, tmp_path / "run", wrong)
    assert not (tmp_path / "run").exists()


def test_local_models_are_named_for_workers_elsewhere(
    drawn_set: DrawnSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sam").mkdir()
    config = drawn_set.config()
    moved = with_absolute_paths(
        replace(
            config,
            segmenter=replace(config.segmenter, model="sam"),
            grounder=replace(config.grounder, model="IDEA-Research/grounding-dino-tiny"),
            writer=replace(config.writer, cache="answers"),
        )
    )
    assert moved.segmenter.model == str(tmp_path / "sam")
    assert moved.grounder.model == "IDEA-Research/grounding-dino-tiny"
    assert moved.writer.cache == str(tmp_path / "answers")


def test_selection_may_change_without_a_new_run(drawn_set: DrawnSet, tmp_path: Path) -> None:
    folder = run_all(drawn_set.pictures, tmp_path / "run", drawn_set.config())
    first = choose(folder.root)
    run_all(drawn_set.pictures, folder.root, drawn_set.config("selection.quotas.color=1"))
    second = choose(folder.root)
    assert second.count < first.count
