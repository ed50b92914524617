"""BIM against the authors' module, and the forms of Table 2."""

from pathlib import Path

import pytest
import torch

from smartedit.model.bim import Bim, InteractionError
from tests.smartedit.model.recipe import HALF_TOLERANCE, TOLERANCE, Reference, assert_close

RELEASED = {"final_attention": True, "position_encoding": True, "first_self_attention_residual": False}


def released_bim(dims: dict[str, int]) -> Bim:
    return Bim(
        text_size=dims["qformer_dim"],
        hidden_size=dims["embed_dim"],
        output_size=dims["conv_out"],
        num_heads=dims["heads"],
        mlp_size=dims["mlp_dim"],
        depth=dims["depth"],
        text_residual=0.5,
        **RELEASED,
    ).eval()


@pytest.mark.parity
@torch.no_grad()
def test_small_module_computes_what_the_authors_compute(golden: Path) -> None:
    reference = Reference(golden, "bim")
    bim = released_bim(reference.meta["dims"])
    bim.load_state_dict(reference.state())
    f, v = reference["in.query_output"], reference["in.clip_image_features"]
    q = bim.modulate_head(f)
    side = reference.meta["dims"]["grid"]
    positions = bim.pe_layer(side, side)
    assert_close(q, reference["out.query_after_head"])
    assert_close(positions.T.unflatten(1, (side, side)), reference["out.pe"])
    assert_close(bim.pe_layer(5, 7).T.unflatten(1, (5, 7)), reference["out.pe_5x7"])
    queries, keys = q, v
    for i, layer in enumerate(bim.modulate_transformer.layers):
        queries, keys = layer(queries=queries, keys=keys, query_pe=q, key_pe=positions)
        assert_close(queries, reference[f"out.layer{i}.queries"])
        assert_close(keys[:, ::8], reference[f"out.layer{i}.keys_strided"])
    queries, keys = bim.modulate_transformer(q, v, positions)
    assert_close(queries, reference["out.twt_queries"])
    assert_close(keys, reference["out.twt_keys"])
    assert_close(bim.interact(f, v)[0], reference["out.delta_query"])
    for size in (32, 48):
        text, feature = bim(f, v, (size, size))
        assert_close(text, reference["out.fused_query"])
        assert_close(feature, reference[f"out.image_feature_{size}"])


@pytest.mark.parity
@torch.no_grad()
def test_real_size_computes_what_the_authors_compute(golden: Path) -> None:
    reference = Reference(golden, "bim_full")
    bim = released_bim(Reference(golden, "bim").meta["official_dims"])
    state = reference.recipe_state()
    assert sum(p.numel() for p in bim.parameters()) == reference.meta["n_params"]
    bim.load_state_dict(state)
    f, v = (reference.recipe(f"in.{n}", **reference.meta["inputs"][f"in.{n}"]) for n in ("query", "clip"))
    update, image = bim.interact(f, v)
    assert_close(update, reference["out.delta_query"])
    assert_close(f + 0.5 * update, reference["out.fused_query"])
    for size in (32, 48):
        feature = bim.to_latent_grid(image, (size, size))
        assert_close(feature[:, ::4, ::2, ::2], reference[f"out.image_feature_{size}_strided"])
        whole = reference.meta["params"][f"#stats image_feature_{size}"]
        assert feature.norm().item() == pytest.approx(whole["l2"], rel=TOLERANCE)
    rounded = f.half()
    text = rounded + bim.text_residual * bim.interact(rounded.float(), v)[0].half()
    assert_close(text, reference["out.fp16chain_prompt_embeds"], HALF_TOLERANCE)


@torch.no_grad()
@pytest.mark.parametrize("settings", [{}, {"depth": 2, "text_residual": 0.5, **RELEASED}, {"bidirectional": False}])
def test_new_module_changes_nothing(settings: dict[str, object]) -> None:
    bim = Bim(text_size=24, hidden_size=32, output_size=8, num_heads=4, mlp_size=48, **settings)
    f, v = torch.randn(2, 5, 24), torch.randn(2, 16, 32)
    text, feature = bim(f, v, (6, 6))
    assert torch.equal(text, f)
    assert torch.equal(feature, torch.zeros(2, 8, 6, 6))


@torch.no_grad()
def test_information_flows_both_ways_only_in_the_bidirectional_module() -> None:
    torch.manual_seed(0)
    for bidirectional in (True, False):
        bim = Bim(text_size=24, hidden_size=32, output_size=8, num_heads=4, mlp_size=48, bidirectional=bidirectional)
        for parameter in bim.parameters():
            parameter.normal_(std=0.3)
        f, v = torch.randn(1, 5, 24), torch.randn(1, 16, 32)
        text, feature = bim(f, v, (4, 4))
        text_of_other_image, _ = bim(f, v * 2, (4, 4))
        _, feature_of_other_text = bim(f + 1, v, (4, 4))
        assert (not torch.allclose(text, text_of_other_image)) is bidirectional
        assert not torch.allclose(feature, feature_of_other_text)


def test_the_papers_module_is_one_block_of_two_cross_attentions_and_no_more() -> None:
    names = {
        name.split(".")[2] for name, _ in Bim(text_size=24, hidden_size=32).modulate_transformer.named_parameters()
    }
    assert names == {
        *("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token", "mlp"),
        *("norm1", "norm2", "norm3", "norm4"),
    }


def test_patches_that_form_no_square_are_refused() -> None:
    with pytest.raises(InteractionError, match="15 image features"):
        Bim(text_size=24, hidden_size=32)(torch.randn(1, 5, 24), torch.randn(1, 15, 32), (4, 4))
    with pytest.raises(InteractionError, match="16 wide, the module was built for 32"):
        Bim(text_size=24, hidden_size=32)(torch.randn(1, 5, 24), torch.randn(1, 16, 16), (4, 4))
