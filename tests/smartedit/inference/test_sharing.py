"""A pipeline goes to a hub and comes back: the libraries' own clients against a hub of one process, by HF_ENDPOINT."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

from smartedit.inference.pipeline import SmartEditPipeline
from tests.smartedit.inference.local_hub import local_hub

PUSH_AND_FETCH = """
import sys, torch
from PIL import Image
from smartedit import hub
from smartedit.inference.loading import find_model
from smartedit.inference.pipeline import SmartEditPipeline
folder, picture, out = sys.argv[1:]
hub.ANSWER_SECONDS = 60.0  # the machine may be busy
SmartEditPipeline.from_pretrained(folder).push_to_hub("somebody/smartedit-tiny", token="hf_anything")
fetched = SmartEditPipeline.from_pretrained("somebody/smartedit-tiny")
assert (find_model("somebody/smartedit-tiny") / "model_index.json").is_file()
seed = torch.Generator().manual_seed(3)
fetched(Image.open(picture), "make it red", generator=seed).images[0].save(out)
"""


def test_a_pushed_pipeline_comes_back_as_it_went(
    pipeline: SmartEditPipeline, picture: Image.Image, tmp_path: Path
) -> None:
    pipeline.save_pretrained(tmp_path / "saved")
    picture.save(tmp_path / "picture.png")
    with local_hub(tmp_path / "hub") as (address, calls):
        variables = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
        paths = [str(tmp_path / name) for name in ("saved", "picture.png", "edited.png")]
        result = subprocess.run(
            [sys.executable, "-c", PUSH_AND_FETCH, *paths],
            env={**variables, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_ETAG_TIMEOUT": "60"},
            capture_output=True,
            text=True,
        )
    assert result.returncode == 0, result.stderr
    assert "POST /api/models/somebody/smartedit-tiny/commit/main" in calls
    stored = tmp_path / "hub/somebody/smartedit-tiny"
    for file in (f for f in (tmp_path / "saved").rglob("*") if f.is_file()):
        copy = stored / file.relative_to(tmp_path / "saved")
        assert copy.is_file(), copy
        if file.suffix == ".safetensors":
            assert copy.read_bytes() == file.read_bytes()
    assert (stored / "README.md").is_file()
    generator = torch.Generator().manual_seed(3)
    expected = pipeline(picture, "make it red", generator=generator).images[0]
    with Image.open(tmp_path / "edited.png") as edited:
        assert edited.tobytes() == expected.tobytes()
