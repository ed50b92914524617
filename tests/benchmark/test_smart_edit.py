"""SmartEdit checkpoints in the benchmark: named, described, and the same whatever the batch."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.methods.registry import MethodWords, resolve_methods
from benchmark.methods.specs import MethodError, Setting, Tag
from smartedit.editing import EditRequest
from tests.smartedit.released.conftest import Small, small, tokenizer_folder  # noqa: F401


def requests() -> list[EditRequest]:
    """Three drawn pictures of different shapes."""
    rows = []
    for seed, size in enumerate([(64, 64), (96, 64), (64, 64)]):
        pixels = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
        image = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
        rows.append(EditRequest(image=image, instruction=f"change number {seed}", seed=seed))
    return rows


def test_a_checkpoint_edits_through_the_benchmark(small: Small) -> None:  # noqa: F811
    folder = str(small.converted.folder)
    words = MethodWords(
        methods=["ours=smart-edit", "kept=smart-edit-composited"],
        models=[f"ours={folder}", f"kept={folder}"],
        sets=["ours.steps=2", "kept.steps=1"],
    )
    ours, kept = resolve_methods(words)
    assert ours.settings()["options"]["model"] == folder
    assert len(ours.settings()["weights_sha256"]) == 64
    assert kept.spec.tags == (Tag.DIRECT, Tag.COMPOSITING)
    editor = ours.build(Setting(device="cpu"))
    together, alone = editor.edit(requests()), [editor.edit([r])[0] for r in requests()]
    for a, b, request in zip(together, alone, requests(), strict=True):
        assert a.image.size == request.image.size
        assert np.abs(np.asarray(a.image, dtype=int) - np.asarray(b.image, dtype=int)).max() <= 1
    assert len({result.image.tobytes() for result in together}) == 3
    assert kept.build(Setting(device="cpu")).keep_original


@pytest.mark.parametrize("name", ["smartedit-7b", "smartedit-13b"])
def test_a_checkpoint_that_is_not_there_says_how_to_make_it(name: str, tmp_path: Path) -> None:
    (method,) = resolve_methods(MethodWords(methods=[name]))
    with pytest.raises(MethodError, match="smartedit convert"):
        method.settings()
    (method,) = resolve_methods(MethodWords(methods=[name], models=[str(tmp_path)]))
    with pytest.raises(MethodError, match=r"no model_index\.json"):
        method.build(Setting(device="cpu"))
