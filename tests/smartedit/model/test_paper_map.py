"""Every file and name that the paper map mentions exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAP = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
MENTIONED = sorted(set(re.findall(r"`((?:smartedit|tests)/[\w/.-]+)(?::([\w.]+))?`", MAP)))


@pytest.mark.parametrize(("file", "name"), MENTIONED)
def test_mentioned_name_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    nodes = ast.parse((ROOT / file).read_text(encoding="utf-8")).body if name else []
    for part in name.split(".") if name else []:
        found = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == part]
        assert found, f"{file} has no {part}"
        nodes = found[0].body


def test_every_equation_is_mapped() -> None:
    text = (ROOT / "docs" / "paper_map.md").read_text(encoding="utf-8")
    assert all(f"Eq. {number}" in text for number in (1, 2, 3, 4))
    assert len(MENTIONED) > 30
