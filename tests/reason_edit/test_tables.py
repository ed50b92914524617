from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from reason_edit.files import atomic_path
from reason_edit.tables import TableError, arrow_schema, read_metadata, read_rows, write_rows


class Taste(StrEnum):
    SWEET = "sweet"
    SOUR = "sour"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    count: int
    note: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fruit:
    name: str
    taste: Taste
    weight: float
    picture: Path | None
    box: tuple[float, ...]
    seeds: tuple[Seed, ...]
    core: Seed | None


ROWS = [
    Fruit(
        name="pear",
        taste=Taste.SWEET,
        weight=0.25,
        picture=Path("a/pear.png"),
        box=(0.0, 1.5),
        seeds=(Seed(count=2, note=None), Seed(count=1, note="small")),
        core=None,
    ),
    Fruit(
        name="lime", taste=Taste.SOUR, weight=float("nan"), picture=None, box=(), seeds=(), core=Seed(count=0, note="")
    ),
]


def test_rows_come_back(tmp_path: Path) -> None:
    write_rows(tmp_path / "t.parquet", ROWS, Fruit, {"schema": "1", "config": {"b": 1, "a": [2]}})
    back = read_rows(tmp_path / "t.parquet", Fruit)
    assert back[0] == ROWS[0]
    assert back[1].weight != back[1].weight and back[1].core == ROWS[1].core and back[1].taste is Taste.SOUR
    assert read_metadata(tmp_path / "t.parquet") == {"schema": "1", "config": '{"a": [2], "b": 1}'}


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_rows(tmp_path / name, ROWS, Fruit)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_only_optional_fields_may_be_null() -> None:
    nullable = {f.name: f.nullable for f in arrow_schema(Fruit)}
    assert nullable == {
        "name": False, "taste": False, "weight": False, "picture": True, "box": False, "seeds": False, "core": True
    }  # fmt: skip


def test_wrong_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="there is no such file"):
        read_rows(tmp_path / "none.parquet", Fruit)
    (tmp_path / "text.parquet").write_text("x")
    with pytest.raises(TableError, match="not a readable Parquet file"):
        read_rows(tmp_path / "text.parquet", Fruit)
    write_rows(tmp_path / "seed.parquet", [Seed(count=1, note=None)], Seed)
    with pytest.raises(TableError, match="no column name, taste"):
        read_rows(tmp_path / "seed.parquet", Fruit)


def test_a_file_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("before")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
