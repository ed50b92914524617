import csv
import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.records import Score
from benchmark.report.columns import column_of, main_columns
from benchmark.report.content import load_content
from benchmark.report.coverage import gaps
from benchmark.report.layout import category_tables, main_table, summary_cell
from benchmark.report.literature import published_tables
from benchmark.report.tables import latex_escape, markdown_table
from benchmark.report.write import ReportError, write_report
from benchmark.runs import Run, RunError
from benchmark.statistics import Summary
from reason_edit.schema import Category
from tests.benchmark.report_run import FAILED, PROTOCOL, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("run"))


def summary(**values: float) -> Summary:
    fields = {"protocol": PROTOCOL, "method": "m", "group": "overall", "metric": "background_psnr", "infinite": 0}
    numbers = {"mean": 30.0, "low": 29.0, "high": 31.0, "macro_mean": 28.0, "macro_low": 27.0, "macro_high": 29.0}
    return Summary(**{**fields, **numbers, "scored": 10, "total": 10, **values})


@pytest.mark.parametrize(
    ("values", "text", "mark"),
    [
        ({}, "30.000", ""),
        ({"scored": 7}, "30.000", "n=7/10"),
        ({"infinite": 3}, "30.000", "+3 ∞"),
        ({"infinite": 10, "mean": math.inf}, "∞", ""),
        ({"scored": 0, "mean": math.nan}, "–", ""),
    ],
)
def test_a_cell_says_what_its_number_rests_on(values: dict[str, float], text: str, mark: str) -> None:
    cell = summary_cell(summary(**values), column_of("background_psnr"))
    assert (cell.text, cell.mark) == (text, mark)


def test_a_metric_that_was_not_measured_is_a_dash() -> None:
    assert summary_cell(None, column_of("clip_score")).text == "–"


def test_a_judge_never_stands_in_the_human_column() -> None:
    assert [c.title for c in main_columns({"clip_score", "judge:qwen"})] == ["CLIP score", "judge qwen"]
    titles = [c.title for c in main_columns({"ins_align", "judge:qwen", "background_psnr", "unheard_of"})]
    assert titles == ["PSNR", "Ins-align", "judge qwen"]


def test_every_row_has_its_coverage(run: Run) -> None:
    content = load_content(run)
    for table in (main_table(content, PROTOCOL), *category_tables(content, PROTOCOL)):
        assert any(h.title == "n/N" for h in table.headings)
        for _, rows in table.sections:
            assert all(any(re.fullmatch(r"\d+/\d+", cell.text) for cell in row) for row in rows)
    rows = {row[0].text: row for _, rows in main_table(content, PROTOCOL).sections for row in rows}
    assert rows["smearer"][5].text == "14/15"
    assert rows["painter"][5].text == "15/15"


def test_only_complete_editors_compete_for_bold(run: Run) -> None:
    sections = dict(main_table(load_content(run), PROTOCOL).sections)
    painter, smearer = sections["Editors"]
    assert not any(cell.best for cell in painter[:6])  # the other editor misses a sample of this half
    assert [cell.best for cell in painter[6:10]] == [True, True, False, True]
    assert not any(cell.best for cell in smearer)
    assert not any(cell.best for row in sections["References"] for cell in row)


def test_in_a_category_those_compete_that_score_all_of_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", methods=("painter", "smearer"))
    values = {"painter": 20.0, "smearer": 30.0}
    assert FAILED[0] == "smearer"
    scores = [replace(s, value=values[s.method]) if (s.method, s.sample_id) != FAILED else s for s in run.scores()]
    run.write_scores(scores, run.unscored())
    (table,) = (t for t in category_tables(load_content(run), PROTOCOL) if t.name == "category-background_psnr")
    rows = {row[0].text: row for row in table.sections[0][1]}
    best = {h.title: (rows["painter"][i].best, rows["smearer"][i].best) for i, h in enumerate(table.headings)}
    assert best["Color"] == (False, True)
    assert best["Mirror"] == (False, False)
    assert (rows["painter"][-1].text, rows["smearer"][-1].text) == ("18/18", "17/18")


def test_samples_outside_the_papers_categories_count_in_their_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", methods=("painter",))
    run.write_samples([replace(s, category=Category.ADD_SUPPLEMENT) for s in run.samples()])
    (table,) = (t for t in category_tables(load_content(run), PROTOCOL) if t.name == "category-background_psnr")
    assert table.sections[0][1][0][-1].text == "18/18"


def test_every_missing_score_has_its_reason(run: Run) -> None:
    content = load_content(run)
    found = {(g.method, g.reason): g for g in gaps(content, PROTOCOL)}
    failure = found["smearer", "no picture: ValueError: the smearer slipped"]
    assert failure.sample_ids == (FAILED[1],)
    assert len(failure.metrics) == 5
    assert found["paster", "the background is identical"].metrics == ("background_psnr",)
    assert len(found["painter", "no LPIPS network ships with miniature-v1 yet"].sample_ids) == 18


def test_a_score_that_was_never_written_is_missed(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=1)
    scores = [s for s in run.scores() if (s.method, s.sample_id, s.metric) != ("painter", "color/001", "clip_score")]
    run.write_scores(scores, run.unscored())
    (gap,) = [g for g in gaps(load_content(run), PROTOCOL) if g.reason == "no score row"]
    assert (gap.method, gap.sample_ids, gap.metrics) == ("painter", ("color/001",), ("clip_score",))


def test_two_protocols_never_share_a_table(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=2)
    other = [replace(s, protocol="smartedit-v1", value=77.0) for s in run.scores()]
    run.write_scores(run.scores() + other, run.unscored())
    write_report(run, ["markdown", "latex", "csv"])
    strict, smartedit = re.split("## Protocol `(?:smartedit-v1|strict-v1)`", (run.folder / "report.md").read_text())[1:]
    strict, smartedit = (smartedit, strict) if "77.000" in strict else (strict, smartedit)
    assert "77.000" in smartedit
    assert "77.000" not in strict
    for protocol in (PROTOCOL, "smartedit-v1"):
        rows = list(csv.DictReader((run.folder / "tables" / f"{protocol}-means.csv").open()))
        assert {row["protocol"] for row in rows} == {protocol}


def test_ratings_under_their_own_protocol_are_a_column_that_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=2)
    samples = [s.sample_id for s in run.samples()]
    rated = [
        Score(method="painter", sample_id=i, protocol="human-v1", metric="ins_align", value=0.25 + 0.5 * (k % 2))
        for k, i in enumerate(samples)
    ]
    judged = [replace(s, protocol="judge-v1", metric="judge:qwen", value=0.9) for s in rated]
    run.write_scores([*run.scores(), *rated, *judged], run.unscored())
    content = load_content(run)
    assert content.protocols == (PROTOCOL,)
    table = main_table(content, PROTOCOL)
    assert [h.title for h in table.headings[1:7]] == [
        "PSNR (dB) ↑", "SSIM ↑", "LPIPS ↓", "CLIP score ↑", "Ins-align ↑", "judge qwen ↑",
    ]  # fmt: skip
    rows = {row[0].text: row for _, rows in table.sections for row in rows}
    assert (rows["painter"][5].text, rows["painter"][6].text, rows["smearer"][5].text) == ("0.500", "0.900", "–")
    assert "Ins-align: scored under human-v1, unlike the other columns." in table.notes
    paths = {p.name: p for p in write_report(run, ["csv", "html"])}
    assert {"human-v1-means.csv", "judge-v1-means.csv", f"{PROTOCOL}-means.csv"} < set(paths)
    assert "ins_align" not in paths[f"{PROTOCOL}-means.csv"].read_text()
    assert "ins_align" not in paths[f"{PROTOCOL}-samples.csv"].read_text().splitlines()[0]
    assert '"title":"Ins-align"' in paths["report.html"].read_text()


def test_markdown_is_well_formed_and_complete(run: Run) -> None:
    write_report(run, ["markdown"])
    text = (run.folder / "report.md").read_text()
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(blocks) > 10
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1
    for words in ("SmartEdit-13B", "25.757", "∞", "no LPIPS network ships", "the smearer slipped", "abc123", "+5 ∞"):
        assert words in text


def test_published_numbers_say_whether_they_compare(run: Run) -> None:
    assert "another protocol" in published_tables("strict-v1", "reason-edit")[0].notes[1]
    assert "not comparable" in published_tables("smartedit-v1", "miniature")[0].notes[1]
    assert "The same protocol" in published_tables("smartedit-v1", "reason-edit")[0].notes[1]
    assert "another protocol" in published_tables("smartedit-v1", "reason-edit")[-1].notes[1]
    table = published_tables("smartedit-v1", "reason-edit")[0]
    assert "| SmartEdit-13B | fine-tuned | 23.596 | 0.751 | 0.068 | 23.536 | 0.771 |" in markdown_table(table)


def test_csv_holds_every_number(run: Run) -> None:
    write_report(run, ["csv"])
    means = list(csv.DictReader(io.StringIO((run.folder / "tables" / f"{PROTOCOL}-means.csv").read_text())))
    (row,) = [
        r for r in means if (r["method"], r["group"], r["metric"]) == ("copy-input", "understanding", "background_psnr")
    ]
    assert (row["mean"], row["low"], row["scored"], row["total"], row["infinite"]) == ("inf", "", "15", "15", "15")
    samples = list(csv.DictReader(io.StringIO((run.folder / "tables" / f"{PROTOCOL}-samples.csv").read_text())))
    assert len(samples) == 4 * 18
    (failed,) = [r for r in samples if (r["method"], r["sample_id"]) == FAILED]
    assert (failed["error"], failed["clip_score"]) == ("ValueError: the smearer slipped", "")
    written = {(s.method, s.sample_id, s.metric): s.value for s in run.scores()}
    assert float(samples[5]["clip_score"]) == written[samples[5]["method"], samples[5]["sample_id"], "clip_score"]


def test_latex_is_balanced_and_escapes_what_it_must(run: Run) -> None:
    assert latex_escape("a_b & 50% {x} #1 ~^\\ ∞ → ü") == (
        r"a\_b \& 50\% \{x\} \#1 \textasciitilde{}\textasciicircum{}\textbackslash{} $\infty$ ? ü"
    )
    write_report(run, ["latex"])
    text = (run.folder / "report.tex").read_text()
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    for name in ("table", "tabular", "document"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") > 0
    for head, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        for line in body.splitlines():
            if line.endswith(r"\\"):
                spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                assert len(re.findall(r"(?<!\\)&", line)) + sum(spans) == len(head) - 1, line


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex is installed")
def test_latex_compiles(run: Run, tmp_path: Path) -> None:
    write_report(run, ["latex"])
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", f"-output-directory={tmp_path}"]
    done = subprocess.run([*command, run.folder / "report.tex"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_same_run_gives_the_same_bytes(run: Run) -> None:
    paths = write_report(run, ["markdown", "latex", "csv"])
    before = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in write_report(run, ["markdown", "latex", "csv"])] == before


def test_a_method_that_made_nothing_keeps_its_row(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=1)
    settings = json.loads(run.settings_path.read_text())
    settings["methods"]["absent"] = {"tags": ["direct"]}
    run.write_settings(settings)
    rows = {row[0].text: row for _, rows in main_table(load_content(run), PROTOCOL).sections for row in rows}
    assert rows["absent"][5].text == "0/5"
    assert rows["absent"][1].text == "–"


def test_what_cannot_be_reported_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        write_report(Run(tmp_path / "nothing"))
    run = write_run(tmp_path / "run", per_category=1)
    with pytest.raises(ReportError, match="unknown format 'docx'"):
        write_report(run, ["docx"])
    run.write_scores([], [])
    with pytest.raises(RunError, match="holds no score"):
        write_report(run, ["markdown"])
    run.scores_path.unlink()
    with pytest.raises(RunError, match="smartedit-bench score"):
        write_report(run, ["markdown"])


def test_unknown_metrics_are_shown_under_their_own_name(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=2)
    extra = [replace(s, metric="colour_shift", value=1.5) for s in run.scores() if s.metric == "clip_score"]
    run.write_scores([*run.scores(), *extra], run.unscored())
    tables = category_tables(load_content(run), PROTOCOL)
    assert "colour shift by category, with 95 % bootstrap intervals" in [t.title for t in tables]


def test_scores_of_a_sample_that_the_run_lacks_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", per_category=1)
    stray = Score(method="painter", sample_id="color/999", protocol=PROTOCOL, metric="clip_score", value=1.0)
    run.write_scores([*run.scores(), stray], run.unscored())
    with pytest.raises(ValueError, match="color/999"):
        write_report(run, ["markdown"])
