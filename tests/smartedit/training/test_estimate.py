"""The estimate against a tiny model that is really trained: states to the byte, activations within a tenth."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL
from torch.profiler import ProfilerActivity, profile

from smartedit.config.model import ModelConfig, load_model_config
from smartedit.config.training import Precision, StageName, TrainingConfig, load_training_config
from smartedit.model.build import build_model, build_training_scheduler, build_vae
from smartedit.model.sequences import IMAGE_PATCH, Sequences
from smartedit.model.smartedit import SmartEdit
from smartedit.training.estimate import MemoryEstimate, estimate, format_estimate
from smartedit.training.losses import EditBatch, Losses, Timesteps, draw, edit_losses
from smartedit.training.memory_lines import FSDP_LAYERS, Moment, Sharding
from smartedit.training.stages import PARAMETER_GROUPS, STAGES
from tests.tiny import TINY

ROWS = 3


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return load_model_config(TINY)


def settings(**changes: object) -> TrainingConfig:
    training = load_training_config(StageName.FULL, TINY)
    return replace(training, batch_size=ROWS, **changes)  # type: ignore[arg-type]


def lines(found: MemoryEstimate) -> Mapping[str, int]:
    return {line.what: line.bytes for line in found.lines}


def trained_model(config: ModelConfig, stage: StageName) -> SmartEdit:
    torch.manual_seed(0)
    model = build_model(config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(PARAMETER_GROUPS[group](name) for group in STAGES[stage].trains))
    return model.train()


def losses_of(model: SmartEdit, vae: AutoencoderKL, config: ModelConfig, length: int) -> Losses:
    """Both losses of rows as long as the estimate counts them."""
    mllm, side = model.mllm, config.sampling.image_size
    ids = torch.randint(3, 900, (ROWS, length))
    ids[:, 4 : 4 + mllm.num_patches] = IMAGE_PATCH
    img = torch.zeros(ROWS, length, dtype=torch.bool)
    img[:, -8:] = True
    pictures = torch.rand(ROWS, 3, side, side) * 2 - 1
    batch = EditBatch(
        sequences=Sequences(input_ids=ids, attention_mask=ids != 0, img_mask=img, targets=ids.clamp(min=0)),
        pixel_values=torch.rand(ROWS, 3, mllm.image_size, mllm.image_size),
        source=pictures,
        target=pictures,
        is_edit=torch.ones(ROWS),
    )
    small = side // 2 ** (len(config.vae.block_channels) - 1)
    draws = draw((ROWS, 4, small, small), timesteps=Timesteps(total=1000), generator=torch.Generator().manual_seed(1))
    return edit_losses(model, vae, build_training_scheduler(config.scheduler), batch, draws, needed_only=True)


def test_states_are_those_of_a_real_step_to_the_byte(config: ModelConfig) -> None:
    found = lines(estimate(StageName.FULL, model=config, training=settings(), num_gpus=1))
    model = trained_model(config, StageName.FULL)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    losses_of(model, build_vae(config.vae), config, 256).total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()

    def size(tensors: Iterator[torch.Tensor]) -> int:
        return sum(tensor.nbytes for tensor in tensors)

    assert found["trained weights, float32"] == size(p for p in model.parameters() if p.requires_grad)
    assert found["frozen weights, float32"] == size(p for p in model.parameters() if not p.requires_grad)
    assert found["frozen encoders beside the model, float32"] == size(iter(build_vae(config.vae).parameters()))
    assert found["gradients, float32"] == size(p.grad for p in model.parameters() if p.grad is not None)
    states = [state[name] for state in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert found["Adam's two states, float32"] == size(iter(states))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_within_a_tenth(config: ModelConfig, checkpointing: bool) -> None:
    found = estimate(StageName.FULL, model=config, training=settings(gradient_checkpointing=checkpointing), num_gpus=1)
    expected = sum(line.bytes for line in found.lines if line.what.startswith("activations of"))
    model = trained_model(config, StageName.FULL)
    if checkpointing:
        model.mllm.model.gradient_checkpointing_enable({"use_reentrant": False})
        model.unet.enable_gradient_checkpointing()
    length = config.mllm.max_text_tokens + model.mllm.num_patches
    vae = build_vae(config.vae)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        losses = losses_of(model, vae, config, length)
    held = sum(event.self_cpu_memory_usage for event in watched.key_averages())
    assert losses.total.isfinite()
    assert held == pytest.approx(expected, rel=0.1)
    other = estimate(StageName.FULL, model=config, training=settings(gradient_checkpointing=not checkpointing))
    assert found.other_activations * ROWS == sum(x.bytes for x in other.lines if x.what.startswith("activations of"))


def test_stages_and_sharing(config: ModelConfig) -> None:
    half = settings(
        mixed_precision=Precision.BFLOAT16, ema_decay=0.99, gradient_checkpointing=True, gradient_accumulation=2
    )

    def held(stage: StageName, sharding: Sharding, gpus: int = 8) -> Mapping[str, int]:
        return lines(estimate(stage, model=config, training=half, num_gpus=gpus, sharding=sharding))

    alone, zero, fsdp, deepspeed = (held(StageName.FULL, sharding) for sharding in Sharding)
    trained = alone["trained weights, float32"]
    for shared in (zero, fsdp):
        assert shared["Adam's two states, float32"] == alone["Adam's two states, float32"] // 8 == trained // 4
        assert shared["trained weights, float32"] == shared["averaged weights, float32"] == trained // 8
        outside = shared["frozen weights outside of layers, bfloat16"]
        assert shared["frozen weights of layers, bfloat16"] * 8 + outside == alone["frozen weights, bfloat16"]
    frozen = alone["frozen weights, bfloat16"] - outside
    outside = zero["gathered trained weights outside of layers, float32"]
    assert zero["gathered weights of all layers"] == frozen + trained - outside
    assert 0 < fsdp["gathered weights of the two largest layers"] < zero["gathered weights of all layers"]
    assert fsdp["their whole gradients, float32"] == outside == fsdp["gradients that are being divided, float32"]
    for whole in ("trained weights, float32", "averaged weights, float32", "frozen weights, bfloat16"):
        assert deepspeed[whole] == alone[whole]
    assert deepspeed["Adam's two states, float32"] == trained // 4
    assert (
        deepspeed["gradients, float32"] == deepspeed["the optimizer's copy of trained weights, float32"] == trained // 8
    )
    assert deepspeed["DeepSpeed's bucket of gradients, float32"] == 2 * 10**9
    assert deepspeed["gradients of the pass at work, float32"] == trained // 8
    assert alone["DDP's buckets of gradients, float32"] == trained
    assert "DDP's buckets of gradients, float32" not in held(StageName.FULL, Sharding.NONE, 1)
    joint, align = (held(stage, Sharding.NONE) for stage in (StageName.JOINT, StageName.ALIGN))
    assert align["trained weights, float32"] < joint["trained weights, float32"] < trained
    assert not any("UNet" in what for what in align)
    baseline = held(StageName.BASELINE, Sharding.NONE)
    assert {what for what in baseline if what.startswith("activations")} == {"activations of UNet, a row"}


def test_the_total_is_the_fullest_moment(config: ModelConfig) -> None:
    found = estimate(StageName.FULL, model=config, training=settings(), num_gpus=1)
    idle = replace(found, lines=tuple(line for line in found.lines if line.moment is not Moment.PASSES))
    assert found.total == found.held(Moment.ALWAYS) + found.held(Moment.PASSES)
    assert idle.total == found.held(Moment.ALWAYS) + found.held(Moment.STEP)
    longer = estimate(StageName.FULL, model=config, training=settings(), num_gpus=1, tokens=512)
    assert longer.held(Moment.PASSES) > found.held(Moment.PASSES)
    with pytest.raises(ValueError, match="--gpus 0"):
        estimate(StageName.FULL, model=config, training=settings(), num_gpus=0)


def test_the_text_holds_what_a_reader_adds_up(config: ModelConfig) -> None:
    found = estimate(StageName.FULL, model=config, training=settings(), num_gpus=2)
    text = format_estimate(found)
    trained = sum(count for _, count in found.trained)
    assert [group for group, _ in found.trained] == list(STAGES[StageName.FULL].trains)
    assert f"{trained:,} x " in text and f": {found.total / 2**30:.2f} GiB" in text
    assert all(f"{group} {count:,}" in text for group, count in found.trained)
    vision = config.mllm.vision
    patches = (vision.image_size // vision.patch_size) ** 2
    # Eight channels of 16 x 16 for each of two pictures, and v; float32.
    assert found.cache_bytes == (2 * 8 * 16 * 16 + patches * vision.hidden_size) * 4
    assert f"{found.cache_bytes // 1024} KiB" in text


def test_gathered_layers_are_those_of_the_configuration_files() -> None:
    from importlib import resources

    for name in ("fsdp-7b", "fsdp-13b"):
        text = (resources.files("smartedit.presets") / "accelerate" / f"{name}.yaml").read_text()
        assert f"fsdp_transformer_layer_cls_to_wrap: {','.join(FSDP_LAYERS)}\n" in text
