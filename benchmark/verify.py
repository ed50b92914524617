"""Does a run still say the truth: are its files, data, weights and numbers what they were?"""

import math
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.networks import NetworkError, Unavailable, find_networks
from benchmark.protocols import Protocol, ProtocolError, protocol_named
from benchmark.provenance import environment
from benchmark.records import Score
from benchmark.runs import Run
from benchmark.score import score_with
from reason_edit.checking import dataset_fingerprint
from reason_edit.files import file_sha256
from reason_edit.schema import EditSample
from reason_edit.tables import write_rows
from smartedit.seeding import seed_from

TOLERANCE = 1e-4
"""Relative difference from which a score counts as changed; batching and library versions move the last digits."""


def verify_run(run: Run, count: int = 12, device: str = "auto") -> tuple[list[str], list[str]]:
    """Hash the files of a run again, and score some samples again.

    Args:
        run: The run folder.
        count: How many samples to score again under every protocol of the run.
        device: A torch device, or "auto".

    Returns:
        What differs from the record, and notes that are no faults (other library versions).
    """
    settings = run.settings()
    samples = run.samples()
    faults = _data_faults(settings, samples) + _edit_faults(run)
    notes = _environment_notes(settings)
    if not faults:
        for name in sorted({s.protocol for s in run.scores()}):
            found, said = _score_faults(run, settings, name, samples, count, device)
            faults += found
            notes += said
    return faults, notes


def _data_faults(settings: dict[str, Any], samples: Sequence[EditSample]) -> list[str]:
    missing = [str(p) for s in samples for p in (s.image, s.mask) if not p.is_file()]
    if missing:
        return [f"data set: {len(missing)} files are gone, e.g. {missing[0]}"]
    if dataset_fingerprint(samples) != settings["dataset"]["fingerprint"]:
        return ["data set: its pictures, masks or texts changed since the run"]
    return []


def _edit_faults(run: Run) -> list[str]:
    faults = []
    for record in run.edits():
        if record.image is None:
            continue
        path = run.folder / record.image
        if not path.is_file():
            faults.append(f"{record.image}: the edited picture is gone")
        elif file_sha256(path) != record.image_sha256:
            faults.append(f"{record.image}: the edited picture changed since it was made")
    return faults


def _environment_notes(settings: dict[str, Any]) -> list[str]:
    then = settings.get("environment", {})
    now = environment("cpu")
    notes = [
        f"{name}: {then.get('versions', {}).get(name)} then, {version} now"
        for name, version in now["versions"].items()
        if then.get("versions", {}).get(name) != version
    ]
    notes += [
        f"{key}: {then.get(key)} then, {now[key]} now" for key in ("python", "commit") if then.get(key) != now[key]
    ]
    return notes


def _score_faults(
    run: Run, settings: dict[str, Any], name: str, samples: Sequence[EditSample], count: int, device: str
) -> tuple[list[str], list[str]]:
    """Score some samples again under one protocol and compare."""
    try:
        protocol = _protocol(name)
    except ProtocolError:
        return [], [f"{name}: no scoring protocol of this version; its rows are not scored again"]
    recorded = settings.get("protocols", {}).get(name, {}).get("networks", {})
    try:
        # A network that was missing then is not looked for: its metrics had no values, and get none here.
        networks = find_networks(
            replace(protocol, clip_model=None, lpips_backbone=None),
            clip_model=recorded.get("clip", {}).get("name"),
            lpips_backbone=recorded.get("lpips", {}).get("name"),
            device=device,
        )
    except NetworkError as error:
        return [f"{name}: {error}"], []
    absent = {kind: Unavailable(reason=of["missing"]) for kind, of in recorded.items() if "missing" in of}
    networks = replace(networks, **absent)
    faults = []
    for kind, network in (("clip", networks.clip), ("lpips", networks.lpips)):
        then = recorded.get(kind, {}).get("sha256")
        if not isinstance(network, Unavailable) and then is not None and network.sha256 != then:
            faults.append(f"{name}: the weights of {kind} ({network.name}) changed since the run")
    with tempfile.TemporaryDirectory() as folder:
        again = Run(Path(folder))
        _write_part(run, again, _chosen(samples, count, protocol))
        score_with(again, protocol, networks)
        faults += _differences(run.scores(), again.scores())
    return faults, []


def _chosen(samples: Sequence[EditSample], count: int, protocol: Protocol) -> list[EditSample]:
    """Some samples, the same at every call; whole categories where masks are paired by their place in one."""
    chosen = sorted(samples, key=lambda s: seed_from("verify", s.sample_id))[:count]
    if protocol.pairing == "id":
        return chosen
    categories = list(dict.fromkeys(s.category for s in chosen))
    part: list[EditSample] = []
    while categories and len(part) < count:
        category = categories.pop(0)
        part += [s for s in samples if s.category is category]
    return part


def _protocol(name: str) -> Protocol:
    base, _, pairing = name.partition("-positional")
    return (
        protocol_named(base, "positional" if name.endswith("-positional") else "id")
        if not pairing
        else protocol_named(name)
    )


def _write_part(run: Run, part: Run, chosen: Sequence[EditSample]) -> None:
    """A run folder of some samples, whose pictures stay where they are."""
    from benchmark.records import EditRecord

    ids = {s.sample_id for s in chosen}
    part.write_samples([s for s in run.samples() if s.sample_id in ids])
    records = [
        replace(r, image=os.path.relpath((run.folder / r.image).resolve(), part.folder.resolve()) if r.image else None)
        for r in run.edits()
        if r.sample_id in ids
    ]
    write_rows(part.edits_path, records, EditRecord)


def _differences(before: Sequence[Score], now: Sequence[Score]) -> list[str]:
    recorded = {(s.method, s.sample_id, s.protocol, s.metric): s.value for s in before}
    faults = []
    for score in now:
        key = (score.method, score.sample_id, score.protocol, score.metric)
        if key not in recorded:
            faults.append(f"{' / '.join(key)}: not in scores.parquet, {score.value:.6g} now")
        elif not _same(recorded[key], score.value):
            faults.append(f"{' / '.join(key)}: {recorded[key]:.6g} in scores.parquet, {score.value:.6g} now")
    return faults


def _same(a: float, b: float) -> bool:
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-6)
