"""Two parts of the chain that need nothing of each other, at once: one here, one in another process."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess

import torch

logger = logging.getLogger(__name__)


class FailedBesideError(ValueError):
    """The other process has failed; it has written why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """What the block beside another process calls: with the name of each part that it begins, and `look` at any time.

    Attributes:
        on_part: Called with the name of each part.
        look: Gives the threads back once the other process is done, and raises `FailedBesideError` if it has failed.
    """

    on_part: Callable[[str], None]
    look: Callable[[], None] = lambda: None

    def __call__(self, name: str) -> None:
        """Begin a part."""
        self.look()
        self.on_part(name)


@contextmanager
def beside(
    part: Callable[..., object], *arguments: object, at_once: bool, on_part: Callable[[str], None]
) -> Iterator[Block]:
    """Run a part in another process until the block is left, each of both with half of torch's threads.

    The other process ends with this one, however that ends, and before it where the block raises.

    Args:
        part: A function of a module, called with the arguments; it starts no processes of its own. What it returns is
            dropped: what it makes are files.
        *arguments: Picklable.
        at_once: False runs nothing here: who leaves the block does it then.
        on_part: Called with the name of each part that is begun in the block.

    Yields:
        `on_part` for the block, which also looks at the other process.

    Raises:
        FailedBesideError: The other process has failed.
    """
    if not at_once:
        yield Block(on_part=on_part)
        return
    threads = torch.get_num_threads()
    half, level = max(1, threads // 2), logging.getLogger("smartedit.miniature.fit").getEffectiveLevel()
    process = get_context("spawn").Process(target=_run, args=(part, arguments, half, level), daemon=True)
    process.start()
    torch.set_num_threads(half)

    def look() -> None:
        if not process.is_alive():
            torch.set_num_threads(threads)
            _check(process)

    try:
        yield Block(on_part=on_part, look=look)
        process.join()
        _check(process)
    finally:
        process.kill()
        process.join()
        torch.set_num_threads(threads)


def _check(process: BaseProcess) -> None:
    code = process.exitcode
    if code is not None and code < 0:
        raise FailedBesideError(
            f"the process beside was ended by signal {-code} ({signal.strsignal(-code)}), as the system does where "
            "memory is used up; the same command goes on, and --processes 1 needs less"
        )
    if code:
        raise FailedBesideError(f"the process beside ended with {code}; what it wrote above tells why")


def _run(part: Callable[..., object], arguments: tuple[object, ...], threads: int, level: int) -> None:
    """In the other process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(levelname)s: %(message)s")
    logging.getLogger("smartedit.miniature.fit").setLevel(level)
    torch.set_num_threads(threads)
    try:
        part(*arguments)
    except (ValueError, OSError) as error:  # What a user can do something about, in one line as from a command.
        logger.error("%s", error)
        raise SystemExit(1) from error
    except KeyboardInterrupt:  # Control-C reaches both; the first process tells.
        os._exit(130)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
