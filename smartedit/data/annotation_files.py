"""Reading annotation files that strangers wrote: JSON in two encodings, long arrays, pickles without classes."""

import codecs
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from smartedit.data.examples import Reason
from smartedit.data.faults import FaultyRecordError
from smartedit.data.locations import SourceError

BLOCK = 1 << 22


def load_json(path: Path) -> Any:
    """The content of a JSON file in UTF-8 or, failing that, in cp1252 (as some of ReasonSeg is).

    Raises:
        FaultyRecordError: It cannot be opened, or is neither, or no JSON.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FaultyRecordError(Reason.UNREADABLE_FILE, f"{path.name}: cannot be opened ({error})") from error
    return parse_json(content, path.name)


def parse_json(content: bytes, name: str) -> Any:
    """The content of JSON bytes; raises as `load_json` does."""
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return json.loads(content.decode(encoding))
        except UnicodeDecodeError:
            continue
        except (ValueError, RecursionError) as error:  # ValueError: also numbers of thousands of digits
            raise FaultyRecordError(Reason.BAD_JSON, f"{name}: no valid JSON ({error})") from error
    raise FaultyRecordError(Reason.BAD_ENCODING, f"{name}: neither UTF-8 nor cp1252")


def load_whole(path: Path) -> Any:
    """The content of a JSON file without which a source cannot be read.

    Raises:
        SourceError: The file is missing or broken.
    """
    try:
        return load_json(path)
    except FaultyRecordError as error:
        raise SourceError(f"{path}: cannot be read ({error})") from error


def iter_json_array(path: Path) -> Iterator[Any]:
    """The elements of a long JSON array one by one, so that the file is never in memory as a whole.

    Raises:
        SourceError: The file is no JSON array, or breaks off.
    """
    with path.open(encoding=_encoding(path)) as file:
        text, index = GrowingText(file), 0
        try:
            if text.next_character() != "[":
                raise json.JSONDecodeError("an array was expected", text.held, 0)
            text.position += 1
            if text.next_character() == "]":
                return
            while True:
                yield text.next_element()
                index += 1
                mark = text.next_character()
                text.position += 1
                if mark == "]":
                    return
                if mark != ",":
                    raise json.JSONDecodeError("a comma was expected" if mark else "the array breaks off", text.held, 0)
        except (ValueError, RecursionError) as error:  # ValueError: also numbers of thousands of digits
            what = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))
            raise SourceError(f"{path}: no valid JSON array, at element {index}: {what}") from error


class GrowingText:
    """A text file of which only the part not yet parsed is held."""

    def __init__(self, file: IO[str]) -> None:
        self.held, self.position = "", 0
        self._file = file
        self._decoder = json.JSONDecoder()

    def grow(self) -> bool:
        """Read on, at least as much as is held; False at the end of the file."""
        more = self._file.read(max(BLOCK, len(self.held) - self.position))
        self.held, self.position = self.held[self.position :] + more, 0
        return bool(more)

    def next_character(self) -> str:
        """The next character that is no white space, not passed yet; empty at the end of the file."""
        while True:
            while self.position < len(self.held):
                if self.held[self.position] not in " \t\r\n":
                    return self.held[self.position]
                self.position += 1
            if not self.grow():
                return ""

    def next_element(self) -> Any:
        """The next JSON value; raises JSONDecodeError where there is none."""
        self.next_character()
        while True:
            try:
                element, end = self._decoder.raw_decode(self.held, self.position)
                if end + 3 <= len(self.held):
                    self.position = end
                    return element
                length = end - self.position
                if not self.grow():  # a number near the end of what is held might have gone on: 1 -> 1e-3
                    self.position = length
                    return element
            except json.JSONDecodeError:
                if not self.grow():
                    raise


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


PICKLE_FAULTS = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, MemoryError, OverflowError)
"""What unpickling raises besides its own error (found by damaging pickles of protocol 0 to 4)."""


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
        except PICKLE_FAULTS as error:
            raise SourceError(f"{path}: no readable pickle ({type(error).__name__}: {error})") from error
    raise SourceError(f"{path}: no readable pickle")
