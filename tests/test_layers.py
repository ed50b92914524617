"""The layers point one way: reason_edit <- smartedit <- benchmark <- flows."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ["reason_edit", "smartedit", "benchmark", "flows"]


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", LAYERS)
def test_lower_never_imports_higher(package: str) -> None:
    higher = LAYERS[LAYERS.index(package) + 1 :]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(package)
        for name in imported_modules(path)
        if name.partition(".")[0] in higher
    ]
    assert wrong == []


def test_only_flows_import_prefect() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in LAYERS[:-1]
        for path in sources(package)
        for name in imported_modules(path)
        if name.partition(".")[0].startswith("prefect")
    ]
    assert wrong == []


def test_reason_edit_is_free_of_torch() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources("reason_edit")
        for name in imported_modules(path)
        if name.partition(".")[0] in {"torch", "torchvision", "diffusers", "transformers", "open_clip", "lpips"}
    ]
    assert wrong == []


def test_miniature_is_imported_by_command_lines_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in LAYERS
        for path in sources(package)
        if not path.is_relative_to(ROOT / "smartedit" / "miniature")
        and "commands" not in path.parts
        and path.name != "cli.py"
        for name in imported_modules(path)
        if name.startswith("smartedit.miniature")
    ]
    assert wrong == []


PARTS = [
    {"config", "editing", "seeding", "weights"},
    {"tools", "model", "data"},
    {"synthesis", "training", "inference"},
    {"commands", "cli", "miniature"},
]


def test_parts_of_smartedit_point_one_way() -> None:
    rank = {name: level for level, names in enumerate(PARTS) for name in names}
    wrong = []
    for path in sources("smartedit"):
        part = path.relative_to(ROOT / "smartedit").parts[0].removesuffix(".py")
        for name in imported_modules(path):
            pieces = name.split(".")
            if pieces[0] == "smartedit" and len(pieces) > 1 and rank.get(pieces[1], 0) > rank.get(part, 99):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []
