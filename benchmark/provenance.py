"""`run.json`: what was asked for and with what, written before work starts, and checked when a run goes on."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.methods.specs import Method
from benchmark.networks import Networks, Unavailable
from benchmark.protocols import Protocol
from benchmark.runs import Run, RunError
from reason_edit.checking import dataset_fingerprint
from reason_edit.files import BusyError, sole_holder, sweep_unfinished
from reason_edit.schema import EditSample

PACKAGES = (
    "diffusers", "lpips", "numpy", "open_clip_torch", "opencv-python", "pandas", "peft", "pillow", "pyarrow",
    "smartedit", "torch", "torchvision", "transformers",
)  # fmt: skip
READ_FILES = "files_sha256"
"""The setting that holds the hash of pictures made elsewhere, which may change within a run."""


def environment(device: str) -> dict[str, Any]:
    """Versions, commit and device."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "commit": source_commit(),
        "device": device_name(device),
    }


def source_commit() -> str | None:
    """The commit of the code, with `+changes` where the tree differs from it; None outside a checkout."""
    folder = Path(__file__).parent
    try:
        git = ["git", "-C", str(folder)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run(
            [*git, "status", "--porcelain"], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def device_name(device: str) -> str:
    """A device with its model's name."""
    if device.startswith("cuda"):
        import torch

        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({platform.processor() or platform.machine()}, {os.cpu_count()} cores)"


def describe_dataset(samples: Sequence[EditSample], path: Path, name: str) -> dict[str, Any]:
    """What `run.json` keeps of a data set."""
    counts: dict[str, int] = {}
    for sample in samples:
        counts[sample.category] = counts.get(sample.category, 0) + 1
    return {
        "name": name,
        "path": str(path),
        "fingerprint": dataset_fingerprint(samples),
        "samples": len(samples),
        "categories": counts,
    }


def open_run(
    run: Run,
    *,
    dataset: Mapping[str, Any],
    samples: Sequence[EditSample],
    methods: Sequence[Method],
    device: str,
    seed: int,
    batch_size: int,
    command: Sequence[str],
) -> None:
    """Make a run folder, or make sure that this call belongs to the run that is there.

    A run may get new methods at any time; its data set, seed and batch size stay, and so do a method's settings once it
    has edited a picture.
    Pictures made elsewhere may be added or mended: a label whose files changed is read again as a whole.

    Raises:
        RunError: The folder holds something else, or a run of another data set, seed, batch size or method setting;
            names the difference.
    """
    fixed = {"dataset": dict(dataset), "seed": seed, "batch_size": batch_size}
    asked = {m.label: m.settings() for m in methods}
    if run.holds_something_else():
        raise RunError(f"{run.folder}: not empty and no run folder; choose a new folder for --run")
    with run.turn():
        if run.settings_path.is_file():
            settings = run.settings()
            _same_run(run, settings, fixed, asked)
            _forget_what_changed(run, settings["methods"], asked)
            methods_now = {**settings["methods"], **asked}
            if methods_now != settings["methods"]:
                run.write_settings({**settings, "methods": methods_now})
            # The same data set may lie somewhere else by now.
            places = {s.sample_id: s for s in samples}
            run.write_samples([places[s.sample_id] for s in run.samples()])
        else:
            run.write_samples(list(samples))
            run.write_settings(
                {**fixed, "methods": asked, "environment": environment(device), "command": list(command)}
            )
    sweep_unfinished(run.folder)


def _same_run(run: Run, settings: Mapping[str, Any], fixed: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    remedy = "use another --run"
    theirs, ours = settings.get("dataset", {}), fixed["dataset"]
    if theirs.get("fingerprint") != ours["fingerprint"]:
        raise RunError(
            f"{run.folder}: made for another data set ({theirs.get('name')}, {theirs.get('samples')} samples, "
            f"{str(theirs.get('fingerprint'))[:12]}; now {ours['name']}, {ours['samples']}, "
            f"{ours['fingerprint'][:12]}); {remedy}"
        )
    for key in ("seed", "batch_size"):
        if settings.get(key) != fixed[key]:
            raise RunError(f"{run.folder}: made with {key} {settings.get(key)}, now {fixed[key]}; {remedy}")
    for label, own in asked.items():
        before = settings.get("methods", {}).get(label)
        changed = [] if before is None else changed_settings(before, own)
        if changed and (_has_pictures(run, label) or _is_edited_now(run, label)):
            raise RunError(
                f"{run.folder}: {label} was made with other settings ({', '.join(changed)}: "
                f"{[before.get(k) for k in changed]} there, {[own.get(k) for k in changed]} now); {remedy}, or a "
                f"label of its own: --method LABEL={own['method']}"
            )


def changed_settings(before: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """The settings of a label that differ; one that an older run does not name counts as not set."""
    return [k for k in sorted({*before, *own} - {READ_FILES}) if before.get(k) != own.get(k)]


def _has_pictures(run: Run, label: str) -> bool:
    """Whether a label has edited anything; settings that only failed (a slip of the pen) may be mended."""
    return any((run.folder / "edits" / label).rglob("*.png"))


def _is_edited_now(run: Run, label: str) -> bool:
    """Whether a process holds one of the label's parts, of which there may be no picture yet."""
    for path in run.folder.glob(".edit-*.lock"):
        if re.fullmatch(rf"\.edit-{re.escape(label)}-\d+-of-\d+\.lock", path.name):
            try:
                with sole_holder(path, ""):
                    pass
            except BusyError:
                return True
    return False


def _forget_what_changed(run: Run, before: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Take away what was made otherwise.

    That are copies of pictures made elsewhere that have changed since, which are read again, and failures under other
    settings, of which there is no picture.
    """
    for label, own in asked.items():
        if label not in before:
            continue
        if before[label].get(READ_FILES) != own.get(READ_FILES) or changed_settings(before[label], own):
            shutil.rmtree(run.folder / "edits" / label, ignore_errors=True)
            for table in (run.folder / "edits").glob("*.parquet"):
                if re.fullmatch(rf"{re.escape(label)}(\.\d+-of-\d+)?\.parquet", table.name):
                    table.unlink()


def record_protocol(run: Run, protocol: Protocol, networks: Networks) -> None:
    """Keep in `run.json` what the scores rest on: the protocol's definition, and its networks with their hashes.

    Called once the scores are written: until then those of an earlier scoring stand, and so does what is said of them.
    """
    described = {
        kind: {"missing": n.reason} if isinstance(n, Unavailable) else {"name": n.name, "sha256": n.sha256}
        for kind, n in (("clip", networks.clip), ("lpips", networks.lpips))
    }
    ours = {protocol.name: {"networks": described, "summary": protocol.summary}}
    run.settings()
    with run.turn():
        settings = run.settings()
        protocols = {**settings.get("protocols", {}), **ours}
        if protocols != settings.get("protocols"):
            run.write_settings({**settings, "protocols": protocols})
