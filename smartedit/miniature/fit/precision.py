"""The number format of the passes of the trainings here."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def precision(*, bf16: bool) -> Iterator[None]:
    """Plain, or bfloat16 autocast: half a step's time on CPUs that multiply matrices of it (AMX), more on others.

    The backward pass of torch's own attention takes 17 times as long in bfloat16 there as in float32.
    """
    if not bf16:
        yield
        return
    with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
        yield
