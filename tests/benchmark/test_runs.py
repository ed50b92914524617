"""The run folder: what several processes of one run share."""

import threading
from pathlib import Path

from benchmark.networks import Networks, Unavailable
from benchmark.protocols import protocol_named
from benchmark.provenance import record_protocol
from benchmark.runs import Run


def test_shared_files_change_in_turn(tmp_path: Path) -> None:
    """Who waits reads what the one before wrote, so that neither loses the other's part."""
    run = Run(tmp_path / "run")
    with run.turn():
        run.write_settings({"methods": {}})
        missing = Unavailable(reason="none ships")
        waiting = threading.Thread(
            target=record_protocol, args=(run, protocol_named("strict-v1", "id"), Networks(clip=missing, lpips=missing))
        )
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        run.write_settings({"methods": {"late": {}}})
    waiting.join(10)
    settings = run.settings()
    assert list(settings["methods"]) == ["late"] and list(settings["protocols"]) == ["strict-v1"]
