"""Dask worker processes that are given time to end."""

from typing import Literal

from distributed import Nanny

SECONDS_TO_END = 300.0
"""For one worker to end by itself, and once more for a killed one to be gone."""


class PatientNanny(Nanny):
    """Closes its worker within minutes, where Dask's own gives five seconds and fails the whole flow after them.

    A worker that ends hands Prefect what it has still to say, which takes a busy machine longer than that: all of a
    run's tasks were done, and the run had failed.
    """

    async def close(  # type: ignore[override]
        self, timeout: float = SECONDS_TO_END, reason: str = "nanny-close"
    ) -> Literal["OK"]:
        """Close the worker process, as Dask's own does."""
        await super().close(timeout=timeout, reason=reason)
        return "OK"
