"""One Prefect server for a run and all of its worker processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import flows.quiet  # noqa: F401  (Prefect reads its settings when it is imported)

# isort: split
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

VARIABLE = "PREFECT_API_URL"


@contextmanager
def server_for_workers() -> Iterator[str]:
    """Name this process's Prefect server to the worker processes that are started meanwhile.

    Where no server is set, Prefect starts a temporary one in every process that asks for it, and so in every Dask
    worker: several servers then work on the one SQLite file of `PREFECT_HOME`, lock each other out of it, and take
    their ports by lot.

    Yields:
        The server's address; the one that is set, or the temporary one of this process.
    """
    address = get_current_settings().api.url
    if address is not None:
        yield str(address)
        return
    server = SubprocessASGIServer()
    server.start()
    # The variable is for what a worker does before a task brings the settings along.
    os.environ[VARIABLE] = server.api_url
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            yield server.api_url
    finally:
        del os.environ[VARIABLE]
