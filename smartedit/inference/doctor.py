"""Looks through a checkpoint: files, vocabulary, weights, memory, and one edit."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from smartedit.inference.doctor_files import examine_files
from smartedit.inference.doctor_tokens import examine_vocabulary
from smartedit.inference.doctor_weights import examine_weights
from smartedit.inference.findings import Diagnosis, Finding, Grade
from smartedit.inference.loading import LoadingError, LoadSettings, load_pipeline
from smartedit.inference.memory import Placement, Precision, part_sizes, place_parts, this_machine

LIBRARIES = ("torch", "transformers", "diffusers", "peft", "tokenizers", "safetensors")


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    """What to look at.

    Attributes:
        hashes: Hash every file (reads all of them).
        values: Look at every weight's values (reads all of them).
        run: Make one edit.
        load: How to load the model for it.
    """

    hashes: bool = True
    values: bool = True
    run: bool = True
    load: LoadSettings = field(default_factory=LoadSettings)


def examine(folder: Path, examination: Examination | None = None) -> Diagnosis:
    """Examine a checkpoint; what is wrong becomes a finding, never an exception.

    Weights are looked at only where their files are sound, and an edit is made only where the vocabulary is, too.

    Args:
        folder: The checkpoint.
        examination: What to look at.
    """
    examination = examination or Examination()
    findings: list[Finding] = list(_versions(folder))
    looks: list[Callable[[], Iterator[Finding]]] = [
        lambda: examine_files(folder, hashes=examination.hashes),
        lambda: examine_vocabulary(folder),
        lambda: examine_weights(folder) if examination.values else iter(()),
        lambda: _memory(folder, examination.load.device),
        lambda: _run(folder, examination.load) if examination.run else iter(()),
    ]
    for look in looks:
        if any(f.grade is Grade.FAULT and f.topic == "files" for f in findings):
            findings.append(_note("files", "the rest was not looked at, because of the files' faults"))
            break
        if look is looks[-1] and any(f.grade is Grade.FAULT and f.topic == "vocabulary" for f in findings):
            findings.append(_note("run", "no edit was made, because of the vocabulary's faults"))
            break
        findings += look()
    return Diagnosis(folder=folder, findings=tuple(findings))


def _note(topic: str, text: str) -> Finding:
    return Finding(topic=topic, grade=Grade.NOTE, text=text)


def _versions(folder: Path) -> Iterator[Finding]:
    yield _note("libraries", ", ".join(f"{name} {version(name)}" for name in LIBRARIES))
    try:
        written = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_diffusers_version")
    except (OSError, ValueError, AttributeError):
        return
    if written and written.split(".")[:2] > version("diffusers").split(".")[:2]:
        text = f"the checkpoint was written by diffusers {written}, newer than the installed one; update if it fails"
        yield _note("libraries", text)


def _memory(folder: Path, device: str) -> Iterator[Finding]:
    sizes, machine = part_sizes(folder), this_machine(device)
    weights = sum(size.weights for size in sizes.values())
    parts = ", ".join(f"{part} {size.weights / 1e6:.1f} M" for part, size in sizes.items())
    yield _note("memory", f"{weights / 1e6:.1f} M weights: {parts}")
    yield _note("memory", f"here: {machine.device} ({machine.name}) with {machine.free / 2**30:.1f} GiB free")
    for precision in Precision:
        if precision is Precision.FLOAT16:
            continue
        needed = sum(size.bytes_at(precision) for size in sizes.values())
        placement = place_parts(sizes, precision, machine)
        grade = Grade.GOOD if placement is not Placement.TOO_LARGE else Grade.NOTE
        text = f"{precision.value}: weights of {_size(needed)}; {placement.value}"
        yield Finding(topic="memory", grade=grade, text=text)


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**28 else f"{count / 2**20:.1f} MiB"


def _run(folder: Path, settings: LoadSettings) -> Iterator[Finding]:
    """One edit of a drawn picture in two steps."""
    import numpy as np
    import torch
    from PIL import Image

    try:
        pipeline = load_pipeline(folder, settings)
    except LoadingError as error:
        yield _note("run", f"no edit was made: {error}")
        return
    except (ValueError, OSError, RuntimeError, TypeError, KeyError) as error:
        yield Finding(topic="run", grade=Grade.FAULT, text=f"it cannot be loaded: {_first_line(error)}")
        return
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.config.image_size
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    picture = Image.fromarray(np.stack(np.broadcast_arrays(ramp[None], ramp[:, None], np.uint8(128)), axis=-1))
    began = time.perf_counter()
    try:
        output = pipeline(
            picture, "make it red", num_inference_steps=2, generator=torch.Generator().manual_seed(0), square=True
        )
    except (ValueError, RuntimeError) as error:
        yield Finding(topic="run", grade=Grade.FAULT, text=f"an edit fails: {_first_line(error)}")
        return
    seconds = time.perf_counter() - began
    assert not isinstance(output, tuple)
    edited = np.asarray(output.images[0])
    if edited.std() == 0:
        text = "an edit gives a picture of one colour; the weights do not belong together or overflow in this dtype"
        yield Finding(topic="run", grade=Grade.FAULT, text=text)
    else:
        text = f"one edit of {side} x {side} in 2 steps on {pipeline.device}: finite, {seconds:.2f} s"
        yield Finding(topic="run", grade=Grade.GOOD, text=text)
    agreement = output.agreements[0]
    if agreement < 1:
        text = (
            f"asked freely, the model would say {agreement:.0%} of its [IMG] tokens in these words; the rest is put in "
            "for it"
        )
        yield _note("run", text)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
