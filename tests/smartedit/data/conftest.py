"""One small tree with every data set in one of its layouts, and its configuration."""

from pathlib import Path

import pytest

from tests.smartedit.data.trees import (
    box,
    coco_instances,
    png_bytes,
    reference,
    said,
    save_json,
    save_picture,
    write_coco_pictures,
    write_hub_shard,
    write_label_map,
    write_labels,
    write_prompt_folder,
    write_reasonseg,
    write_refer,
    write_sessions,
)

SOURCES = """
root = "data"

[sources.refcoco]
root = "refer_seg"

[sources.grefcoco]
root = "."

[sources.cocostuff]
root = "cocostuff"

[sources.reasonseg]
root = "."

[sources.instructpix2pix]
root = "clip-filtered-dataset"

[sources.pairs-of-the-hub]
kind = "instructpix2pix"
root = "InstructPix2PixCLIPFiltered_HF"
license = "as I was told"

[sources.magicbrush]
root = "MagicBrush"
split = "dev"

[sources.llava]
root = "."

[sources.cc12m]
root = "."

[sources.synthetic]
root = "SyntheticData"
"""


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `sources.toml`, and the data sets in `data`; not to be changed."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "sources.toml").write_text(SOURCES)
    root = folder / "data"
    write_coco_pictures(root)
    references = [reference(0, 11, ["one", "two"]), reference(1, 12, ["parts"]), reference(2, 14, ["broken"])]
    write_refer(root / "refer_seg", "refcoco", "unc", references)
    grefs = [{**reference(0, [11, 12], ["both"]), "category_id": [1, 17]}, {**reference(1, [-1], ["none"])}]
    save_json(root / "grefcoco/grefs(unc).json", [*grefs, reference(2, [13], ["crowd"])])
    save_json(root / "grefcoco/instances.json", coco_instances())
    write_labels(root / "cocostuff/labels.txt")
    write_label_map(root / "cocostuff/train2017/000000000001.png", (0, 16, 255))
    write_label_map(root / "cocostuff/train2017/000000000002.png", (0, 1), "RGB")
    write_reasonseg(root / "ReasonSeg/train", "a", [box("target", 2, 2, 20, 20), box("ignore", 5, 5, 9, 9)])
    write_prompt_folder(root / "clip-filtered-dataset", "0000132", [1, 2])
    save_json(root / "clip-filtered-dataset/seeds.json", [["0000132", ["1", "2"]]])
    columns = {
        "original_image": [png_bytes(i) for i in range(3)],
        "edit_prompt": ["a", "b", None],
        "edited_image": [png_bytes(9 + i) for i in range(3)],
    }
    write_hub_shard(root / "InstructPix2PixCLIPFiltered_HF/data/train-00000-of-00001-57.parquet", columns)
    write_sessions(root / "MagicBrush/dev", {"34": 2})
    turns = {"id": "1", "image": "000000000001.jpg", "conversations": said("What?\n<image>", "This.", "Why?", "So.")}
    save_json(root / "LLaVA/llava_instruct_150k.json", [turns, turns])
    (root / "cc12m.tsv").write_text('https://a\tA box.\nhttps://b\t"Quote\nno tab\n', encoding="utf-8")
    for name in ("a", "b"):
        save_picture(root / "SyntheticData" / f"{name}.png")
    pair = {"origin_img_path": "./dataset/a.png", "target_img_path": "./dataset/b.png", "instruction": ["do", "so"]}
    save_json(root / "SyntheticData/SyntheticData_info_new.json", {"0000": {**pair, "category": "mirror"}})
    return folder
