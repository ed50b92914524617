"""Whatever a stranger's json holds, a reader gives rows and rejections, or says that the file is no use."""

import copy
import json
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from reason_edit.tables import read_rows
from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import silent
from smartedit.data.examples import Rejection
from smartedit.data.locations import SourceError
from smartedit.data.parts import Part, write_part
from smartedit.data.sources.registry import find_source

ODD: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    float("nan"),
    "",
    " ",
    "../../x",
    "/etc/hosts",
    "a\0b",
    "\ud800 half a pair",
    [],
    {},
]
ODD += [float("inf"), 10**400, [[]], {"a": 1}, [None], ["x", 2], "\u20ac", 11, [11], [-1]]
FILES = {
    "refcoco": ["refer_seg/refcoco/refs(unc).p", "refer_seg/refcoco/instances.json"],
    "grefcoco": ["grefcoco/grefs(unc).json", "grefcoco/instances.json"],
    "reasonseg": ["ReasonSeg/train/a.json"],
    "instructpix2pix": ["clip-filtered-dataset/seeds.json", "clip-filtered-dataset/0000132/prompt.json"],
    "magicbrush": ["MagicBrush/dev/edit_sessions.json"],
    "llava": ["LLaVA/llava_instruct_150k.json"],
    "synthetic": ["SyntheticData/SyntheticData_info_new.json"],
}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*path, key))


def damaged(value: Any, rng: random.Random) -> Any:
    """A copy with one node replaced, removed or doubled."""
    value = copy.deepcopy(value)
    path = rng.choice(list(places(value)))
    if not path:
        return rng.choice(ODD)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    if rng.random() < 0.2:
        del parent[path[-1]]
    elif isinstance(parent, list) and rng.random() < 0.2:
        parent.append(copy.deepcopy(parent[path[-1]]))
    else:
        parent[path[-1]] = rng.choice(ODD)
    return value


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(corpus: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(corpus / "data", tmp_path / "data")
    config = load_tree(ManifestConfig, source=corpus / "sources.toml").sources[name]
    rng = random.Random(name)
    outcomes: set[str] = set()
    for file in FILES[name]:
        path = tmp_path / "data" / file
        intact = path.read_bytes()
        content = pickle.loads(intact) if file.endswith(".p") else json.loads(intact)
        for _ in range(60):
            changed = damaged(content, rng)
            path.write_bytes(pickle.dumps(changed) if file.endswith(".p") else json.dumps(changed).encode())
            try:
                found = find_source(name, config, tmp_path / "data")
                part = Part(name=name, key="key", folder=tmp_path / "parts")
                write_part(part, config, found, tmp_path / "data", silent)
            except SourceError as error:
                assert str(error)
                outcomes.add("rejection" if "left out: " in str(error) else "refused")
                continue
            pq.read_table(part.rows).validate(full=True)
            outcomes |= {"row", *(["rejection"] if part.summary()["rejections"] else [])}
        path.write_bytes(intact)
    assert {"row", "rejection"} <= outcomes


def test_half_a_surrogate_pair_costs_its_own_record_only(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus / "data", tmp_path / "data")
    path = tmp_path / "data/LLaVA/llava_instruct_150k.json"
    records = json.loads(path.read_text())
    records[0]["conversations"][1]["value"] = "half \ud83d"
    records[1]["id"] = "\ud83d"
    records[1]["conversations"] = []
    path.write_text(
        json.dumps([*records, {**records[0], "conversations": json.loads(path.read_text())[0]["conversations"]}])
    )
    config = load_tree(ManifestConfig, source=corpus / "sources.toml").sources["llava"]
    part = Part(name="llava", key="key", folder=tmp_path / "parts")
    write_part(part, config, find_source("llava", config, tmp_path / "data"), tmp_path / "data", silent)
    assert part.summary() == {"tasks": {"answer": 1}, "rejections": {"bad_encoding": 1, "missing_field": 1}}
    rejected = {r.reason.value: r for r in read_rows(part.rejections, Rejection)}
    assert "no Unicode" in rejected["bad_encoding"].detail
    assert rejected["missing_field"].record_id == "\\ud83d"
