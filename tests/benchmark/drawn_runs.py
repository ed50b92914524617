"""A small run whose pictures are drawn here: a source, a mask and a noisy edit for each sample."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmark.records import EditRecord
from benchmark.runs import Run
from reason_edit.files import file_sha256
from reason_edit.schema import Category, EditSample
from reason_edit.tables import write_rows

Pixels = npt.NDArray[np.uint8]


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Pixels:
    """A smooth random picture, H x W x 3."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))


def noisy(pixels: Pixels, seed: int, spread: float = 6.0) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, spread, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def save(path: Path, pixels: Pixels) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def drawn_run(
    folder: Path,
    count: int = 5,
    methods: Sequence[str] = ("one", "two"),
    edit: Callable[[str, int, Pixels], Pixels | None] | None = None,
    size: tuple[int, int] = (64, 64),
) -> Run:
    """A run of `count` samples; `edit(method, i, source)` gives the edited pixels, None a failure."""
    run, data = Run(folder / "run"), folder / "data"
    samples, records = [], []
    for i in range(count):
        category = (Category.COLOR, Category.REASONING)[i % 2]
        source = picture(i, size)
        mask = np.zeros(size[::-1], np.uint8)
        mask[10 : 20 + i, 15:40] = 255
        image = save(data / category / f"{i:03d}.png", source)
        masked = save(data / category / f"{i:03d}_mask.png", mask)
        samples.append(
            EditSample(
                sample_id=f"{category}/{i:03d}",
                category=category,
                instruction="Replace the apple.",
                target_label=f"a pear {i % 3}",
                image=image,
                mask=masked,
            )
        )
        for m, method in enumerate(methods):
            pixels = edit(method, i, source) if edit else noisy(source, 100 * m + i)
            records.append(_record(run, method, samples[-1].sample_id, pixels))
    run.folder.mkdir(parents=True, exist_ok=True)
    run.write_samples(samples)
    write_rows(run.edits_path, records, EditRecord)
    return run


def _record(run: Run, method: str, sample_id: str, pixels: Pixels | None) -> EditRecord:
    if pixels is None:
        return EditRecord(
            method=method, sample_id=sample_id, image=None, image_sha256=None, seed=0, response=None, error="it broke"
        )
    path = save(run.image_path(method, sample_id), pixels)
    return EditRecord(
        method=method,
        sample_id=sample_id,
        image=path.relative_to(run.folder).as_posix(),
        image_sha256=file_sha256(path),
        seed=0,
        response=None,
        error=None,
    )
