"""The editor: results depend on a request and its seed, and on nothing else."""

import numpy as np
from PIL import Image

from smartedit.editing import Editor, EditRequest
from smartedit.inference.editor import SmartEditEditor
from smartedit.inference.pipeline import SmartEditPipeline
from tests.smartedit.inference.conftest import noise_picture


def requests() -> list[EditRequest]:
    pictures = [noise_picture(40, 30, seed=1), noise_picture(30, 30, seed=2)]
    return [EditRequest(image=p, instruction=f"edit {i}", seed=i) for i, p in enumerate(pictures)]


def test_results_do_not_depend_on_the_batch(pipeline: SmartEditPipeline) -> None:
    editor: Editor = SmartEditEditor(pipeline=pipeline)
    together = editor.edit(requests())
    for request, expected in zip(reversed(requests()), reversed(together), strict=True):
        alone = editor.edit([request])[0]
        assert alone.image.size == request.image.size
        difference = np.asarray(alone.image, dtype=int) - np.asarray(expected.image, dtype=int)
        assert np.abs(difference).max() <= 1


def test_other_seed_other_picture(pipeline: SmartEditPipeline) -> None:
    editor = SmartEditEditor(pipeline=pipeline)
    image = noise_picture(40, 30, seed=1)
    first, second = editor.edit([EditRequest(image=image, instruction="x", seed=s) for s in (1, 2)])
    assert np.asarray(first.image).tolist() != np.asarray(second.image).tolist()


def test_the_answer_is_the_response(pipeline: SmartEditPipeline) -> None:
    assert SmartEditEditor(pipeline=pipeline, speak=True).edit(requests()[:1])[0].response
    result = SmartEditEditor(pipeline=pipeline).edit(requests()[:1])[0]
    assert result.response is None
    assert isinstance(result.image, Image.Image)
