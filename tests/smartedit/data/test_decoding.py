"""Rows of a manifest become the same pictures and tensors on every worker, and faults are named."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from smartedit.config.loading import load_tree
from smartedit.config.mixture import MixtureConfig
from smartedit.config.sources import ManifestConfig
from smartedit.data.build import build_manifest
from smartedit.data.decoding import DecodedExample, Decoder, DecodingError, DecodingRules, Visit
from smartedit.data.examples import Speaker, Turn
from smartedit.data.manifest import Manifest
from smartedit.data.mixture import Mixture
from smartedit.data.row_access import RowAccess
from smartedit.model.tokenizer import add_img_tokens, load_tokenizer
from smartedit.training.dataset import ManifestDataset, RowFormat
from tests.smartedit.model.recipe import tokenizer_of

SIDE = 32
DRAWN = ("refcoco", "grefcoco", "cocostuff", "reasonseg", "instructpix2pix", "magicbrush", "llava", "synthetic")


@pytest.fixture(scope="module")
def manifest(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    config = load_tree(ManifestConfig, source=corpus / "sources.toml")
    return Manifest(build_manifest(config, tmp_path_factory.mktemp("built"), data_root=corpus / "data").manifest)


@pytest.fixture(scope="module")
def dataset(manifest: Manifest, golden: Path) -> ManifestDataset:
    tokenizer = load_tokenizer(tokenizer_of(golden))
    layout = add_img_tokens(tokenizer, 32)
    mixture = Mixture.over(manifest.sizes, MixtureConfig(weights=dict.fromkeys(DRAWN, 1.0), seed=3))
    return ManifestDataset(
        manifest,
        mixture,
        tokenizer=tokenizer,
        layout=layout,
        length=24,
        rows=RowFormat(encoder_side=28, num_patches=4),
        rules=DecodingRules(side=SIDE),
    )


def pair(decoded: DecodedExample) -> np.ndarray:
    """Source and target, one behind the other."""
    assert decoded.source is not None and decoded.target is not None
    return np.stack([decoded.source, decoded.target])


def test_rows_are_those_of_the_manifest_in_any_order(manifest: Manifest) -> None:
    access = RowAccess(manifest)
    numbers = [*reversed(range(len(manifest)))]
    assert [access[n] for n in numbers] == manifest.take(numbers)
    some = RowAccess(manifest, ["llava", "grefcoco"])
    assert [some[n] for n in manifest.rows("llava")] == list(manifest.examples("llava"))
    for beyond in (len(manifest), manifest.rows("refcoco").start, -1):
        with pytest.raises(IndexError, match="no row"):
            some[beyond]


def test_every_worker_gives_the_same_batches(dataset: ManifestDataset) -> None:
    def batches(**loading: object) -> list[torch.Tensor]:
        loader = DataLoader(dataset, batch_size=6, collate_fn=dataset.collate, **loading)  # type: ignore[arg-type]
        return [
            torch.cat(
                [b.sequences.input_ids.flatten().float(), b.pixel_values.flatten(), b.target.flatten(), b.is_edit]
            )
            for b in loader
        ]

    alone, forked = batches(), batches(num_workers=2)
    assert len(alone) == 4
    assert all(torch.equal(a, b) for a, b in zip(alone, forked, strict=True))


def test_a_pickled_data_set_gives_the_same_rows(dataset: ManifestDataset) -> None:
    copy = pickle.loads(pickle.dumps(dataset))
    for position in (0, 23):
        a, b = dataset[position], copy[position]
        assert a.example_id == b.example_id and a.input_ids == b.input_ids and torch.equal(a.target, b.target)
    with pytest.raises(IndexError):
        dataset[24]


def test_tensors_are_in_range_and_only_edits_count(dataset: ManifestDataset) -> None:
    sources = set()
    for row in (dataset[i] for i in range(len(dataset))):
        sources.add(row.example_id.partition("/")[0])
        assert row.source.shape == row.target.shape == (3, SIDE, SIDE) and row.pixel_values.shape == (3, 28, 28)
        assert row.source.min() >= -1 and row.source.max() <= 1
        assert row.is_edit == (not row.example_id.startswith("llava/"))
        assert len(row.input_ids) == len(row.targets)
    assert sources == set(DRAWN)


def test_painted_pixels_are_those_of_the_mask(manifest: Manifest) -> None:
    decoder = Decoder.of(manifest, DecodingRules(side=SIDE))
    row = next(manifest.examples("refcoco"))
    decoded = decoder.decode(row)
    assert decoded.source is not None and decoded.target is not None and decoded.painting is not None
    changed = (decoded.source != decoded.target).any(axis=2)
    assert 0 < changed.sum() < changed.size
    assert decoded.instruction == decoded.painting.instruction
    again, other = decoder.decode(row), decoder.decode(row, Visit(number=1))
    assert np.array_equal(pair(again), pair(decoded)) and again.instruction == decoded.instruction
    visits = {decoder.decode(row, Visit(number=n)).instruction for n in range(8)}
    assert len(visits) > 1 and other.instruction in visits


def test_the_encoder_sees_the_crop_unless_told_otherwise(manifest: Manifest) -> None:
    row = next(manifest.examples("cocostuff"))
    cropped = Decoder.of(manifest, DecodingRules(side=SIDE)).decode(row)
    whole = Decoder.of(manifest, DecodingRules(side=SIDE, view="full")).decode(row)
    assert cropped.seen.size[0] == cropped.seen.size[1] < max(whole.seen.size)
    assert np.array_equal(pair(cropped), pair(whole))
    small = cropped.seen.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(small), pair(cropped)[0])


def test_too_long_an_instruction_is_left_out_and_is_no_edit(dataset: ManifestDataset) -> None:
    row = next(dataset.manifest.examples("synthetic"))
    decoder = Decoder.of(dataset.manifest, dataset.rules)
    long = dataset.assemble(row, decoder.decode(row, Visit(instruction="very " * 300 + "long")), 1)
    short = dataset.assemble(row, decoder.decode(row, Visit(instruction="short")), 1)
    assert short.is_edit and not long.is_edit
    assert len(long.input_ids) < len(short.input_ids)
    assert long.input_ids[-33:] == short.input_ids[-33:]


def test_conversations_that_cannot_be_used(dataset: ManifestDataset) -> None:
    row = next(dataset.manifest.examples("llava"))
    decoded = Decoder.of(dataset.manifest, dataset.rules).decode(row)

    def refuse(turns: tuple[Turn, ...], reason: str) -> None:
        with pytest.raises(DecodingError, match=reason):
            dataset.assemble(replace(row, conversation=turns), decoded, 0)

    human = Turn(speaker=Speaker.HUMAN, text="<image>\nWhat?")
    answer = Turn(speaker=Speaker.ASSISTANT, text="That.")
    refuse((), "in turn")
    refuse((answer, human), "in turn")
    refuse((replace(human, text="What?"), answer), "one picture")
    refuse((human, answer, human, answer), "one picture")
    refuse((replace(human, text="<image>" + "why " * 3000), answer), "fills all 2048")


def test_captions_are_refused_before_training(dataset: ManifestDataset) -> None:
    mixture = Mixture.over(dataset.manifest.sizes, MixtureConfig(weights={"cc12m": 1.0}))
    with pytest.raises(DecodingError, match=r"'cc12m' have no picture"):
        ManifestDataset(dataset.manifest, mixture, tokenizer=None, layout=dataset.layout, length=1)


def test_a_missing_picture_is_named(manifest: Manifest, tmp_path: Path) -> None:
    moved = Manifest(manifest.path, data_root=tmp_path)
    row = next(moved.examples("synthetic"))
    with pytest.raises(DecodingError, match=r"synthetic/0000: SyntheticData/a.png.*check_pictures"):
        Decoder.of(moved).decode(row)


def test_pictures_of_edits_are_turned_upright(manifest: Manifest, tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "SyntheticData").mkdir()
    for name in ("a", "b"):
        Image.fromarray(pixels).save(tmp_path / f"SyntheticData/{name}.png", exif=exif)
    decoder = Decoder.of(Manifest(manifest.path, data_root=tmp_path), DecodingRules(side=SIDE))
    row = next(manifest.examples("synthetic"))
    decoded = decoder.decode(row)
    assert decoded.seen.size == (20, 40)
    assert decoded.source is not None and decoded.source[:6].min() > 200 and decoded.source[12:].max() < 50


def test_a_damaged_exif_note_is_a_fault_of_its_picture(manifest: Manifest, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    damaged = exif.tobytes().replace(b"MM", b"XX")
    (tmp_path / "SyntheticData").mkdir()
    for name in ("a", "b"):
        picture = Image.new("RGB", (40, 20))
        picture.save(tmp_path / f"SyntheticData/{name}.png", format="WEBP", exif=damaged, lossless=True)
    with pytest.raises(DecodingError, match=r"synthetic/0000: SyntheticData/a\.png: no readable picture"):
        Decoder.of(Manifest(manifest.path, data_root=tmp_path)).decode(next(manifest.examples("synthetic")))
