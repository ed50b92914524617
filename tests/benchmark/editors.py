"""Editors from outside, as a user would write them."""

import os
import signal
from collections.abc import Sequence

from PIL import ImageOps

from smartedit.editing import EditRequest, EditResult


class Inverter:
    def __init__(self, fail_on: str = "", count: str = "same") -> None:
        self.fail_on = fail_on
        self.count = count
        self.calls = 0

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        assert all(not hasattr(r, "mask") and not hasattr(r, "target_label") for r in requests)
        self.calls += 1
        if int(os.environ.get("SMARTEDIT_TEST_KILL", "0")) == self.calls:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fail_on and any(self.fail_on in r.instruction for r in requests):
            raise RuntimeError(f"cannot do {self.fail_on}")
        results = [EditResult(image=ImageOps.invert(r.image), response=r.instruction.upper()) for r in requests]
        return results if self.count == "same" else results[1:]


def inverter(fail_on: str = "", count: str = "same") -> Inverter:
    return Inverter(fail_on, count)


def raises() -> Inverter:
    raise OSError("no weights here")


def no_editor() -> object:
    return object()
