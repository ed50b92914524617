from pathlib import Path

import pytest

from smartedit.data.examples import Reason, Task
from smartedit.data.locations import SourceError
from smartedit.data.sources import cc12m
from tests.smartedit.data.trees import split_rows

LINES = [
    b"https://a\tA red box.",
    b'https://b\t"An opening quote',
    b'https://c\t<PERSON> holds a caf\xc3\xa9 sign "open"',
    b"https://d\thash\tthe last of three columns",
    b"https://e\t  spaces around  ",
    b"https://f\twindows\r",
]


def write(folder: Path, lines: list[bytes], end: bytes = b"\n") -> Path:
    path = folder / "cc12m.tsv"
    path.write_bytes(b"\n".join(lines) + end)
    return path


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("block", [1, 7, 50, 1 << 24])
def test_a_line_is_a_caption_whatever_quotes_it_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: bytes, block: int
) -> None:
    monkeypatch.setattr(cc12m, "BLOCK", block)
    write(tmp_path, LINES, end)
    rows, reasons = split_rows(cc12m.read(tmp_path))
    assert reasons == {}
    assert [row.caption for row in rows] == [
        "A red box.",
        '"An opening quote',
        '<PERSON> holds a caf\u00e9 sign "open"',
        "the last of three columns",
        "spaces around",
        "windows",
    ]
    assert [row.example_id for row in rows] == [f"cc12m/{i:08d}" for i in range(6)]
    assert {(row.task, row.image) for row in rows} == {(Task.CAPTION, None)}


def test_every_fault_has_its_reason_and_line(tmp_path: Path) -> None:
    faults = [b"no tab here", b"", b"https://x\t   ", b"https://y\t\xff\xfe", b"https://z\t"]
    write(tmp_path, [LINES[0], *faults, LINES[1]])
    items = list(cc12m.read(tmp_path))
    rows, reasons = split_rows(items)
    assert [row.example_id for row in rows] == ["cc12m/00000000", "cc12m/00000006"]
    assert reasons == {
        "00000001": Reason.BAD_LINE,
        "00000002": Reason.BAD_LINE,
        "00000003": Reason.EMPTY_TEXT,
        "00000004": Reason.BAD_ENCODING,
        "00000005": Reason.EMPTY_TEXT,
    }
    details = [item.detail for item in items if hasattr(item, "detail")]
    assert any(detail.startswith("line 2: ") for detail in details)


def test_layouts(tmp_path: Path) -> None:
    (tmp_path / "CC12M").mkdir()
    path = write(tmp_path / "CC12M", LINES)
    for root in (tmp_path, path.parent, path):
        assert len(split_rows(cc12m.read(root))[0]) == 6
    with pytest.raises(SourceError, match=r"holds no other\.tsv"):
        list(cc12m.read(tmp_path, file="other.tsv"))
    with pytest.raises(SourceError, match="no split 'val'"):
        list(cc12m.read(tmp_path, "val"))
