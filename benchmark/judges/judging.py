"""A judge over a run: every edit gets a row, every score its reason, and the judge's name stays with its numbers.

RUN/judges/NAME.parquet         Judgement rows, with the raw replies
RUN/judges/NAME.json            what judged: kind, model, protocol, question
RUN/judges/NAME.agreement.json  how far it agrees with people, once there are ratings
RUN/judges/replies/...          raw replies by content
RUN/scores.parquet              Score rows of metric `judge:NAME`, never among the human ones
"""

import json
import logging
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmark.human_ratings import store_scores
from benchmark.judges.verdicts import Case, Judge, JudgeError, Judgement
from benchmark.records import Score, Unscored
from benchmark.report.columns import JUDGE_PREFIX
from benchmark.runs import Run
from benchmark.standing import standing
from reason_edit.files import file_sha256, write_text
from reason_edit.rating.study import Answer
from reason_edit.tables import TableError, read_rows, write_rows

logger = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")

Progress = Callable[[int, int], None]


def judge_run(
    run: Run,
    judge: Judge,
    name: str,
    *,
    methods: Sequence[str] | None = None,
    details: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> list[Judgement]:
    """Judge the edits of a run and put the answers among its scores: 1 for aligned, 0 for not, NaN for no answer.

    Judgements of methods that are not judged now are kept, if the same model made them of the pictures that are there.

    Args:
        run: The run folder.
        judge: The judge.
        name: What tables call it.
        methods: Only these methods; None for all.
        details: More to keep in `NAME.json`.
        progress: Told how many are judged, of how many.

    Returns:
        All judgements under this name, by method and sample.

    Raises:
        JudgeError: The name is odd or taken by another judge, a method is not there, or the judge cannot go on.
    """
    if not NAME.fullmatch(name):
        raise JudgeError(f"a judge's name has letters, digits and . _ + - only, not {name!r}")
    known = {r.method for r in run.edits()}
    if strangers := sorted(set(methods or ()) - known):
        raise JudgeError(f"no method {', '.join(strangers)} in {run.folder}; there are {', '.join(sorted(known))}")
    chosen = known if methods is None else set(methods)
    earlier = _earlier(run, judge, name)
    kept = [j for j in earlier if j.method not in chosen and j.method in known]
    cases, rows = _cases(run, chosen)
    for done, (case, opinion) in enumerate(zip(cases, judge.judge(cases), strict=True), start=1):
        rows.append(
            Judgement(
                method=case.method,
                sample_id=case.sample.sample_id,
                answer=opinion.answer,
                reason=opinion.reason,
                reply=opinion.reply,
                edited_sha256=case.edited_sha256,
            )
        )
        if progress is not None:
            progress(done, len(cases))
    rows = sorted([*kept, *rows], key=lambda j: (j.method, j.sample_id))
    if rows != earlier:
        _path(run, name, ".agreement.json").unlink(missing_ok=True)
    _write(run, judge, name, rows, details or {})
    return rows


def read_judgements(run: Run, name: str) -> list[Judgement]:
    """The judgements of one judge on the pictures that the run has now.

    Raises:
        JudgeError: It has not judged this run, or its table does not say which pictures it judged.
    """
    path = _path(run, name, ".parquet")
    if not path.is_file():
        there = ", ".join(judges_of(run)) or "none"
        raise JudgeError(f"{run.folder}: no judge {name!r} has judged this run; there are {there}")
    try:
        return standing([run], read_rows(path, Judgement))
    except TableError as error:
        raise JudgeError(f"{error}; let {name!r} judge this run again") from error


def judges_of(run: Run) -> list[str]:
    """The names of the judges of a run."""
    return sorted(p.stem for p in (run.folder / "judges").glob("*.parquet"))


def judge_identity(run: Run, name: str) -> str | None:
    """The model behind a judge's name in a run, and its procedure; None where that is not on record."""
    path = _path(run, name, ".json")
    if not path.is_file():
        return None
    told = json.loads(path.read_text(encoding="utf-8"))
    return f"{told['model']} under {told['protocol']}"


def _path(run: Run, name: str, suffix: str) -> Path:
    return run.folder / "judges" / f"{name}{suffix}"


def _earlier(run: Run, judge: Judge, name: str) -> list[Judgement]:
    """What is there under this name, on the pictures that are there.

    Raises:
        JudgeError: Another judge made it.
    """
    path = _path(run, name, ".json")
    if not path.is_file():
        return []
    told = json.loads(path.read_text(encoding="utf-8"))
    if (told["model"], told["protocol"]) != (judge.model, judge.protocol):
        raise JudgeError(
            f"{path}: {name!r} is {told['model']} under {told['protocol']}; this one is {judge.model} under "
            f"{judge.protocol}. Choose another --name; a table never mixes two judges"
        )
    table = _path(run, name, ".parquet")
    try:
        return standing([run], read_rows(table, Judgement)) if table.is_file() else []
    except TableError as error:
        logger.warning("%s; nothing of it is kept", error)
        return []


def _cases(run: Run, chosen: set[str]) -> tuple[list[Case], list[Judgement]]:
    """What can be judged, and rows for what cannot.

    Raises:
        JudgeError: A picture is gone, or another than was recorded.
    """
    records = {(r.method, r.sample_id): r for r in run.edits()}
    cases, missing = [], []
    for method in sorted(chosen):
        for sample in sorted(run.samples(), key=lambda s: s.sample_id):
            record = records.get((method, sample.sample_id))
            if record is None or record.image is None or record.image_sha256 is None:
                why = (record.error if record else "not edited yet") or "no reason was recorded"
                reason = f"no edited picture: {why}"
                missing.append(
                    Judgement(
                        method=method,
                        sample_id=sample.sample_id,
                        answer=None,
                        reason=reason,
                        reply=None,
                        edited_sha256=None,
                    )
                )
                continue
            path = run.folder / record.image
            if not path.is_file() or file_sha256(path) != record.image_sha256:
                raise JudgeError(f"{path}: not the picture that edits.parquet records; `smartedit-bench edit` makes it")
            cases.append(Case(method=method, sample=sample, edited=path, edited_sha256=record.image_sha256))
    return cases, missing


def _write(run: Run, judge: Judge, name: str, rows: Sequence[Judgement], details: dict[str, Any]) -> None:
    scores, unscored = [], []
    for row in standing([run], rows):  # a picture may have been made anew in the meantime
        key = {
            "method": row.method,
            "sample_id": row.sample_id,
            "protocol": judge.protocol,
            "metric": f"{JUDGE_PREFIX}{name}",
        }
        scores.append(Score(**key, value=math.nan if row.answer is None else float(row.answer is Answer.ALIGNED)))
        if row.answer is None:
            unscored.append(Unscored(**key, reason=row.reason or "no reason was recorded"))
    about = {"name": name, "model": judge.model, "protocol": judge.protocol, **details}
    write_text(_path(run, name, ".json"), json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
    store_scores(run, scores, unscored, replaced={(judge.protocol, f"{JUDGE_PREFIX}{name}")})
    write_rows(_path(run, name, ".parquet"), rows, Judgement, {"model": judge.model, "protocol": judge.protocol})
