"""Reading annotation files that strangers wrote: JSON in two encodings, long arrays, pickles without classes."""

import codecs
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smartedit.data.examples import Reason
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import SourceError

BLOCK = 1 << 22


def load_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8 or, failing that, in cp1252 (as some of ReasonSeg is).

    Raises:
        FaultyRecordError: It is neither, or no JSON.
    """
    return parse_json(path.read_bytes(), path.name)


def parse_json(content: bytes, name: str) -> Any:
    """The content of JSON bytes; raises as `load_json` does."""
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return json.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except (json.JSONDecodeError, RecursionError) as error:
            raise FaultyRecordError(Reason.BAD_JSON, f"{name}: no valid JSON ({error})") from error
    raise FaultyRecordError(Reason.BAD_ENCODING, f"{name}: neither UTF-8 nor cp1252")


def load_whole(path: Path) -> Any:
    """The content of a JSON file without which a source cannot be read.

    Raises:
        SourceError: The file is missing or broken.
    """
    try:
        return load_json(path)
    except (OSError, FaultyRecordError) as error:
        raise SourceError(f"{path}: cannot be read ({error})") from error


def iter_json_array(path: Path) -> Iterator[Any]:
    """The elements of a long JSON array one by one, so that the file is never in memory as a whole.

    Raises:
        SourceError: The file is no JSON array, or breaks off.
    """
    decoder = json.JSONDecoder()
    with path.open(encoding=_encoding(path)) as file:
        text, position, index, first = file.read(BLOCK), 0, 0, True
        while True:
            position = _skip(text, position, " \t\r\n")
            if first and text[position : position + 1] == "[":
                position, first = position + 1, False
                continue
            if not first and text[position : position + 1] == "]":
                return
            try:
                if first or position >= len(text):
                    raise json.JSONDecodeError("an array was expected" if first else "the array breaks off", text, 0)
                element, position = decoder.raw_decode(text, position)
                if position >= len(text) - 1 and not isinstance(element, dict | list):
                    raise json.JSONDecodeError("a number may go on", text, position)
            except json.JSONDecodeError as error:
                more = "" if first else file.read(max(BLOCK, len(text) - position))
                if not more:
                    raise SourceError(f"{path}: no valid JSON array at element {index} ({error.msg})") from error
                text, position = text[position:] + more, 0
                continue
            yield element
            index += 1
            position = _skip(text, position, " \t\r\n")
            while position >= len(text) and (more := file.read(BLOCK)):
                text, position = more, _skip(more, 0, " \t\r\n")
            if text[position : position + 1] == ",":
                position += 1
            elif text[position : position + 1] != "]":
                raise SourceError(f"{path}: no valid JSON array behind element {index - 1}")


def _skip(text: str, position: int, characters: str) -> int:
    while position < len(text) and text[position] in characters:
        position += 1
    return position


def _encoding(path: Path) -> str:
    """UTF-8 where the whole file is UTF-8, else cp1252."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    with path.open("rb") as file:
        try:
            while block := file.read(BLOCK):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


class PlainUnpickler(pickle.Unpickler):
    """Unpickles lists, dicts, texts and numbers, and refuses every class."""

    def find_class(self, module: str, name: str) -> Any:
        """Refuse, whatever is asked for."""
        raise pickle.UnpicklingError(f"asks for {module}.{name}")


def load_plain_pickle(path: Path) -> Any:
    """The content of a pickle of plain values, of any protocol, written by Python 2 or 3.

    Raises:
        SourceError: The file is missing, broken, or wants a class: such a file could run code and is refused.
    """
    for encoding in ("utf-8", "latin1"):
        try:
            with path.open("rb") as file:
                return PlainUnpickler(file, encoding=encoding).load()
        except UnicodeDecodeError:
            continue
        except pickle.UnpicklingError as error:
            raise SourceError(f"{path}: refused, a pickle of plain values was expected ({error})") from error
        except (OSError, EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, MemoryError) as error:
            raise SourceError(f"{path}: no readable pickle ({type(error).__name__}: {error})") from error
    raise SourceError(f"{path}: no readable pickle")
