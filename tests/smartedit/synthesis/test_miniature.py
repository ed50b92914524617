"""Drawn scenes through the whole factory: the thing that a sample changes is the one that its words mean."""

from pathlib import Path

from reason_edit.tables import read_rows
from smartedit.config.synthesis import load_synthesis
from smartedit.miniature.corpora import write_corpora
from smartedit.miniature.formats.coco import name_2017
from smartedit.miniature.knowledge import is_held_out
from smartedit.miniature.stock import Stock
from smartedit.synthesis.export import SyntheticSample, export
from smartedit.synthesis.finish import choose
from tests.smartedit.synthesis.conftest import run_all
from tests.smartedit.synthesis.scene_truth import COCO_NAMES, is_right


def test_the_right_thing_is_chosen_and_nothing_of_the_benchmark_occurs(tmp_path: Path) -> None:
    stock = Stock(seed=3, count=24, size=128, synthetic=1)
    write_corpora(tmp_path, stock, ["coco"], lambda _: None)
    settings = [
        f"pictures.annotations='{tmp_path}/coco/annotations/instances_train2017.json'",
        f"proposals.knowledge='{tmp_path}/coco/knowledge.toml'",
        "pictures.min_side=64",
        "proposals.per_picture=3",
    ]
    root = tmp_path / "run"
    run_all(tmp_path / "coco/train2017", root, load_synthesis(None, settings))
    choose(root)
    samples = read_rows(export(root) / "samples.parquet", SyntheticSample)
    assert len(samples) > 40
    assert len({s.category for s in samples}) == 6
    scenes = {name_2017(n): stock.scene(n) for n in range(stock.count)}
    wrong = [s.sample_id for s in samples if not is_right(scenes[s.original], s, stock.size)]
    assert len(wrong) <= 0.02 * len(samples), wrong
    names = {coco: name for name, coco in COCO_NAMES.items()}
    for sample in samples:
        replacement = names[sample.replacement] if sample.replacement else None
        if sample.operation.value != "add":
            assert not is_held_out(names[sample.kind], replacement)
