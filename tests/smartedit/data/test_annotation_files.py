import json
import pickle
from pathlib import Path

import pytest

from smartedit.data import annotation_files
from smartedit.data.annotation_files import iter_json_array, load_json, load_plain_pickle, load_whole
from smartedit.data.examples import Reason
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import SourceError
from tests.smartedit.data.trees import python2_pickle

RECORDS = [{"ref_id": 1, "sentences": [{"sent": "caf\u00e9", "n": [1, 2]}], "no_target": True}, {"split": "val"}]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1/0",)


@pytest.mark.parametrize("protocol", range(5))
def test_plain_pickles_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps(RECORDS, protocol=protocol))
    assert load_plain_pickle(path) == RECORDS


def test_pickle_of_python_2(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(python2_pickle(RECORDS))
    assert load_plain_pickle(path) == RECORDS


@pytest.mark.parametrize("protocol", range(5))
def test_pickle_that_asks_for_code_is_refused(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([Evil()], protocol=protocol))
    with pytest.raises(SourceError, match=r"refused.*eval"):
        load_plain_pickle(path)


def test_even_a_harmless_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(pickle.dumps([Path("x")]))
    with pytest.raises(SourceError, match="refused"):
        load_plain_pickle(path)


ENDLESS_FRAME = b"\x80\x04\x95" + b"\xff" * 8 + b"."


@pytest.mark.parametrize("content", [b"", b"\x80\x02](", b"no pickle", pickle.dumps(RECORDS)[:-20], ENDLESS_FRAME])
def test_broken_pickle(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"refs\.p"):
        load_plain_pickle(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_json_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(json.dumps({"text": "box \u2013 caf\u00e9"}, ensure_ascii=False).encode(encoding))
    assert load_json(path) == {"text": "box \u2013 caf\u00e9"}
    path.write_bytes(json.dumps(["box \u2013 caf\u00e9"], ensure_ascii=False).encode(encoding))
    assert list(iter_json_array(path)) == ["box \u2013 caf\u00e9"]


def test_json_in_no_known_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"text": "\x81\x8d"}')
    with pytest.raises(FaultyRecordError) as error:
        load_json(path)
    assert error.value.reason is Reason.BAD_ENCODING


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": }', b"[" * 100_000, b"1" * 5000])
def test_broken_json(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FaultyRecordError) as error:
        load_json(path)
    assert error.value.reason is Reason.BAD_JSON
    with pytest.raises(SourceError, match=r"a\.json"):
        load_whole(path)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 22])
@pytest.mark.parametrize("indent", [None, 2])
def test_array_is_read_the_same_in_blocks_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, indent: int | None
) -> None:
    monkeypatch.setattr(annotation_files, "BLOCK", block)
    content = [{"a": [1, 2.5, None]}, 12345, "x,]\u00e9", [], {}, -1.5e3, True]
    path = tmp_path / "a.json"
    path.write_text(" " + json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
    assert list(iter_json_array(path)) == content
    path.write_text("[ ]")
    assert list(iter_json_array(path)) == []


@pytest.mark.parametrize(
    "content", ["", "{}", "[1, 2", '[{"a": 1}, {"b"', "[1 2]", "[1,,2]", '{"a": [1]}', f"[{'1' * 5000}]"]
)
def test_what_is_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(annotation_files, "BLOCK", 3)
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(SourceError, match=r"a\.json: no valid JSON array"):
        list(iter_json_array(path))
