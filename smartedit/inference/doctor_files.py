"""The files of a checkpoint: all there, whole, and of the shapes that their configurations ask for."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reason_edit.files import file_sha256
from smartedit.inference.findings import Finding, Grade
from smartedit.model.released_files import TensorEntry, WeightFileError, read_weight_files

TOPIC = "files"
NEEDED = {
    "mllm": "config.json",
    "qformer": "config.json",
    "unet": "config.json",
    "vae": "config.json",
    "empty_text": "config.json",
    "scheduler": "scheduler_config.json",
    "tokenizer": "tokenizer_config.json",
}
WIDTHS = {4096: "7B", 5120: "13B"}


def examine_files(folder: Path, *, hashes: bool = True) -> Iterator[Finding]:
    """Look at what lies in the folder; headers only, unless hashes are asked for."""
    if not folder.is_dir():
        yield _fault(f"{folder}: there is no such folder")
        return
    index = _json(folder / "model_index.json")
    if isinstance(index, Finding):
        yield index
        if any(folder.glob("LLM-*")) or (folder / "embeddings_qformer").is_dir():
            yield _fault("these are the authors' own files: `smartedit convert` makes a checkpoint of them")
        return
    needed = dict(NEEDED)
    if index.get("bim", [None])[0] is not None:
        needed["bim"] = "config.json"
    settings: dict[str, dict[str, Any]] = {}
    sound = True
    for part, name in needed.items():
        read = _json(folder / part / name)
        if isinstance(read, Finding):
            sound = False
            yield read
        else:
            settings[part] = read
    for part in settings:
        if part not in {"scheduler", "tokenizer"}:
            findings = list(_weights(folder, part, hashes))
            sound = sound and not any(f.grade is Grade.FAULT for f in findings)
            yield from findings
    if sound:
        yield from _together(folder)
    else:
        yield from _sizes(settings)


def _weights(folder: Path, part: str, hashes: bool) -> Iterator[Finding]:
    """A part's files against its own configuration."""
    from smartedit.model.checkpoints import PARTS, CheckpointError, expected_shapes

    try:
        stored = read_weight_files(folder / part).entries
    except WeightFileError as error:
        yield _fault(str(error))
        return
    dtypes = sorted({entry.dtype for entry in stored.values()})
    size = sum(file.stat().st_size for file in {entry.file for entry in stored.values()})
    yield _good(f"{part}: {len(stored)} weights, {size / 2**20:.1f} MiB, {' and '.join(dtypes)}")
    if part in PARTS:
        try:
            yield from _compare(part, expected_shapes(folder / part, part), stored)
        except CheckpointError as error:
            yield _fault(str(error))
    if hashes:
        for file in sorted({entry.file for entry in stored.values()}):
            text = f"{part}/{file.name}: sha256 {file_sha256(file)}"
            yield Finding(topic=TOPIC, grade=Grade.NOTE, text=text)


def _compare(
    part: str, expected: Mapping[str, tuple[int, ...]], stored: Mapping[str, TensorEntry]
) -> Iterator[Finding]:
    """Every weight that does not fit, a line each."""
    for name, shape in expected.items():
        if name not in stored:
            yield _fault(f"{part}: {name} is missing")
        elif stored[name].shape != shape:
            found = f"{list(stored[name].shape)}, config.json asks for {list(shape)}"
            yield _fault(f"{part}: {name} is {found}{_which_size(stored[name].shape, shape)}")
    for name in stored.keys() - expected.keys():
        yield _fault(f"{part}: {name} is unknown")


def _which_size(found: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """The model sizes that two shapes belong to, where they are known."""
    sizes = [next((WIDTHS[n] for n in shape if n in WIDTHS), None) for shape in (found, wanted)]
    return (
        f": a {sizes[0]} weight under a {sizes[1]} configuration" if None not in sizes and sizes[0] != sizes[1] else ""
    )


def _together(folder: Path) -> Iterator[Finding]:
    """The parts beside each other; each fits its own configuration already."""
    from smartedit.model.checkpoints import CheckpointError, check_checkpoint

    try:
        check_checkpoint(folder)
    except CheckpointError as error:
        yield _fault(str(error))
    else:
        yield _good("the parts' widths fit each other")


def _sizes(settings: Mapping[str, Mapping[str, Any]]) -> Iterator[Finding]:
    """Which size every part says it is; where weights are broken, this tells mixed downloads."""
    language = settings.get("mllm", {}).get("architecture", {})
    widths = {
        "mllm": language.get("text_config", language).get("hidden_size"),
        "qformer": settings.get("qformer", {}).get("encoder_size"),
    }
    named = {part: WIDTHS.get(width, f"width {width}") for part, width in widths.items() if width}
    if len(set(named.values())) > 1:
        yield _fault(f"parts of different models are mixed: {', '.join(f'{p} is of {n}' for p, n in named.items())}")


def _json(path: Path) -> dict[str, Any] | Finding:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return _fault(f"{path}: missing; copy it anew or convert again")
    except (OSError, ValueError) as error:
        return _fault(f"{path}: cannot be read ({error}); copy it anew")
    return content if isinstance(content, dict) else _fault(f"{path}: not a JSON object; copy it anew")


def _fault(text: str) -> Finding:
    return Finding(topic=TOPIC, grade=Grade.FAULT, text=text)


def _good(text: str) -> Finding:
    return Finding(topic=TOPIC, grade=Grade.GOOD, text=text)
