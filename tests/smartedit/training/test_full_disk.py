"""A full disk is said to be one, whoever writes."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from smartedit.config.training import StageName
from smartedit.training import saving
from smartedit.training.saving import CheckpointFolder, Identity, TrainingState, full_disk_in_plain

FULL = Path("/dev/full")


def test_a_checkpoint_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written to a device that is always full; torch ends it in an error about positions."""
    identity = Identity(stage=StageName.FULL, settings={}, shapes={})
    folder = CheckpointFolder(tmp_path, identity, keep=1)
    weights = {"w": torch.zeros(2**19)}
    state = TrainingState(step=1, weights=weights, optimizer={}, schedule={}, ema=None, journal={})
    folder.save(state)
    write = saving._write
    monkeypatch.setattr(saving, "_write", lambda content, path: write(content, FULL))
    with pytest.raises(OSError, match=r"No space left on device; make room .*step-00000002\.pt"):
        folder.save(TrainingState(step=2, weights=weights, optimizer={}, schedule={}, ema=None, journal={}))
    assert [path.name for path in folder.paths()] == ["step-00000001.pt"]


def test_safetensors_on_a_full_disk() -> None:
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"), full_disk_in_plain(FULL):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError, match="no header"), full_disk_in_plain(FULL):
        raise SafetensorError("no header")
