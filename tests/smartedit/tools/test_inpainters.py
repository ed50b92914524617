"""Inpainters: what they change, what they refuse, and that a draw depends on its seed alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from smartedit.config.synthesis import InpainterConfig
from smartedit.tools.build import build_inpainter
from smartedit.tools.diffusion_inpainter import DiffusionInpainter
from smartedit.tools.exemplar_inpainter import CutOut, ExemplarInpainter
from smartedit.tools.filling import fill_from_surroundings
from smartedit.tools.opencv_inpainter import OpenCVInpainter
from smartedit.tools.patch_offsets import best_offset
from smartedit.tools.protocols import InpaintingRequest, ToolError, ToolUnavailable
from tests.smartedit.tools.tiny_inpainting import FAMILIES, save_inpainting_pipeline
from tests.smartedit.tools.tiny_models import shapes


def request(prompt: str | None = "an apple", *, seed: int = 1, exclude: str = "here") -> InpaintingRequest:
    mask = np.zeros((72, 96), dtype=bool)
    mask[25:60, 55:86] = True
    region = np.zeros_like(mask)
    region[21:64, 51:90] = True
    kind = prompt.split()[-1] if prompt else None
    return InpaintingRequest(
        image=shapes(), mask=mask, region=region, prompt=prompt, kind=kind, seed=seed, exclude=exclude
    )


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[CutOut]]:
    folder = tmp_path_factory.mktemp("bank")
    cutouts = []
    for number, color in enumerate([(220, 40, 40), (40, 200, 60), (240, 200, 40)]):
        rgba = np.zeros((40, 40, 4), dtype=np.uint8)
        rows, columns = np.ogrid[:40, :40]
        rgba[(rows - 20) ** 2 + (columns - 20) ** 2 < 380] = (*color, 255)
        Image.fromarray(rgba).save(folder / f"{number}.png")
        picture_id = "here" if number == 0 else ""
        cutouts.append(CutOut(exemplar_id=f"apple-{number}", path=folder / f"{number}.png", picture_id=picture_id))
    return {"apple": cutouts}


def test_exemplar_covers_the_old_thing_and_shows_the_new(bank: dict[str, list[CutOut]]) -> None:
    asked = request()
    (result,) = ExemplarInpainter(bank).inpaint([asked])
    before, after = np.asarray(asked.image).astype(int), np.asarray(result.image).astype(int)
    blue = np.array([40, 80, 200])
    assert (np.abs(before[asked.mask] - blue).max(axis=-1) < 20).mean() > 0.95
    assert (np.abs(after[asked.mask] - blue).max(axis=-1) < 60).mean() < 0.02
    green_or_yellow = after[40:55, 64:78].reshape(-1, 3).mean(axis=0)
    assert green_or_yellow[1] > green_or_yellow[2] + 60
    outside = ~asked.region
    assert np.array_equal(before[outside & (np.indices(outside.shape)[0] < 20)], after[outside][: 20 * 96])


def test_exemplars_never_come_from_the_same_picture(bank: dict[str, list[CutOut]]) -> None:
    origins = {ExemplarInpainter(bank).inpaint([request(seed=n)])[0].origin for n in range(12)}
    assert origins == {"apple-1", "apple-2"}


def test_exemplar_refuses_what_it_has_not(bank: dict[str, list[CutOut]]) -> None:
    with pytest.raises(ToolError, match="no cut-out of 'zebra'"):
        ExemplarInpainter(bank).inpaint([request("a zebra")])
    with pytest.raises(ToolError, match="use opencv as the remover"):
        ExemplarInpainter(bank).inpaint([request(None)])
    with pytest.raises(ToolUnavailable, match="no cut-outs"):
        build_inpainter(InpainterConfig(name="exemplar"), {})


def test_opencv_removes_and_cannot_draw() -> None:
    asked = request(None)
    (result,) = OpenCVInpainter().inpaint([asked])
    inside = np.asarray(result.image).astype(int)[asked.mask]
    assert np.abs(inside - np.array([200, 190, 170])).max() < 12
    with pytest.raises(ToolError, match="cannot draw 'an apple'"):
        OpenCVInpainter().inpaint([request()])


def test_filling_continues_a_pattern_and_never_copies_another_thing() -> None:
    columns = np.indices((80, 120))[1]
    stripes = np.where((columns // 8) % 2, 90, 200)
    picture = np.dstack([stripes, stripes, stripes + 20]).astype(np.uint8)
    hole = np.zeros((80, 120), dtype=bool)
    hole[30:54, 50:74] = True
    damaged = picture.copy()
    damaged[hole] = (255, 0, 0)
    thing = np.zeros_like(hole)
    thing[30:54, 90:116] = True
    damaged[thing] = (0, 0, 255)
    offset = best_offset(damaged, hole, hole | thing)
    assert offset is not None
    assert offset[1] % 16 == 0
    filled = fill_from_surroundings(damaged, hole, thing)
    assert np.abs(filled[hole].astype(int) - picture[hole].astype(int)).max() < 12
    assert np.array_equal(filled[~hole], damaged[~hole])


def test_filling_without_a_match_stays_smooth_and_needs_something_to_start_from() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 48, 3), dtype=np.uint8)
    hole = np.zeros((48, 48), dtype=bool)
    hole[16:32, 16:32] = True
    assert best_offset(noise, hole, hole) is None
    filled = fill_from_surroundings(noise, hole)
    assert filled[hole].std() < noise[~hole].std() / 2
    with pytest.raises(ToolError, match="whole picture"):
        fill_from_surroundings(noise, np.ones_like(hole))


@pytest.mark.parametrize("family", FAMILIES)
def test_diffusion_draws_by_seed_whatever_the_batch(family: str, clip_folder: Path, tmp_path: Path) -> None:
    folder = save_inpainting_pipeline(family, tmp_path, clip_folder)
    config = InpainterConfig(name="diffusion", model=str(folder), pipeline=family, steps=2, resolution=64)
    inpainter = DiffusionInpainter.load(config)
    asked = [request(seed=1), request(seed=2), request(None, seed=3)]
    results = inpainter.inpaint(asked)
    assert {r.origin for r in results} == {f"{family} {folder}"}
    together = [np.asarray(r.image).astype(int) for r in results]
    alone = [np.asarray(inpainter.inpaint([r])[0].image).astype(int) for r in asked]
    for first, second in zip(together, alone, strict=True):
        assert first.shape == (72, 96, 3)
        assert np.abs(first - second).max() <= 1
    assert np.abs(together[0] - together[1])[asked[0].region].max() > 4


def test_diffusion_says_what_is_missing(tmp_path: Path, clip_folder: Path) -> None:
    with pytest.raises(ToolUnavailable, match="set the inpainter's model"):
        DiffusionInpainter.load(InpainterConfig(name="diffusion"))
    with pytest.raises(ToolUnavailable, match="no pipeline 'NoSuchPipeline'"):
        DiffusionInpainter.load(InpainterConfig(model=str(tmp_path), pipeline="NoSuchPipeline"))
    with pytest.raises(ToolUnavailable, match="no StableDiffusionInpaintPipeline at"):
        DiffusionInpainter.load(InpainterConfig(model=str(tmp_path), pipeline="StableDiffusionInpaintPipeline"))


@pytest.mark.parametrize("name", [*FAMILIES, "AutoPipelineForInpainting"])
def test_a_family_without_its_files_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ToolUnavailable, match=rf"no {name} at"):
        DiffusionInpainter.load(InpainterConfig(model=str(tmp_path), pipeline=name))


def test_tools_from_outside_are_named_by_module_and_factory() -> None:
    with pytest.raises(ToolUnavailable, match="no tool 'magic'"):
        build_inpainter(InpainterConfig(name="magic"), {})
    with pytest.raises(ToolUnavailable, match=r"nowhere\.module:make"):
        build_inpainter(InpainterConfig(name="nowhere.module:make"), {})
    made = build_inpainter(InpainterConfig(name="tests.smartedit.tools.test_inpainters:make_opencv"), {})
    assert isinstance(made, OpenCVInpainter)


def make_opencv(config: InpainterConfig) -> OpenCVInpainter:
    return OpenCVInpainter(config.radius)
