"""The chain that makes the shipped weights, at amounts that take a minute: from drawings to pipelines that load."""

import json
import math
import shutil
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models import modeling_utils
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPTextModel
from typer.testing import CliRunner

from reason_edit.files import BusyError, sole_holder
from reason_edit.schema import Category
from smartedit.commands.miniature import app
from smartedit.config.model import ModelConfig, load_model_config
from smartedit.config.training import StageName, load_training_config
from smartedit.inference.loading import LoadSettings, load_pipeline
from smartedit.inference.memory import Precision
from smartedit.miniature.benchmark_set import benchmark_cases
from smartedit.miniature.drawing import draw
from smartedit.miniature.fit.autoencoder import fit_autoencoder, moments, sharpen_decoder
from smartedit.miniature.fit.beside import FailedBesideError
from smartedit.miniature.fit.chain import fit_miniature
from smartedit.miniature.fit.denoiser import EditLatents, averaged_denoiser, fit_denoiser_on
from smartedit.miniature.fit.language import Talk, fit_talk
from smartedit.miniature.fit.pairs import (
    batches,
    draw_pairs,
    names_kind_alone,
    names_other_color,
    repeated,
    scene_pairs,
    thinned,
    turned,
)
from smartedit.miniature.fit.picture_alignment import fit_picture_alignment
from smartedit.miniature.fit.recipe import PRESET, Recipe, in_bf16, keep_recipe, scaled
from smartedit.miniature.fit.schedule import Journal, NotFiniteError, Plan, is_finished, save_finished
from smartedit.miniature.fit.texts import Exchange, captions, knowledge, orders, said_back, sample_texts, with_clue
from smartedit.miniature.kinds import KINDS
from smartedit.miniature.knowledge import clues, is_held_out
from smartedit.miniature.stock import Stock
from smartedit.model.mllm import ImageTextMllm
from smartedit.model.prompts import OUR_PROMPTS, read_prompts
from smartedit.model.tokenizer import load_tokenizer, read_layout
from smartedit.seeding import numpy_generator


def plan(steps: int = 2, **more: float) -> Plan:
    return Plan(steps=steps, batch_size=4, learning_rate=1e-3, warmup=1, save_every=1, log_every=1)


CATEGORY = Category.COLOR
STEPS = ("training.steps=2", "training.batch_size=2", "training.validate_every=0", "training.checkpoint_every=1")
RECIPE = Recipe(
    pair_scenes=12,
    looks=10,
    crawl=12,
    corpora_scenes=6,
    corpora_side=64,
    edit_prompts=8,
    synthetic=12,
    tokenizer_texts=120,
    autoencoder=plan(),
    autoencoder_on=plan(),
    decoder=plan(),
    early_steps=1,
    clip=plan(),
    language=(plan(), plan(), plan()),
    denoiser=plan(3),
    denoiser_on=plan(2),
    shrunk_from=1,
    shrunk_scenes=6,
    denoiser_last=replace(plan(2), bf16=True),
    more_scenes=8,
    text_steps=2,
    text_more_steps=1,
    perceptual=plan(),
    picture_alignment=plan(),
    stages=dict.fromkeys(("align", "joint", "full", "baseline"), STEPS),
    full_again=((*STEPS, "training.seed=1"),),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, int]]:
    work, weights = tmp_path_factory.mktemp("fit"), tmp_path_factory.mktemp("weights")
    parts: dict[str, int] = {}
    sizes = fit_miniature(
        work, weights, RECIPE, processes=2, on_part=lambda name: parts.setdefault(name, time.time_ns())
    )
    assert next(iter(parts)) == "tokenizers" and list(parts)[-1] == "shipping"
    beside = ("clip/state.pt", "language/part2/state.pt", "perceptual/state.pt", "crawl-manifest/manifest.parquet")
    assert all((work / file).stat().st_mtime_ns < parts["clip"] for file in beside)
    for stage in ("align", "baseline"):
        assert (work / stage / "model" / "model_index.json").stat().st_mtime_ns < parts[f"stage {stage}"]
    return work, weights, sizes


def test_what_ships_loads_and_edits(made: tuple[Path, Path, dict[str, int]]) -> None:
    from diffusers import StableDiffusionInstructPix2PixPipeline
    from PIL import Image

    from smartedit.inference.loading import load_pipeline

    _, weights, sizes = made
    assert set(sizes) == {
        "smartedit-miniature", "instruct-pix2pix-miniature", "clip-miniature", "squeezenet-miniature",
    }  # fmt: skip
    picture = Image.fromarray(draw(next(benchmark_cases(CATEGORY, 3)).scene, 64).image)
    pipeline = load_pipeline(weights / "smartedit-miniature")
    assert pipeline(picture, "remove the cat", num_inference_steps=2).images[0].size == (64, 64)
    assert pipeline.bim is not None and pipeline.scheduler.config.prediction_type == "v_prediction"
    baseline = StableDiffusionInstructPix2PixPipeline.from_pretrained(weights / "instruct-pix2pix-miniature")
    assert baseline("remove the cat", image=picture, num_inference_steps=2).images[0].size == (64, 64)
    assert torch.equal(baseline.vae.encoder.conv_in.weight, pipeline.vae.encoder.conv_in.weight)
    assert (weights / "instruct-pix2pix-miniature" / "vae").is_symlink()


def test_joint_begins_with_the_finished_denoiser_and_what_align_made(made: tuple[Path, Path, dict[str, int]]) -> None:
    from smartedit.inference.loading import load_pipeline

    work, _, _ = made
    begun, aligned = load_pipeline(work / "aligned"), load_pipeline(work / "align" / "model")
    finished = averaged_denoiser(work / "denoiser-last", load_model_config(PRESET)).unet.state_dict()
    assert all(torch.equal(value, finished[name]) for name, value in begun.unet.state_dict().items())
    assert any(not torch.equal(value, finished[name]) for name, value in aligned.unet.state_dict().items())
    for part in ("mllm", "qformer", "vae"):
        made_by_align = aligned.components[part].state_dict()
        assert all(
            torch.equal(value, made_by_align[name]) for name, value in begun.components[part].state_dict().items()
        )


def test_the_mean_of_the_trainings_of_full_ships(made: tuple[Path, Path, dict[str, int]]) -> None:
    from smartedit.inference.loading import load_pipeline

    work, weights, _ = made
    one, two, mean, shipped = (
        load_pipeline(folder).unet.state_dict()
        for folder in (
            work / "full" / "model", work / "full-1" / "model", work / "full-mean", weights / "smartedit-miniature",
        )
    )  # fmt: skip
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name, value in mean.items():
        assert torch.allclose(value, (one[name] + two[name]) / 2, atol=1e-6)
        assert torch.allclose(shipped[name], value, atol=2e-3, rtol=2e-3)


def test_a_second_call_repeats_nothing_and_gives_the_same_bytes(made: tuple[Path, Path, dict[str, int]]) -> None:
    work, weights, _ = made
    states = {f: f.stat().st_mtime_ns for f in work.rglob("metrics.jsonl")}
    before = {f.relative_to(weights): f.read_bytes() for f in weights.rglob("*.safetensors")}
    shutil.rmtree(weights / "clip-miniature")
    fit_miniature(work, weights, RECIPE)
    assert {f: f.stat().st_mtime_ns for f in work.rglob("metrics.jsonl")} == states
    assert {f.relative_to(weights): f.read_bytes() for f in weights.rglob("*.safetensors")} == before


def test_the_text_encoder_is_trained_on_for_the_first_of_the_last_steps_and_what_ships_has_it(
    made: tuple[Path, Path, dict[str, int]],
) -> None:
    work, weights, _ = made
    config = load_model_config(PRESET)
    first, on, last = (
        averaged_denoiser(work / name, config).text.state_dict()
        for name in ("denoiser", "denoiser-on", "denoiser-last")
    )
    assert all(torch.equal(first[name], on[name]) for name in on)
    assert any(not torch.equal(on[name], last[name]) for name in on)
    assert RECIPE.text_more_steps < RECIPE.denoiser_last.steps

    shipped = CLIPTextModel.from_pretrained(weights / "instruct-pix2pix-miniature" / "text_encoder")
    ids = torch.tensor([[998, 5, 6, 999, 999]])
    built = averaged_denoiser(work / "denoiser-last", config).text
    assert torch.allclose(shipped(ids).last_hidden_state, built(ids).last_hidden_state, atol=0.02)
    frozen = averaged_denoiser(work / "denoiser-on", config).text
    assert not torch.equal(frozen(ids).last_hidden_state, built(ids).last_hidden_state)


def first_rows(work: Path, config: ModelConfig) -> EditLatents:
    """Four pairs."""
    latents = torch.load(work / "latents.pt", weights_only=True)
    ids = torch.full((4, config.qformer.num_queries), 5)
    return EditLatents(latents=latents, before=np.arange(4), after=np.arange(4) + 1, ids=ids)


def test_a_failure_beside_stops_the_denoiser_at_its_next_step(
    made: tuple[Path, Path, dict[str, int]], tmp_path: Path
) -> None:
    work, _, _ = made
    config, looks = load_model_config(PRESET), iter([None, None])

    def look() -> None:
        if next(looks, "failed"):
            raise FailedBesideError

    with pytest.raises(FailedBesideError):
        rows, start = first_rows(work, config), work / "denoiser-on"
        fit_denoiser_on(rows, config, 1.0, plan(5), tmp_path, start=start, until=5, on_step=look)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_bfloat16_rounds_the_passes_and_nothing_else(made: tuple[Path, Path, dict[str, int]], tmp_path: Path) -> None:
    work, _, _ = made
    config, start = load_model_config(PRESET), work / "denoiser-on"
    rows = first_rows(work, config)
    plain, half = (
        fit_denoiser_on(rows, config, 1.0, replace(plan(1), bf16=bf16), tmp_path / str(bf16), start=start, until=1)
        for bf16 in (False, True)
    )
    assert_rounded(plain.unet, half.unet)
    assert_nearly(*losses(tmp_path / "False"), *losses(tmp_path / "True"))


def test_the_autoencoder_is_trained_and_used_in_bfloat16(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, size=(16, 16, 16, 3), dtype=np.uint8)
    config = load_model_config(PRESET).vae
    found = []
    for bf16 in (False, True):
        whole, sharp, once = tmp_path / f"{bf16}", tmp_path / f"{bf16}-sharp", replace(plan(1), bf16=bf16)
        fit_autoencoder(pictures, config, once, whole)
        vae = sharpen_decoder(pictures, whole, once, sharp)
        found.append((vae, losses(whole)[0], losses(sharp)[0]))
    (plain, *lines), (half, *half_lines) = found
    assert_rounded(plain, half)
    for one, other in zip(lines, half_lines, strict=True):
        assert_nearly(one, other)
    exact, rounded = (moments(half, pictures[:2], bf16=bf16) for bf16 in (False, True))
    assert rounded.dtype == torch.float32
    assert 0 < float((rounded - exact).std()) < 0.05 * float(exact.std())


def test_language_is_trained_in_bfloat16(made: tuple[Path, Path, dict[str, int]], tmp_path: Path) -> None:
    work, _, _ = made
    tokenizer, models = load_tokenizer(work / "llama_tokenizer"), []
    config = load_model_config(PRESET).mllm
    layout = read_layout(tokenizer, config.num_img_tokens)
    talk = Talk(tokenizer=tokenizer, layout=layout, prompts=OUR_PROMPTS, num_patches=64)
    rows = talk.sequences([Exchange(question="Which animal barks?", answer="A dog.")], with_picture=False)
    for bf16 in (False, True):
        model = ImageTextMllm.from_pretrained(work / "language")
        fit_talk(model, lambda step: (rows, None), layout, replace(plan(1), bf16=bf16), tmp_path / str(bf16))
        models.append(model)
    assert_rounded(*models)
    assert_nearly(*losses(tmp_path / "False"), *losses(tmp_path / "True"))


def test_the_alignment_behind_pictures_runs_in_bfloat16(
    made: tuple[Path, Path, dict[str, int]], tmp_path: Path
) -> None:
    work, _, _ = made
    pairs = draw_pairs(work / "pairs", scenes=RECIPE.pair_scenes, size=64, seed=RECIPE.seed)
    text_encoder, words = CLIPTextModel.from_pretrained(work / "text_encoder"), load_tokenizer(work / "text_encoder")
    prompts, qformers = read_prompts(load_model_config(PRESET).prompts or ""), list[nn.Module]()
    for bf16 in (False, True):
        pipeline = load_pipeline(work / "joint" / "model", LoadSettings(device="cpu", precision=Precision.FLOAT32))
        fit_picture_alignment(
            pipeline, text_encoder, words, prompts, pairs, replace(plan(1), bf16=bf16), tmp_path / str(bf16)
        )
        qformers.append(pipeline.qformer)
    assert_rounded(*qformers)
    assert_nearly(*losses(tmp_path / "False"), *losses(tmp_path / "True"))


def losses(folder: Path) -> list[dict[str, float]]:
    """The lines of a training's journal."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_nearly(plain: dict[str, float], half: dict[str, float]) -> None:
    """Two lines tell of the same step; all losses are near each other, and some differ."""
    names = plain.keys() - {"step", "steps", "seconds"}
    assert names and [plain[name] for name in names] != [half[name] for name in names]
    for name in names:
        assert half[name] == pytest.approx(plain[name], rel=0.02)


def assert_rounded(plain: nn.Module, half: nn.Module) -> None:
    """Both have float32 weights that differ."""
    pairs = list(zip(plain.parameters(), half.parameters(), strict=True))
    assert all(other.dtype == torch.float32 for _, other in pairs)
    assert any(not torch.equal(one, other) for one, other in pairs)


def test_pairs_hold_no_clue_and_no_held_out_combination() -> None:
    stock, texts = Stock(seed=0, size=64), []
    for number in range(60):
        scenes, pairs = scene_pairs(stock, number)
        for pair in pairs:
            before, after = scenes[pair.before].things, scenes[pair.after].things
            changed = [(a, b) for a, b in zip(before, after, strict=False) if a != b]
            if len(before) == len(after) and changed[0][0].kind != changed[0][1].kind:
                assert not is_held_out(changed[0][0].kind, changed[0][1].kind)
            elif len(before) > len(after):
                gone = [
                    kind for kind in KINDS if sum(t.kind == kind for t in before) > sum(t.kind == kind for t in after)
                ]
                assert not is_held_out(gone[0], None)
            texts.append(pair.instruction.lower())
    texts += [text.lower() for text in [*captions(stock, 60), *(o for k in range(20) for o in orders(stock, k))]]
    assert not [clue.text for clue in clues() if any(clue.text.lower() in text for text in texts)]


def test_a_looking_glass_turns_pictures_and_words(tmp_path: Path) -> None:
    pairs = draw_pairs(tmp_path, scenes=20, size=32, seed=3)
    glass = turned(pairs)
    assert np.array_equal(glass.pictures[:, :, 0], pairs.pictures[:, :, -1])
    sides = [(a, b) for a, b in zip(pairs.instructions, glass.instructions, strict=True) if a != b]
    assert sides and all(("left" in a) == ("right" in b) for a, b in sides)
    assert turned(glass).instructions == pairs.instructions


def test_orders_that_name_a_kind_alone_are_told_from_those_that_point_at_one_of_several() -> None:
    alone = ["Take the scissors away.", "make the apple green", "Swap the orange for a red cup."]
    pointing = ["Remove the red apple.", "make the left apple green", "Swap the orange animal for a cup."]
    pointing += ["take the cat in the mirror away", "turn the second orange from the left into a dog"]
    assert all(map(names_kind_alone, alone)) and not any(map(names_kind_alone, pointing))


def test_thinned_pairs_lose_only_orders_that_name_a_kind_alone(tmp_path: Path) -> None:
    pairs = draw_pairs(tmp_path, scenes=60, size=32, seed=3)
    few = thinned(pairs, 0.5, seed=0)
    alone, kept = (sum(map(names_kind_alone, p.instructions)) for p in (pairs, few))
    assert 0.3 * alone < kept < 0.7 * alone
    assert len(pairs.instructions) - len(few.instructions) == alone - kept
    rows = {(b, a, o) for b, a, o in zip(pairs.before, pairs.after, pairs.instructions, strict=True)}
    assert all(row in rows for row in zip(few.before, few.after, few.instructions, strict=True))
    assert thinned(pairs, 1.0, seed=0).instructions == pairs.instructions


def test_pairs_whose_orders_name_another_color_are_repeated_with_their_pictures(tmp_path: Path) -> None:
    other = ["swap the cup for a green apple", "Turn the cat into a pair of blue scissors."]
    usual = [
        "swap the cup for a red apple",
        "turn the green apple into a cup",
        "make the apple green",
        "remove the cat",
    ]
    assert all(map(names_other_color, other)) and not any(map(names_other_color, usual))

    pairs = draw_pairs(tmp_path, scenes=60, size=32, seed=3)
    often = repeated(pairs, 3)
    rows = [list(zip(p.before, p.after, p.instructions, strict=True)) for p in (pairs, often)]
    assert {row: rows[1].count(row) // rows[0].count(row) for row in rows[0]} == {
        row: 3 if names_other_color(row[2]) else 1 for row in rows[0]
    }
    assert sum(map(names_other_color, pairs.instructions)) > 10
    with pytest.raises(ValueError, match="0 times"):
        repeated(pairs, 0)


def test_orders_are_given_clues_that_are_not_held_out_and_only_for_plain_kinds() -> None:
    rng = np.random.default_rng(0)
    held_out = [clue.text for clue in clues() if clue.held_out]

    worded = [with_clue("Please replace the clock with an apple.", rng) for _ in range(300)]
    changed = [order for order in worded if "the clock" not in order]

    assert 100 < len(changed) < 200 and len(set(changed)) > 1
    assert all(order.endswith(" with an apple.") for order in changed)
    assert not [order for order in changed if any(text in order for text in held_out)]
    assert {with_clue("remove the left clock", rng) for _ in range(20)} == {"remove the left clock"}
    assert {with_clue("remove the orange animal", rng) for _ in range(20)} == {"remove the orange animal"}
    assert len({with_clue("remove the clock", rng) for _ in range(40)}) > 1


def test_orders_to_be_said_back_keep_their_plain_words_as_the_answer() -> None:
    rng = np.random.default_rng(0)
    exchanges = [said_back("remove the clock", "Edit this picture: [cap].", rng) for _ in range(200)]

    assert {exchange.answer for exchange in exchanges} == {"remove the clock"}
    bare = [exchange for exchange in exchanges if exchange.question.startswith("Edit this picture: remove the ")]
    assert 80 < len(bare) < 160
    assert not [c.text for c in clues() if c.held_out and any(c.text in e.question for e in exchanges)]


def test_no_scene_of_the_pairs_is_one_of_the_benchmark() -> None:
    benchmark = {case.scene.fingerprint for case in benchmark_cases(CATEGORY, 0)}
    ours = {scene.fingerprint for number in range(60) for scene in scene_pairs(Stock(seed=0, size=64), number)[0]}
    assert not benchmark & ours


def test_talk_holds_every_clue_and_tokenizers_see_them() -> None:
    said = " ".join(f"{e.question} {e.answer}" for k in range(1500) for e in [knowledge(numpy_generator("test", k))])
    assert all(clue.text in said for clue in clues())
    assert all(any(clue.text in text for text in sample_texts(Stock(seed=0, size=64), 0)) for clue in clues())


def test_a_loss_that_only_some_steps_have_is_averaged_over_those(tmp_path: Path) -> None:
    journal = Journal(tmp_path, Plan(steps=3, batch_size=1, learning_rate=1, log_every=3))
    for step, losses in enumerate(({"seen": 3.0}, {"said": 1.0}, {"seen": 1.0}), start=1):
        journal.note(step, **losses)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert {"seen": 2.0, "said": 1.0}.items() <= json.loads(line).items()


def test_more_scenes_do_not_take_a_short_last_shard_for_a_full_one(tmp_path: Path) -> None:
    few = draw_pairs(tmp_path, scenes=2, size=16, seed=0)
    more = draw_pairs(tmp_path, scenes=5, size=16, seed=0)
    assert len(more.pictures) > len(few.pictures)
    assert np.array_equal(more.pictures[: len(few.pictures)], few.pictures)


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    journal = Journal(tmp_path, plan())
    journal.note(1, loss=0.5)
    with pytest.raises(NotFiniteError, match="step 2: the loss is not finite"):
        journal.note(2, loss=float(np.nan))


def test_a_network_on_a_full_disk_is_not_finished_and_is_written_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The libraries write the configuration first: it must not stand there without the weights."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    config, write = load_model_config(PRESET).vae, modeling_utils.safetensors.torch.save_file

    def full(*args: object, **more: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(modeling_utils.safetensors.torch, "save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        fit_autoencoder(pictures, config, plan(), tmp_path)
    assert not is_finished(tmp_path)
    monkeypatch.setattr(modeling_utils.safetensors.torch, "save_file", write)
    vae = fit_autoencoder(pictures, config, plan(), tmp_path)
    again = fit_autoencoder(pictures, config, plan(), tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(vae.parameters(), again.parameters(), strict=True))
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "diffusion_pytorch_model.safetensors", "metrics.jsonl", "state.pt",
    }  # fmt: skip


def test_a_kill_while_a_network_is_written_leaves_none(tmp_path: Path) -> None:
    class Killed:
        def save_pretrained(self, folder: Path) -> None:
            folder.mkdir()
            (folder / "config.json").write_text("{}")
            (folder / "model.safetensors").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_finished(Killed(), tmp_path)
    assert not is_finished(tmp_path)
    network = torch.nn.Linear(1, 1)
    network.save_pretrained = lambda folder: (folder.mkdir(), (folder / "config.json").write_text("{}"))  # type: ignore[assignment]
    save_finished(network, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_scaled_recipe_takes_less_of_everything_but_the_synthetic_set() -> None:
    whole, less = Recipe(), scaled(Recipe(), 0.01)
    assert less.denoiser_last.steps == 120 and less.denoiser_last.warmup == 30
    assert less.denoiser_last.batch_size == whole.denoiser_last.batch_size
    assert [plan.steps for plan in less.language] == [80, 55, 90]
    assert (less.pair_scenes, less.early_steps, less.text_steps) == (140, 45, 35)
    assert less.synthetic == whole.synthetic == 476
    joint = load_training_config(StageName.JOINT, PRESET, less.stages["joint"])
    assert (joint.steps, joint.warmup_steps) == (80, 20)
    again = [load_training_config(StageName.FULL, PRESET, overrides) for overrides in less.full_again]
    assert [(t.steps, t.seed, t.learning_rate) for t in again] == [(16, 1, 5e-5), (18, 2, 1e-4)]
    assert less.amount == 0.01 and scaled(whole, 2).pair_scenes == 28_000
    for amount in (0.0, -1.0, 0.001, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"--amount .*: must be 0\.01 to 100"):
            scaled(whole, amount)


def test_bfloat16_is_part_of_the_recipe(tmp_path: Path) -> None:
    half = in_bf16(scaled(Recipe(), 0.5))
    assert half.denoiser == replace(scaled(Recipe(), 0.5).denoiser, bf16=True)
    assert half.language == tuple(replace(plan, bf16=True) for plan in scaled(Recipe(), 0.5).language)
    assert half.clip == scaled(Recipe(), 0.5).clip
    keep_recipe(half, tmp_path)
    with pytest.raises(ValueError, match=r"with other values of autoencoder, .*denoiser_last, .*;"):
        keep_recipe(scaled(Recipe(), 0.5), tmp_path)


def test_another_recipe_is_not_mixed_into_finished_parts(tmp_path: Path) -> None:
    keep_recipe(RECIPE, tmp_path / "work")
    keep_recipe(RECIPE, tmp_path / "work")
    with pytest.raises(ValueError, match=r"recipe\.json: was begun otherwise, with other values of looks;"):
        keep_recipe(replace(RECIPE, looks=11), tmp_path / "work")
    with pytest.raises(ValueError, match=r"begun with --amount 1\.0; give it"):
        keep_recipe(replace(RECIPE, amount=0.5), tmp_path / "work")
    (tmp_path / "work/recipe.json").write_text("{")
    with pytest.raises(ValueError, match=r"recipe\.json: cannot be read"):
        keep_recipe(RECIPE, tmp_path / "work")
    (tmp_path / "former/pairs").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no recipe\.json tells of which amount"):
        keep_recipe(replace(RECIPE, amount=0.5), tmp_path / "former")
    keep_recipe(RECIPE, tmp_path / "former")


def test_a_second_call_keeps_out_while_one_is_at_work(tmp_path: Path) -> None:
    with sole_holder(tmp_path / ".fit.lock", ""), pytest.raises(BusyError, match="another"):
        fit_miniature(tmp_path, tmp_path / "weights", RECIPE)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file; name a folder"):
        fit_miniature(tmp_path / "file", tmp_path / "weights", RECIPE)


def test_too_few_rows_for_a_batch_are_told() -> None:
    with pytest.raises(ValueError, match="3 rows are too few for batches of 4"):
        next(batches(3, size=4, steps=1, start=0, seed=0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--amount", "0.5", "--pack"], "takes no --amount"),
        (["--bf16", "--pack"], "and no --bf16"),
        (
            ["--amount", "0.5", "--weights", str(resources.files("smartedit.weights"))],
            "are those that ship; name another",
        ),
    ],
)
def test_a_trial_replaces_nothing_that_ships(tmp_path: Path, options: list[str], message: str) -> None:
    words = ["fit", str(tmp_path / "work"), "--weights", str(tmp_path / "weights"), *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and message in done.output
    assert not (tmp_path / "work").exists()
