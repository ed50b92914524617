"""Whatever a stranger's json holds, a reader gives rows and rejections, or says that the file is no use."""

import copy
import json
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smartedit.config.loading import load_tree
from smartedit.config.sources import ManifestConfig
from smartedit.data.columns import examples_to_batch
from smartedit.data.examples import Rejection, TrainingExample
from smartedit.data.locations import SourceError
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
    "\ud800"[:0],
    [],
    {},
]
ODD += [[[]], {"a": 1}, [None], ["x", 2], "\u20ac", 11, [11], [-1]]
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
        for _ in range(90):
            changed = damaged(content, rng)
            path.write_bytes(pickle.dumps(changed) if file.endswith(".p") else json.dumps(changed).encode())
            try:
                items = list(find_source(name, config, tmp_path / "data").rows())
            except SourceError as error:
                outcomes.add("refused")
                assert str(error)
                continue
            rows = [item for item in items if isinstance(item, TrainingExample)]
            examples_to_batch(rows).validate(full=True)
            outcomes |= {"row"} if rows else set()
            outcomes |= {"rejection"} if any(isinstance(item, Rejection) for item in items) else set()
        path.write_bytes(intact)
    assert {"row", "rejection"} <= outcomes
