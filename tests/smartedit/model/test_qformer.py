"""The QFormer against the authors' module."""

from pathlib import Path

import pytest
import torch

from smartedit.model.layout import place
from smartedit.model.qformer import QFormer
from tests.smartedit.model.recipe import Reference, assert_close


@pytest.fixture(scope="module")
def reference(golden: Path) -> Reference:
    return Reference(golden, "qformer")


@pytest.fixture(scope="module")
def qformer(reference: Reference) -> QFormer:
    config = reference.meta["config"]
    qformer = QFormer(
        encoder_size=config["encoder_width"],
        num_queries=config["query_length"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_layers=config["num_hidden_layers"],
        num_heads=config["num_attention_heads"],
        cross_attention_frequency=config["cross_attention_freq"],
    ).eval()
    places = {name: place(name) for name in reference.state()}
    qformer.load_state_dict({p.name: reference.state()[name] for name, p in places.items() if p is not None})
    return qformer


@pytest.mark.parity
@torch.no_grad()
def test_inference_form(reference: Reference, qformer: QFormer) -> None:
    assert_close(qformer(reference["in.states32"]), reference["out.no_mask"])


@pytest.mark.parity
@torch.no_grad()
def test_training_form_with_a_row_that_selects_nothing(reference: Reference, qformer: QFormer) -> None:
    mask = reference["in.mask48"].bool()
    assert not mask[2].any()
    assert_close(qformer(reference["in.states48"], mask), reference["out.masked"])
    gathered = qformer(reference["in.states48"][:1][:, mask[0]])
    assert_close(gathered, reference["out.masked_row0_equals_gather"])


@pytest.mark.parity
@torch.no_grad()
def test_every_layer(reference: Reference, qformer: QFormer) -> None:
    seen = []
    hooks = [layer.register_forward_hook(lambda *a: seen.append(a[2])) for layer in qformer.transformer.encoder.layer]
    hooks.append(qformer.transformer.layernorm.register_forward_hook(lambda *a: seen.append(a[2])))
    qformer(reference["in.states32"])
    for hook in hooks:
        hook.remove()
    for i, states in enumerate(seen):
        assert_close(states, reference[f"out.hidden_states_{i}"])
    assert len(seen) == reference.meta["config"]["num_hidden_layers"] + 1


@torch.no_grad()
def test_half_precision_stays_finite_where_a_row_selects_nothing(qformer: QFormer) -> None:
    states = torch.randn(2, 5, qformer.config.encoder_size)
    mask = torch.tensor([[0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    half = qformer.to(torch.bfloat16)(states, mask)
    qformer.to(torch.float32)
    assert half.dtype == torch.bfloat16
    assert half.isfinite().all()
