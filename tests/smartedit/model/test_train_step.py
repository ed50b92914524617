"""One training step of the authors: tokens in, both losses and their gradients out."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from smartedit.model.sequences import IGNORED, IMAGE_PATCH, splice
from smartedit.model.smartedit import SmartEditOutput
from smartedit.training.losses import (
    Draws,
    EditBatch,
    Losses,
    dropped_conditions,
    edit_losses,
    img_token_targets,
    language_loss,
)
from tests.smartedit.model.conftest import TrainingSetup
from tests.smartedit.model.recipe import TOLERANCE, Reference, assert_close
from tests.smartedit.model.test_build import group_of

pytestmark = pytest.mark.parity


@dataclass
class Step:
    batch: EditBatch
    losses: Losses
    output: SmartEditOutput
    seen: dict[str, Tensor]
    gradients: dict[str, Tensor]


def pictures(reference: Reference, name: str, is_edit: Tensor) -> Tensor:
    rows = []
    for i in range(len(is_edit)):
        row = next(v for k, v in reference.meta["recipe_inputs"].items() if k.startswith(f"in.{name}.{{i}}"))
        picture = reference.recipe(f"in.{name}.{i}", row["shape"], row["a"])
        rows.append(picture if is_edit[i] or name == "original_img" else torch.zeros_like(picture))
    return torch.stack(rows)


@pytest.fixture(scope="module")
def batch(training_setup: TrainingSetup) -> EditBatch:
    reference = training_setup.reference
    is_edit = reference["in.is_editing_task"].flatten()
    return EditBatch(
        sequences=splice(
            reference["in.input_ids"],
            img_tokens=training_setup.img_tokens,
            pad_id=reference.meta["llama"]["pad_token_id"],
            num_patches=256,
            targets=reference["in.generated_caption_targets"],
            released_length=True,
        ),
        pixel_values=pictures(reference, "original_img", is_edit),
        source=pictures(reference, "original_img_for_vae", is_edit),
        target=pictures(reference, "edited_img", is_edit),
        is_edit=is_edit,
    )


@pytest.fixture(scope="module")
def draws(training_setup: TrainingSetup) -> Draws:
    reference = training_setup.reference
    shape = reference.meta["recipe_inputs"]["rand.noise"]["shape"]
    return Draws(
        condition=reference["in.random_p"],
        latent_noise=reference.recipe("rand.vae", shape, reference.meta["recipe_inputs"]["rand.vae"]["a"]),
        noise=reference.recipe("rand.noise", shape, reference.meta["recipe_inputs"]["rand.noise"]["a"]),
        timesteps=reference["in.timesteps"],
    )


@pytest.fixture(scope="module")
def step(training_setup: TrainingSetup, batch: EditBatch, draws: Draws) -> Step:
    model = training_setup.model
    seen: dict[str, Tensor] = {}

    def look_in(name, pick):
        return lambda _, args, kwargs, output: seen.__setitem__(name, pick(args, kwargs, output))

    hooks = [
        module.register_forward_hook(look_in(name, pick), with_kwargs=True)
        for name, module, pick in [
            ("hidden", model.mllm, lambda a, k, o: o.hidden_states),
            ("qformer", model.qformer, lambda a, k, o: o),
            ("delta", model.bim.dimension_reduction_head_qformer_out, lambda a, k, o: o),
            ("feature", model.bim.dimension_reduction_head_zeroconv, lambda a, k, o: o),
            ("sample", model.unet, lambda a, k, o: a[0]),
            ("context", model.unet, lambda a, k, o: a[2]),
            ("clip", model.bim, lambda a, k, o: a[1]),
            ("projected", model.mllm.model.model.multi_modal_projector, lambda a, k, o: o),
        ]
    ]
    for name, parameter in model.named_parameters():
        frozen = "vision_tower" in name or "multi_modal_projector" in name or name == "empty_text.features"
        frozen = frozen or ("language_model.layers" in name and "lora_" not in name) or "language_model.norm" in name
        parameter.requires_grad_(not frozen)
    outputs = []
    hooks.append(model.register_forward_hook(lambda _, a, o: outputs.append(o)))
    losses = edit_losses(model, training_setup.vae, training_setup.scheduler, batch, draws)
    losses.total.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    for hook in hooks:
        hook.remove()
    model.zero_grad(set_to_none=True)
    model.requires_grad_(False)
    return Step(batch=batch, losses=losses, output=outputs[0], seen=seen, gradients=gradients)


def test_spliced_rows(training_setup: TrainingSetup, batch: EditBatch) -> None:
    reference, sequences = training_setup.reference, batch.sequences
    assert torch.equal(sequences.targets[:, 1:], reference["out.shift_labels"])
    for row, expected in enumerate(reference["out.img_token_positions_in_512_sequence"]):
        found = sequences.img_mask[row].nonzero().flatten()
        assert found.tolist() == [p for p in expected.tolist() if p >= 0]
        assert sequences.input_ids[row][found].tolist() in ([], list(training_setup.img_tokens))
    assert (sequences.input_ids == IMAGE_PATCH).sum(dim=1).tolist() == [256] * len(sequences.input_ids)


def test_losses(training_setup: TrainingSetup, step: Step) -> None:
    expected = training_setup.reference
    assert_close(step.losses.language.view(1), expected["out.LM_loss"])
    assert_close(step.losses.diffusion.view(1), expected["out.SD_loss"])
    assert_close(step.losses.total.view(1), expected["out.loss"])


def test_language_model(training_setup: TrainingSetup, step: Step) -> None:
    expected, mask = training_setup.reference, step.batch.sequences.img_mask
    edits = mask.any(dim=1)
    assert_close(step.seen["clip"][:, ::16, ::16], expected["out.clip_image_features_strided"])
    assert_close(step.seen["projected"][:, ::16], expected["out.projected_image_features_strided"])
    h = torch.stack(
        [states[selected] for states, selected in zip(step.seen["hidden"][edits], mask[edits], strict=True)]
    )
    assert_close(h, expected["out.llm_hidden_at_img_tokens"])
    assert_close(step.seen["hidden"][~edits][0, :300:10], expected["out.llm_hidden_llava_row_first_300_strided10"])
    targets = step.batch.sequences.targets[:, 1:]
    likelihood = cross_entropy(
        step.output.logits[:, :-1].transpose(1, 2), targets, ignore_index=IGNORED, reduction="none"
    )
    assert_close(likelihood, expected["out.token_nll_at_labels"])


def test_modules_between(training_setup: TrainingSetup, step: Step) -> None:
    expected, seen = training_setup.reference, step.seen
    assert_close(seen["qformer"][0], expected["out.qformer_out_row0"])
    assert_close(seen["qformer"][:, ::7, ::8], expected["out.qformer_out_strided"])
    assert_close(seen["delta"][:, ::7, ::8], expected["out.bim_delta_query_strided"])
    assert_close(seen["feature"][:, ::10, ::4, ::4], expected["out.bim_image_feature_strided"])
    assert_close(seen["sample"], expected["out.unet_in_sample"])
    assert_close(seen["context"][:, ::7, ::8], expected["out.unet_in_ctx_strided"])
    assert_close(step.output.noise, expected["out.unet_out"])


GRADIENTS = {
    "grad.dimension_reduction_head_zeroconv.bias": ("bim.dimension_reduction_head_zeroconv.bias", ...),
    "grad.lm_head.weight.last35rows": ("mllm.model.lm_head.weight", slice(-35, None)),
    "grad.model.base_model.model.embed_tokens.weight.last35rows": (
        "mllm.model.model.language_model.embed_tokens.weight", slice(-35, None),
    ),
    "grad.model.base_model.model.layers.0.self_attn.q_proj.lora_A.default.weight": (
        "mllm.model.model.language_model.layers.0.self_attn.q_proj.lora_A.default.weight", ...,
    ),
    "grad.model.base_model.model.layers.1.self_attn.v_proj.lora_B.default.weight": (
        "mllm.model.model.language_model.layers.1.self_attn.v_proj.lora_B.default.weight", ...,
    ),
    "grad.modulate_head.bias": ("bim.modulate_head.bias", ...),
    "grad.sd_query_tokens.strided_1_7_4": ("qformer.query_tokens", np.s_[:, ::7, ::4]),
    "grad.unet.conv_in.bias": ("unet.conv_in.bias", ...),
}  # fmt: skip


def test_gradients(training_setup: TrainingSetup, step: Step) -> None:
    stored = {name for name in training_setup.reference.tensors if name.startswith("grad.")}
    assert stored == set(GRADIENTS)
    for name, (ours, part) in GRADIENTS.items():
        assert_close(step.gradients[ours][part], training_setup.reference[name])


def test_gradient_norms(training_setup: TrainingSetup, step: Step) -> None:
    groups: dict[str, float] = defaultdict(float)
    for name, gradient in step.gradients.items():
        groups[group_of(name)] += gradient.double().square().sum().item()
    meta = training_setup.reference.meta
    renamed = {"llm_embed_tokens": "embed_tokens(all rows)", "lm_head": "lm_head(all rows)"}
    norms = {renamed.get(group, group): total**0.5 for group, total in groups.items()}
    assert norms == pytest.approx(meta["grad_norm_by_group"], rel=TOLERANCE)
    assert sum(groups.values()) ** 0.5 == pytest.approx(meta["grad_norm_total"], rel=TOLERANCE)
    assert len(step.gradients) == meta["n_trainable_tensors"]


@pytest.mark.parametrize("length_groups", [1, 2, 9])
def test_what_no_loss_reads_can_be_left_out(
    training_setup: TrainingSetup, batch: EditBatch, draws: Draws, step: Step, length_groups: int
) -> None:
    model = training_setup.model
    assert 0 < batch.is_edit.sum() < len(batch.is_edit)
    outputs = []
    hook = model.register_forward_hook(lambda _, a, o: outputs.append(o))
    for name in step.gradients:
        model.get_parameter(name).requires_grad_(True)
    losses = edit_losses(
        model,
        training_setup.vae,
        training_setup.scheduler,
        batch,
        draws,
        needed_only=True,
        length_groups=length_groups,
    )
    losses.total.backward()
    hook.remove()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    model.requires_grad_(False)

    assert len(outputs[0].noise) == batch.is_edit.sum()
    assert len(outputs[0].logits) == (batch.sequences.targets[:, 1:] != IGNORED).sum()
    assert_close(losses.language, step.losses.language)
    assert_close(losses.diffusion, step.losses.diffusion)
    assert gradients.keys() == step.gradients.keys()
    for name, gradient in gradients.items():
        expected = step.gradients[name]
        # A key's bias has no effect, so its gradient is rounding noise.
        limit = TOLERANCE * (expected.abs().max().item() + 1e-4)
        torch.testing.assert_close(gradient, expected, rtol=0, atol=limit)


def rounded(table: Tensor) -> Tensor:
    return table.bfloat16().float()


@torch.no_grad()
def test_new_module_does_not_move_the_diffusion_loss(training_setup: TrainingSetup, batch: EditBatch, golden) -> None:
    expected = Reference(golden, "decode").meta["losses_with_zero_init_heads"]
    bim, reference = training_setup.model.bim, training_setup.reference
    heads = (bim.dimension_reduction_head_qformer_out, bim.dimension_reduction_head_zeroconv)
    kept = [{k: v.clone() for k, v in head.state_dict().items()} for head in heads]
    shapes = reference.meta["recipe_inputs"]
    draws = Draws(
        condition=reference["in.random_p"],
        latent_noise=reference.recipe("rand.vae", shapes["rand.vae"]["shape"], shapes["rand.vae"]["a"]),
        noise=reference.recipe("rand.noise", **shapes["rand.noise"]),
        timesteps=reference["in.timesteps"],
    )
    for parameter in (p for head in heads for p in head.parameters()):
        parameter.zero_()
    model = training_setup.model
    # The reference ran this with float32 weights and the rotary tables of the bf16 run before it, which rounded them.
    rounding = model.mllm.decoder.rotary_emb.register_forward_hook(lambda _, args, tables: tuple(map(rounded, tables)))
    losses = edit_losses(model, training_setup.vae, training_setup.scheduler, batch, draws)
    model.bim = None
    without = edit_losses(model, training_setup.vae, training_setup.scheduler, batch, draws)
    model.bim = bim
    rounding.remove()
    for head, state in zip(heads, kept, strict=True):
        head.load_state_dict(state)
    for ours, name in ((losses.total, "loss"), (losses.diffusion, "SD_loss"), (losses.language, "LM_loss")):
        assert ours.item() == pytest.approx(expected[name], rel=TOLERANCE)
    assert torch.equal(losses.diffusion, without.diffusion)
    assert torch.equal(losses.language, without.language)


def test_a_batch_without_labels_has_no_language_loss(batch: EditBatch) -> None:
    targets = torch.full((2, 5), IGNORED)
    assert language_loss(torch.randn(2, 5, 7), targets).item() == 0


def test_conditions_are_dropped_in_three_equal_shares() -> None:
    text, picture = dropped_conditions(torch.linspace(0, 0.999, 1000))
    shares = [(text & ~picture).sum(), (text & picture).sum(), (~text & picture).sum()]
    assert [int(s) for s in shares] == pytest.approx([50, 50, 50], abs=1)


def test_eq_2_as_written_counts_the_img_tokens_only(batch: EditBatch) -> None:
    assert torch.equal(img_token_targets(batch.sequences) != IGNORED, batch.sequences.img_mask)
