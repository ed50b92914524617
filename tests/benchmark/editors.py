"""Editors from outside, as a user would write them."""

import io
import os
import signal
from collections.abc import Sequence

from PIL import Image, ImageOps

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


class Odd:
    """Returns for the first four what no run can keep."""

    def edit(self, requests: Sequence[EditRequest]) -> list[EditResult]:
        results = [EditResult(image=r.image) for r in requests]
        buffer = io.BytesIO()
        requests[0].image.resize((64, 64)).save(buffer, format="JPEG")
        results[0] = EditResult(image=Image.open(io.BytesIO(buffer.getvalue()[:-200])))
        results[1] = EditResult(image=Image.new("RGB", (0, 0)))
        results[2] = EditResult(image=requests[2].image, response={"text": "done"})  # type: ignore[arg-type]
        results[3] = EditResult(image=requests[3].image, response="\ud800")
        return results


def odd() -> Odd:
    return Odd()


def raises() -> Inverter:
    raise OSError("no weights here")


def no_editor() -> object:
    return object()
