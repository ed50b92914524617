"""A small real run folder: drawn pictures, edits, scores with known gaps."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmark.records import EditRecord, Score, Unscored
from benchmark.runs import Run
from reason_edit.files import file_sha256
from reason_edit.schema import PAPER_CATEGORIES, EditSample
from reason_edit.tables import write_rows

METHODS = {
    "copy-input": ["reference"],
    "painter": ["direct"],
    "smearer": ["direct"],
    "paster": ["direct", "compositing"],
}
PROTOCOL = "strict-v1"
FAILED = ("smearer", "mirror/002")


def draw(seed: int, edited: str | None = None) -> Image.Image:
    generator = np.random.default_rng(seed)
    image = Image.new("RGB", (96, 72), tuple(int(v) for v in generator.integers(120, 250, 3)))
    pen = ImageDraw.Draw(image)
    for left in (8, 54):
        pen.ellipse((left, 20, left + 32, 52), fill=tuple(int(v) for v in generator.integers(0, 255, 3)))
    if edited == "painter":
        pen.rectangle((10, 22, 38, 50), fill=(230, 120, 20))
    if edited == "smearer":
        pen.rectangle((0, 10, 60, 60), fill=(200, 200, 190))
    if edited == "paster":
        pen.ellipse((8, 20, 40, 52), fill=(30, 160, 60))
    return image


def write_run(
    folder: Path, per_category: int = 3, dataset: str = "drawn", methods: tuple[str, ...] = tuple(METHODS)
) -> Run:
    """A run folder as `edit` and `score` leave it."""
    run = Run(folder)
    samples = []
    for place, category in enumerate(PAPER_CATEGORIES):
        for number in range(1, per_category + 1):
            sample_id = f"{category.value}/{number:03d}"
            image, mask = (folder / "data" / kind / f"{sample_id}.png" for kind in ("images", "masks"))
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            draw(100 * place + number).save(image)
            shape = Image.new("L", (96, 72))
            ImageDraw.Draw(shape).ellipse((8, 20, 40, 52), fill=255)
            shape.save(mask)
            samples.append(
                EditSample(
                    sample_id=sample_id,
                    category=category,
                    instruction=f"Replace the left ball of picture {number} with <b>an orange & a leaf</b>",
                    target_label="an orange",
                    image=image,
                    mask=mask,
                )
            )
    run.write_settings(
        {
            "dataset": {"name": dataset, "fingerprint": "abc123", "samples": len(samples)},
            "protocol": PROTOCOL,
            "methods": {m: {"tags": METHODS[m]} for m in methods},
            "command": ["smartedit-bench", "evaluate", "--method", "painter"],
            "versions": {"smartedit": "0.1.0"},
        }
    )
    run.write_samples(samples)
    edits, scores, unscored = [], [], []
    for method in methods:
        for place, sample in enumerate(samples):
            made = _edit(run, method, sample)
            edits.append(made)
            _score(method, sample, place, made, scores, unscored)
    write_rows(run.edits_path, edits, EditRecord)
    run.write_scores(scores, unscored)
    return run


def _edit(run: Run, method: str, sample: EditSample) -> EditRecord:
    if (method, sample.sample_id) == FAILED:
        return EditRecord(
            method=method,
            sample_id=sample.sample_id,
            image=None,
            image_sha256=None,
            seed=1,
            response=None,
            error="ValueError: the smearer slipped",
        )
    path = run.image_path(method, sample.sample_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(_seed(sample), None if method == "copy-input" else method).save(path)
    return EditRecord(
        method=method,
        sample_id=sample.sample_id,
        image=path.relative_to(run.folder).as_posix(),
        image_sha256=file_sha256(path),
        seed=1,
        response="It is an orange now." if method == "painter" else None,
        error=None,
    )


def _seed(sample: EditSample) -> int:
    return 100 * PAPER_CATEGORIES.index(sample.category) + int(sample.stem)


def _score(
    method: str,
    sample: EditSample,
    place: int,
    edit: EditRecord,
    scores: list[Score],
    unscored: list[Unscored],
) -> None:
    quality = {"copy-input": 40.0, "painter": 30.0, "smearer": 20.0, "paster": 35.0}[method]
    wobble = math.sin(7 * place + len(method))
    values = {
        "background_psnr": quality + 2 * wobble,
        "background_ssim": 0.5 + quality / 100 + 0.02 * wobble,
        "background_mse": 10 ** (-(quality + 2 * wobble) / 10),
        "background_lpips": math.nan,
        "clip_score": 20 + (8 if method == "painter" else 0) + 2 * wobble,
    }
    reasons = {"background_lpips": "no LPIPS network ships with miniature-v1 yet"}
    if method == "copy-input" or (method == "paster" and sample.stem == "001"):
        values["background_psnr"], values["background_mse"] = math.inf, 0.0
        reasons["background_psnr"] = "the background is identical"
    if edit.error:
        values = dict.fromkeys(values, math.nan)
        reasons = dict.fromkeys(values, f"no picture: {edit.error}")
    for metric, value in values.items():
        scores.append(Score(method=method, sample_id=sample.sample_id, protocol=PROTOCOL, metric=metric, value=value))
        if metric in reasons:
            unscored.append(
                Unscored(
                    method=method, sample_id=sample.sample_id, protocol=PROTOCOL, metric=metric, reason=reasons[metric]
                )
            )
