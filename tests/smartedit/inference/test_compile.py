"""`torch.compile` on the denoiser, as diffusers documents it: the whole call becomes one graph and draws the same."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from smartedit.inference.pipeline import SmartEditPipeline

# aot_eager traces as inductor does; that one, which calls a C++ compiler, runs with SMARTEDIT_INDUCTOR=1.
BACKENDS = ["aot_eager", *(["inductor"] if "SMARTEDIT_INDUCTOR" in os.environ else [])]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_denoiser_draws_the_same(pipeline: SmartEditPipeline, picture: Image.Image, backend: str) -> None:
    def edit() -> np.ndarray:
        generator = torch.Generator().manual_seed(1)
        return np.asarray(pipeline(picture, "blue", generator=generator).images[0], dtype=int)

    expected, plain = edit(), pipeline.unet
    pipeline.unet = torch.compile(plain, backend=backend, fullgraph=True)
    try:
        compiled = edit()
    finally:
        pipeline.unet = plain
    assert np.abs(compiled - expected).max() <= 1
